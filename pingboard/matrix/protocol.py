"""Event content <-> Ping and Pong, in the wire format of maubot/echo 1.4.0. Pure.

Room content is written by strangers: nothing here raises for what they wrote, whatever it is. An
event that is no ping and no pong is None; a pong that can't count is `Rejected` with the reason.
The body of a pong is never parsed: only `pong` and the `xyz.maubot.pong` relation are read.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Any, TypeGuard

from pingboard.model import Ping, Pong, Rejected, Rejection
from pingboard.servername import is_server_name, server_of

PONG_RELATION = "xyz.maubot.pong"
NONCE_LENGTH = 20
"""How much of the text after `!ping` an echo bot repeats in its body."""

MAX_MS = 2**31 - 1
"""The largest one-way that is stored: 24 days, far beyond what any board takes."""

_PING = re.compile(r"!ping(?:\s+(?P<text>.*))?", re.DOTALL)
_EVENT_ID = re.compile(r"\$[!-~]{1,254}", re.ASCII)

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answerable:
    """A ping as an echo bot needs it: whom to answer, and where."""

    ping: Ping
    sender: str
    text: str
    thread_root: str | None


def read_event(event: Event, room_id: str, seen_ts: int) -> Ping | Pong | Rejected | None:
    """What a timeline event of a room is to us; `seen_ts` is our receipt, ms since the epoch."""
    content = _content_of(event)
    if content is None or _replaces(content):
        return None
    if (ping := _read_ping(event, content, room_id, seen_ts)) is not None:
        return ping
    return _read_pong(event, content, room_id, seen_ts)


def read_redaction(event: Event) -> str | None:
    """The ID of the event that this one takes back; None where it is no redaction.

    It stands in the content since room version 11, beside it before.
    """
    if event.get("type") != "m.room.redaction":
        return None
    redacts = event.get("redacts", _dict(event.get("content")).get("redacts"))
    return redacts if _is_event_id(redacts) else None


def read_membership(event: Event) -> tuple[str, bool] | None:
    """Whose membership changes, and whether they are in the room now."""
    user_id = event.get("state_key")
    if event.get("type") != "m.room.member" or not isinstance(user_id, str):
        return None
    return user_id, _dict(event.get("content")).get("membership") == "join"


def read_tombstone(event: Event) -> str | None:
    """The room that is said to replace this one; to be believed only if that room says so too."""
    if event.get("type") != "m.room.tombstone" or event.get("state_key") != "":
        return None
    replacement = _dict(event.get("content")).get("replacement_room")
    return replacement if isinstance(replacement, str) and replacement.startswith("!") else None


def predecessor_of(create_content: Event) -> str | None:
    """The room that a room says it replaces, from the content of its `m.room.create`."""
    room_id = _dict(create_content.get("predecessor")).get("room_id")
    return room_id if isinstance(room_id, str) else None


def transaction_id(event: Event) -> str | None:
    """The transaction ID with which we sent it; our homeserver tells it to the sender alone."""
    found = _dict(event.get("unsigned")).get("transaction_id")
    return found if isinstance(found, str) else None


def ping_content(nonce: str) -> Event:
    """The content of a ping of ours. The nonce keeps a pong from being prepared in advance."""
    return {"msgtype": "m.text", "body": f"!ping {nonce}"}


def read_answerable(event: Event, room_id: str, seen_ts: int) -> Answerable | None:
    """The ping in an event, with what an answer needs; None where it is no ping."""
    content = _content_of(event)
    if content is None or _replaces(content):
        return None
    ping = _read_ping(event, content, room_id, seen_ts)
    match = _PING.fullmatch(content["body"].strip()) if ping else None
    if ping is None or match is None:
        return None
    relation = _dict(content.get("m.relates_to"))
    root = relation.get("event_id") if relation.get("rel_type") == "m.thread" else None
    return Answerable(
        ping, event["sender"], match["text"] or "", root if isinstance(root, str) else None
    )


def pong_content(answerable: Answerable, one_way_ms: int) -> Event:
    """The content of the answer to a ping, as maubot/echo writes it.

    One liberty: white space in the repeated text is folded, because pingstat only counts a body
    that is one line.
    """
    ping, sender = answerable.ping, answerable.sender
    text = " ".join(answerable.text.split())[:NONCE_LENGTH]
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
    """`213 ms`; beyond 10 s in words: `12.5 seconds`, `2 minutes and 3.0 seconds`."""
    if abs(ms) < 10_000:
        return f"{ms} ms"
    sign, tenths = ("-" if ms < 0 else ""), round(abs(ms) / 100)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    seconds = _count(tenths / 10, "second")
    units = ((days, "day"), (hours, "hour"), (minutes, "minute"))
    first = next((index for index, (count, _) in enumerate(units) if count), len(units))
    words = [_count(count, unit) for count, unit in units[first:]]
    return sign + (f"{', '.join(words)} and {seconds}" if words else seconds)


def _count(count: float, unit: str) -> str:
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
    # outside of it; the `pong` block is left for those who count.
    return {
        "rel_type": "m.thread",
        "event_id": answerable.thread_root,
        "is_falling_back": True,
        "m.in_reply_to": {"event_id": ping.event_id},
    }


def _read_ping(event: Event, content: Event, room_id: str, seen_ts: int) -> Ping | None:
    body, event_id = content.get("body"), event.get("event_id")
    if content.get("msgtype") != "m.text" or not isinstance(body, str):
        return None
    server, origin_ts = _server_of(event), _timestamp(event)
    if server is None or origin_ts is None or not _is_event_id(event_id):
        return None
    if _PING.fullmatch(body.strip()) is None:
        return None
    return Ping(event_id, room_id, server, origin_ts, seen_ts)


def _read_pong(event: Event, content: Event, room_id: str, seen_ts: int) -> Pong | Rejected | None:
    block, relation = _dict(content.get("pong")), _dict(content.get("m.relates_to"))
    related = relation.get("rel_type") == PONG_RELATION
    if not related and (not block or _replies(relation)):
        return None
    server, origin_ts, event_id = _server_of(event), _timestamp(event), event.get("event_id")
    if server is None:
        return Rejected(room_id, "", Rejection.INVALID_SERVER_NAME, seen_ts)
    if origin_ts is None or not _is_event_id(event_id):
        return None
    claims = [block] if block else []
    if related:
        claims.append({**relation, "ping": relation.get("event_id")})
    fault = _fault_of(claims)
    if fault is not None:
        return Rejected(room_id, server, fault, seen_ts)
    claim = {key: value for one in claims for key, value in one.items()}
    ping_event_id, ms, claimed_from = claim["ping"], claim["ms"], claim.get("from")
    return Pong(event_id, room_id, server, ping_event_id, claimed_from, ms, origin_ts, seen_ts)


def _fault_of(claims: list[Event]) -> Rejection | None:
    """Why what a pong claims can't be used: its block and its relation, whichever it has."""
    ms = [claim["ms"] for claim in claims if "ms" in claim]
    pings = [claim["ping"] for claim in claims if "ping" in claim]
    servers = [claim["from"] for claim in claims if "from" in claim]
    # bool is a subclass of int: `true` is no number of milliseconds.
    if not ms or not all(type(value) is int and abs(value) <= MAX_MS for value in ms):
        return Rejection.INVALID_MS
    if not pings or not all(map(_is_event_id, pings)):
        return Rejection.UNKNOWN_PING
    if not all(isinstance(value, str) and is_server_name(value) for value in servers):
        return Rejection.FORGED_FROM
    agree = all(len(set(values)) <= 1 for values in (ms, pings, servers))
    return None if agree else Rejection.CONTRADICTORY


def _content_of(event: Event) -> Event | None:
    if event.get("type") != "m.room.message" or "state_key" in event:
        return None
    return _dict(event.get("content")) or None


def _replaces(content: Event) -> bool:
    """Whether the event edits another: it is then neither a new ping nor a new pong."""
    return _dict(content.get("m.relates_to")).get("rel_type") == "m.replace"


def _replies(relation: Event) -> bool:
    """Whether it is a plain reply or a reaction to something; inside a thread it is neither."""
    return bool(relation) and relation.get("rel_type") != "m.thread"


def _dict(value: object) -> Event:
    return value if isinstance(value, dict) else {}


def _server_of(event: Event) -> str | None:
    sender = event.get("sender")
    return server_of(sender) if isinstance(sender, str) else None


def _timestamp(event: Event) -> int | None:
    value = event.get("origin_server_ts")
    return value if type(value) is int and 0 <= value < 2**53 else None


def _is_event_id(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and _EVENT_ID.fullmatch(value) is not None
