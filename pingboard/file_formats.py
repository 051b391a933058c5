"""Samples on their way out of a database and into one: rows of files <-> `Record`. Pure.

Two forms: our own, which keeps all that a board is made of, and maubot/pingstat's, which keeps
what its statistics are made of. What a file says is checked here; a row that can't be true is told
in words, never an exception.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from pingboard.model import MAX_ONE_WAY_MS, PingstatRow, Provenance, is_event_id, is_vantage
from pingboard.servername import is_server_name

MAX_TS = 2**53

SEEN, ESTIMATED = "seen", "estimated"
"""How a ping's times are known."""

_ROOM_ID = re.compile(r"![!-~]{1,254}", re.ASCII)
_ALIAS = re.compile(r"#[^\x00-\x20\x7f-\x9f\ud800-\udfff]{1,254}")


class Record(NamedTuple):
    """One ping x one pong server, with all that is kept of it; the columns of an export.

    Without `one_way_ms` it is a pong that was expected and has not come. Timestamps are Matrix
    timestamps.
    """

    room_id: str
    room_alias: str | None
    room_predecessor: str | None
    """the ID of the room that was upgraded to this one"""
    ping_event_id: str
    ping_server: str
    pong_server: str
    one_way_ms: int | None
    round_trip_ms: int | None
    ping_seen_ts: int
    pong_seen_ts: int | None
    """None where nobody saw it arrive: the importer finds a time near its ping's"""
    ping_origin_server_ts: int
    pong_origin_server_ts: int | None
    ping_sent_ts: int | None
    ping_time: str
    """how the ping's times are known: `seen`, or `estimated` from a pong"""
    vantage: str | None
    """set for our own pings alone"""
    provenance: str | None
    """the name of a `Provenance`, small"""
    pong_event_hash: int | None


_NAMES_OF_PINGSTAT = (
    "room_id",
    "ping_event_id",
    "pong_server",
    "ping_server",
    "one_way_ms",
    "pong_origin_server_ts",
)
"""Our names of what pingstat keeps, in the order of `PingstatRow`."""

_NOTHING: dict[str, Any] = dict.fromkeys(Record._fields)


def read_pingstat(row: object) -> Record | str:
    """A row of pingstat's `stats.raw.json`; text where it can't be used, which says why.

    pingstat does not keep when a ping was sent. What a pong's time and its latency say of it is
    near enough to find it in a window.
    """
    if not isinstance(row, dict):
        return "is no object"
    try:
        pong = PingstatRow._make(map(row.__getitem__, PingstatRow._fields))
    except KeyError as error:
        return f"lacks {error}"
    fault = (
        _check_names(pong.room_id, pong.ping_id, pong.ping_server, pong.pong_server)
        or _check_integer("receive_diff", pong.receive_diff, -MAX_ONE_WAY_MS, MAX_ONE_WAY_MS)
        or _check_integer("pong_timestamp", pong.pong_timestamp, 0, MAX_TS)
    )
    if fault:
        return fault
    pinged_ts = max(0, pong.pong_timestamp - pong.receive_diff)
    told = dict(zip(_NAMES_OF_PINGSTAT, pong, strict=True))
    pinged = {"ping_seen_ts": pinged_ts, "ping_origin_server_ts": pinged_ts, "ping_time": ESTIMATED}
    return Record(**{**_NOTHING, **told, **pinged, "provenance": _IMPORT})


def read_record(row: object) -> Record | str:
    """A row of our own export, integers as integers; text where it can't be used."""
    if not isinstance(row, dict):
        return "is no object"
    try:
        record = Record._make(map(row.__getitem__, Record._fields))
    except KeyError as error:
        return f"lacks {error}"
    return (
        _check_names(record.room_id, record.ping_event_id, record.ping_server, record.pong_server)
        or _check_room(record)
        or _check_numbers(row)
        or _check_pong(record)
        or record
    )


