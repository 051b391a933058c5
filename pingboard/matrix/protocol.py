"""Event content <-> Ping and Pong, in the wire format of maubot/echo 1.4.0. Pure.

Room content is written by strangers: nothing here raises for what they wrote, whatever it is. An
event that is no ping and no pong is None; a pong that can't count is `Rejected` with the reason.
The body of a pong is never parsed: only `pong` and the `xyz.maubot.pong` relation are read.
"""

from __future__ import annotations

import html
from dataclasses import dataclass, replace
from typing import Any

from pingboard.model import (
    MAX_ONE_WAY_MS,
    Ping,
    Pong,
    Rejected,
    Rejection,
    hash_event_id,
    is_event_id,
    is_possible_time,
)
from pingboard.servername import is_server_name, server_of

PONG_RELATION = "xyz.maubot.pong"
QUOTE_LENGTH = 20
"""How many characters of the text after `!ping` an echo bot quotes in its body."""

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answerable:
    """A ping as an echo bot needs it: whom to answer, and where."""

    ping: Ping
    sender: str
    text: str
    thread_root: str | None


def read_event(
    event: Event, room_id: str, seen_ts: int, now_ts: int
) -> Ping | Pong | Rejected | None:
    """What a timeline event of a room is to us.

    `seen_ts` is our receipt or, of history, when it says it was sent; `now_ts` bounds how late it
    may be dated. Both are Matrix timestamps.
    """
    content = message_content(event)
    if content is None:
        return None
    if read_trigger(content) is not None:
        return _read_ping(event, room_id, seen_ts, now_ts)
    return _read_pong(event, content, room_id, seen_ts, now_ts)


def read_redacted_ping(event: Event, room_id: str, now_ts: int) -> Ping | None:
    """The ping that a redacted message was, if a pong names it.

    What it said is gone, but bots answer nothing except pings; so this is only for an event that a
    pong names.
    """
    is_redacted = isinstance(_dict(event.get("unsigned")).get("redacted_because"), dict)
    if not is_redacted or event.get("type") != "m.room.message" or event.get("content"):
        return None
    ping = _read_ping(event, room_id, now_ts, now_ts)
    if not isinstance(ping, Ping):
        return None
    return replace(ping, seen_ts=min(ping.origin_server_ts, now_ts))


def read_trigger(content: Event) -> str | None:
    """The text after `!ping`, empty where there is none; None where the content is no ping.

    The one rule for what is a ping, as maubot 0.6.0 reads a message: of an edit, what it puts in
    place; without the fallback of a reply; `!`, and up to the first space `ping` in any case.
    """
    relation = _dict(content.get("m.relates_to"))
    if relation.get("rel_type") == "m.replace":
        content = _dict(content.get("m.new_content", content))
    body = content.get("body")
    if content.get("msgtype") != "m.text" or not isinstance(body, str):
        return None
    if _dict(relation.get("m.in_reply_to")).get("event_id"):
        body = _without_reply_fallback(body)
    command, _, text = body.partition(" ")
    return text.strip() if command.lower() == "!ping" else None


def read_redaction(event: Event) -> str | None:
    """The ID of the event that this one takes back; None where it is no redaction.

    It stands in the content since room version 11, beside it before.
    """
    if event.get("type") != "m.room.redaction":
        return None
    redacts = event.get("redacts", _dict(event.get("content")).get("redacts"))
    return redacts if is_event_id(redacts) else None


def read_membership(event: Event) -> tuple[str, bool] | None:
    """Whose membership changes, and whether they are in the room now."""
    user_id = event.get("state_key")
    if event.get("type") != "m.room.member" or not isinstance(user_id, str):
        return None
    return user_id, _dict(event.get("content")).get("membership") == "join"


def is_join_of(event: Event, user_id: str) -> bool:
    """Whether this user comes into the room with an event, instead of changing their profile."""
    before = _dict(_dict(event.get("unsigned")).get("prev_content"))
    return read_membership(event) == (user_id, True) and before.get("membership") != "join"


def read_tombstone(event: Event) -> str | None:
    """The room that is said to replace this one; to be believed only if that room says so too."""
    if event.get("type") != "m.room.tombstone" or event.get("state_key") != "":
        return None
    return successor_of(_dict(event.get("content")))


