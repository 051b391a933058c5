"""A room's events -> the samples that there should be.

Written from the method alone and without the worker's code, so that the two can disagree.
"""

from __future__ import annotations

import re
from typing import Any

PONG = "xyz.maubot.pong"
TIMEOUT_MS = 600_000

Event = dict[str, Any]
Key = tuple[str, str]
"""(event ID of the ping, pong server)"""

Samples = dict[Key, int]
"""one-way ms of each"""


def samples_of(events: list[Event]) -> Samples:
    """The samples of a room by its events, oldest first, as /messages gives them.

    Of several pongs of a server to a ping the first counts; one that was taken back never does.
    """
    messages = [event for event in events if event["type"] == "m.room.message"]
    pings = {event["event_id"]: event for event in messages if _is_ping(event)}
    samples: Samples = {}
    for event in messages:
        claim = _claim_of(event)
        ping = pings.get(claim["ping"]) if claim and isinstance(claim.get("ping"), str) else None
        if claim is None or ping is None or not _is_true(event, claim, ping):
            continue
        samples.setdefault((ping["event_id"], _server(event)), claim["ms"])
    return samples


def differences(due: Samples, stored: Samples, truth: Samples) -> tuple[list[Key], list[Key]]:
    """Which samples are wrong, and which are lost.

    `due` is the truth of before, `stored` was read next, `truth` last: what was true when it was
    stored still is, and only what was taken back since then may be missing of what was due.
    """
    wrong = [key for key, ms in stored.items() if truth.get(key) != ms]
    lost = [key for key in due if key in truth and key not in stored]
    return wrong, lost


def _is_ping(event: Event) -> bool:
    relation = _relation(event["content"])
    content = event["content"]
    if relation.get("rel_type") == "m.replace" and isinstance(content.get("m.new_content"), dict):
        content = content["m.new_content"]
    body = content.get("body")
    if content.get("msgtype") != "m.text" or not isinstance(body, str):
        return False
    if relation.get("m.in_reply_to"):
        body = re.sub(r"\A(?:> .*\n)+.*(?:\n|\Z)", "", body)
    return re.match(r"!ping(?: |\Z)", body, re.IGNORECASE | re.ASCII) is not None


def _claim_of(event: Event) -> dict[str, Any] | None:
    """What a pong says of itself; None for an event that is none, or that contradicts itself."""
    content = event["content"]
    relation = _relation(content)
    block = content["pong"] if isinstance(content.get("pong"), dict) else {}
    if relation.get("rel_type") == PONG:
        related = {"ping": relation.get("event_id")}
        related |= {key: relation[key] for key in ("ms", "from") if key in relation}
        shared = related.keys() & block.keys()
        if any(related[key] != block[key] for key in shared):
            return None
        return {**block, **related}
    alone = not relation or relation.get("rel_type") == "m.thread"
    return block if block and alone else None


def _is_true(event: Event, claim: dict[str, Any], ping: Event) -> bool:
    return (
        type(claim.get("ms")) is int
        and abs(claim["ms"]) < 2**31
        and claim.get("from", _server(ping)) == _server(ping)
        and event["origin_server_ts"] - ping["origin_server_ts"] <= TIMEOUT_MS
    )


def _relation(content: dict[str, Any]) -> dict[str, Any]:
    relation = content.get("m.relates_to")
    return relation if isinstance(relation, dict) else {}


def _server(event: Event) -> str:
    return str(event["sender"]).partition(":")[2]