def read_csv(row: Mapping[str, Any]) -> Record | str:
    """A row of our own export as CSV, where everything is text and nothing is empty."""
    read: dict[str, Any] = {}
    for name, text in row.items():
        if not text:
            read[name] = None
        elif name in _INTEGERS:
            if not re.fullmatch(r"-?\d{1,18}", text, re.ASCII):
                return f"{name} is {_show(text)}, which is no integer"
            read[name] = int(text)
        else:
            # The apostrophe keeps a spreadsheet from taking a name for a formula.
            read[name] = text.removeprefix("'")
    return read_record(read)


def to_pingstat(record: Record) -> PingstatRow | None:
    """As pingstat keeps it; None for a pong that has not come."""
    if record.one_way_ms is None or record.pong_origin_server_ts is None:
        return None
    return PingstatRow._make(getattr(record, name) for name in _NAMES_OF_PINGSTAT)


_INTEGERS = {
    "one_way_ms": (-MAX_ONE_WAY_MS, MAX_ONE_WAY_MS),
    "round_trip_ms": (0, MAX_ONE_WAY_MS),
    "ping_seen_ts": (0, MAX_TS),
    "pong_seen_ts": (0, MAX_TS),
    "ping_origin_server_ts": (0, MAX_TS),
    "pong_origin_server_ts": (0, MAX_TS),
    "ping_sent_ts": (0, MAX_TS),
    "pong_event_hash": (0, 2**48 - 1),
}
"""The least and the most that each can be."""

_REQUIRED = frozenset({"ping_seen_ts", "ping_origin_server_ts"})


def _check_names(room_id: object, event_id: object, *servers: object) -> str | None:
    if not (isinstance(room_id, str) and _is_room_id(room_id)):
        return f"{_show(room_id)} is no room ID"
    if not (isinstance(event_id, str) and _is_event_id(event_id)):
        return f"{_show(event_id)} is no event ID"
    for server in servers:
        if not (isinstance(server, str) and _is_server_name(server)):
            return f"{_show(server)} is no homeserver name"
    return None


def _check_room(record: Record) -> str | None:
    for name, pattern in (("room_alias", _ALIAS), ("room_predecessor", _ROOM_ID)):
        value: object = getattr(record, name)
        if value is not None and not (isinstance(value, str) and pattern.fullmatch(value)):
            return f"{name} is {_show(value)}, which is none"
    return None


def _check_numbers(row: Mapping[str, object]) -> str | None:
    for name, (least, most) in _INTEGERS.items():
        if row[name] is None and name not in _REQUIRED:
            continue
        if fault := _check_integer(name, row[name], least, most):
            return fault
    return None


def _check_pong(record: Record) -> str | None:
    if record.vantage is not None and not (
        isinstance(record.vantage, str) and is_vantage(record.vantage)
    ):
        return f"vantage is {_show(record.vantage)}, which is no name"
    if record.ping_time not in (SEEN, ESTIMATED):
        return f"ping_time is {_show(record.ping_time)}, neither {SEEN} nor {ESTIMATED}"
    if record.one_way_ms is None:
        return None
    if record.pong_origin_server_ts is None:
        return "pong_origin_server_ts is empty, and one_way_ms is not"
    if record.provenance not in _PROVENANCES:
        return f"provenance is {_show(record.provenance)}, not one of {', '.join(_PROVENANCES)}"
    return None


# A file has few names, each in many rows.
_is_server_name = lru_cache(maxsize=10_000)(is_server_name)
_is_event_id = lru_cache(maxsize=10_000)(is_event_id)


@lru_cache(maxsize=1000)
def _is_room_id(text: str) -> bool:
    return _ROOM_ID.fullmatch(text) is not None


_IMPORT = Provenance.IMPORT.name.lower()
_PROVENANCES = [provenance.name.lower() for provenance in Provenance]


def _check_integer(name: str, value: object, least: int, most: int) -> str | None:
    # bool is a subclass of int: `true` is no number of milliseconds.
    if type(value) is not int:
        return f"{name} is {_show(value)}, which is no integer"
    return None if least <= value <= most else f"{name} is {value}, beyond {least} to {most}"


def _show(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