def successor_of(tombstone_content: Event) -> str | None:
    """The room that a room says replaces it, from the content of its `m.room.tombstone`."""
    room_id = tombstone_content.get("replacement_room")
    return room_id if isinstance(room_id, str) and room_id.startswith("!") else None


def predecessor_of(create_content: Event) -> str | None:
    """The room that a room says it replaces, from the content of its `m.room.create`."""
    room_id = _dict(create_content.get("predecessor")).get("room_id")
    return room_id if isinstance(room_id, str) else None


def transaction_id(event: Event) -> str | None:
    """The transaction ID with which we sent it; our homeserver tells it to the sender alone."""
    transaction_id = _dict(event.get("unsigned")).get("transaction_id")
    return transaction_id if isinstance(transaction_id, str) else None


def ping_content(nonce: str) -> Event:
    """The content of a ping of ours. The nonce keeps a pong from being prepared in advance."""
    return {"msgtype": "m.text", "body": f"!ping {nonce}"}


def read_answerable(event: Event, room_id: str, now_ts: int) -> Answerable | None:
    """The ping in an event, with what an answer needs; None where it is no ping."""
    content = message_content(event)
    text = read_trigger(content) if content is not None else None
    ping = _read_ping(event, room_id, now_ts, now_ts) if text is not None else None
    if content is None or text is None or not isinstance(ping, Ping):
        return None
    relation = _dict(content.get("m.relates_to"))
    root = relation.get("event_id") if relation.get("rel_type") == "m.thread" else None
    return Answerable(ping, event["sender"], text, root if isinstance(root, str) else None)


def pong_content(answerable: Answerable, one_way_ms: int) -> Event:
    """The content of the answer to a ping, as maubot/echo writes it.

    One liberty: a line feed in the quoted text becomes a space, because pingstat only counts a
    body that is one line.
    """
    ping, sender = answerable.ping, answerable.sender
    text = answerable.text[:QUOTE_LENGTH].replace("\n", " ")
    took = f"took {pretty_duration(one_way_ms)} to arrive"
    quoted, escaped = (f'"{text}" ', f'"{html.escape(text)}" ') if text else ("", "")
    who = html.escape(sender)
    here = f"https://matrix.to/#/{html.escape(ping.room_id)}/{html.escape(ping.event_id)}"
    return {
        "msgtype": "m.notice",
        "body": f"{sender}: Pong! (ping {quoted}{took})",
        "format": "org.matrix.custom.html",
        "formatted_body": (
            f"<a href='https://matrix.to/#/{who}'>{who}</a>: Pong! "
            f"(<a href='{here}'>ping</a> {escaped}{took})"
        ),
        "pong": {"ms": one_way_ms, "from": ping.server, "ping": ping.event_id},
        "m.relates_to": _pong_relation(answerable, one_way_ms),
    }


def pretty_duration(ms: int) -> str:
    """`213 ms`; from 10 s on in words: `12.5 seconds`, `2 minutes and 3 seconds`.

    Rounded as maubot/echo rounds, so that 119,600 ms are `1 minute and 60 seconds`.
    """
    if abs(ms) < 10_000:
        return f"{ms} ms"
    sign, seconds = ("-" if ms < 0 else ""), abs(ms) / 1000
    if seconds < 60:
        return f"{sign}{round(seconds, 1)} seconds"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    days, hours = divmod(hours, 24)
    units = ((days, "day"), (hours, "hour"), (minutes, "minute"))
    first = next(index for index, (count, _) in enumerate(units) if count)
    words = [_count(count, unit) for count, unit in units[first:]]
    return f"{sign}{', '.join(words)} and {_count(round(seconds), 'second')}"


def _count(count: int, unit: str) -> str:
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def _pong_relation(answerable: Answerable, one_way_ms: int) -> Event:
    ping = answerable.ping
    if answerable.thread_root is None:
        return {
            "rel_type": PONG_RELATION,
            "event_id": ping.event_id,
            "from": ping.server,
            "ms": one_way_ms,
        }
    # An event has one relation. In a thread it is the thread's, or clients would show the answer
    # outside of it.
    return {
        "rel_type": "m.thread",
        "event_id": answerable.thread_root,
        "is_falling_back": True,
        "m.in_reply_to": {"event_id": ping.event_id},
        "from": ping.server,
        "ms": one_way_ms,
    }


def _read_ping(event: Event, room_id: str, seen_ts: int, now_ts: int) -> Ping | Rejected | None:
    """The event as a ping, whatever it says."""
    event_id, server, origin_ts = event.get("event_id"), _server_of(event), _timestamp(event)
    if server is None or not is_event_id(event_id):
        return None
    if origin_ts is None or not is_possible_time(origin_ts, now_ts):
        event_hash = hash_event_id(event_id)
        return Rejected(event_hash, room_id, server, Rejection.IMPOSSIBLE_TIME, seen_ts)
    return Ping(event_id, room_id, server, origin_ts, seen_ts)


def _read_pong(
    event: Event, content: Event, room_id: str, seen_ts: int, now_ts: int
) -> Pong | Rejected | None:
    block, relation = _dict(content.get("pong")), _dict(content.get("m.relates_to"))
    kind = relation.get("rel_type")
    if kind == "m.replace":
        block = block or _dict(_dict(content.get("m.new_content")).get("pong"))
    if kind != PONG_RELATION and not block:
        return None
    server, origin_ts, event_id = _server_of(event), _timestamp(event), event.get("event_id")
    if not is_event_id(event_id):
        return None

    def reject(reason: Rejection) -> Rejected:
        return Rejected(hash_event_id(event_id), room_id, server or "", reason, seen_ts)

    if server is None:
        return reject(Rejection.INVALID_SERVER_NAME)
    if origin_ts is None or not is_possible_time(origin_ts, now_ts):
        return reject(Rejection.IMPOSSIBLE_TIME)
    # Inside a thread a pong is a message of its own.
    if relation and kind not in (PONG_RELATION, "m.thread"):
        return reject(Rejection.EDIT_OR_REPLY)
    claims = [block] if block else []
    if kind == PONG_RELATION:
        claims.append({**relation, "ping": relation.get("event_id")})
    fault = _fault_of(claims)
    if fault is not None:
        return reject(fault)
    claim = {key: value for part in claims for key, value in part.items()}
    ping_event_id, ms, claimed_from = claim["ping"], claim["ms"], claim.get("from")
    return Pong(event_id, room_id, server, ping_event_id, claimed_from, ms, origin_ts, seen_ts)


def _fault_of(claims: list[Event]) -> Rejection | None:
    """Why what a pong claims can't be used: its block and its relation, whichever it has."""
    ms = [claim["ms"] for claim in claims if "ms" in claim]
    pings = [claim["ping"] for claim in claims if "ping" in claim]
    servers = [claim["from"] for claim in claims if "from" in claim]
    # bool is a subclass of int: `true` is no number of milliseconds.
    if not ms or not all(type(value) is int and abs(value) <= MAX_ONE_WAY_MS for value in ms):
        return Rejection.INVALID_MS
    if not pings or not all(map(is_event_id, pings)):
        return Rejection.UNKNOWN_PING
    if not all(isinstance(value, str) and is_server_name(value) for value in servers):
        return Rejection.FORGED_FROM
    agree = all(len(set(values)) <= 1 for values in (ms, pings, servers))
    return None if agree else Rejection.CONTRADICTORY


def message_content(event: Event) -> Event | None:
    """Return the content of a message; None where an event is none, or says nothing."""
    if event.get("type") != "m.room.message" or "state_key" in event:
        return None
    return _dict(event.get("content")) or None


def _without_reply_fallback(body: str) -> str:
    """The body without the leading lines that quote, and without the line after them."""
    lines = body.split("\n")
    quoted = next((index for index, line in enumerate(lines) if not line.startswith("> ")), None)
    return body if quoted == 0 else "\n".join(lines[(quoted or len(lines)) + 1 :])


def _dict(value: object) -> Event:
    return value if isinstance(value, dict) else {}


def _server_of(event: Event) -> str | None:
    sender = event.get("sender")
    return server_of(sender) if isinstance(sender, str) else None


def _timestamp(event: Event) -> int | None:
    value = event.get("origin_server_ts")
    return value if type(value) is int and 0 <= value < 2**53 else None
