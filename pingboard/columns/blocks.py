"""The samples of one room whose pings were seen within one hour, as numpy columns.

A block never changes: a change makes a new one. So whoever holds some can rank them while the next
pongs arrive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from pingboard.model import ONE_WAY_MIN_MS, PONG_TIMEOUT_MS

HOUR_MS = 3_600_000

Integers = NDArray[np.int64]
Column = NDArray[np.int32]

SAMPLE = np.dtype(
    [
        ("ping", "i4"),
        ("seen_ts", "i8"),
        ("ping_server", "i4"),
        ("pong_server", "i4"),
        ("one_way_ms", "i4"),
        ("round_trip_ms", "i4"),
        ("offset_x2_ms", "i8"),
        ("is_ours", "?"),
    ]
)
"""A row of the store, as a block is built of: see the fields of `Claims` and `Answers`."""

LOSS = np.dtype([("ping", "i4"), ("seen_ts", "i8"), ("pong_server", "i4")])
"""A row of what has not come: see `Losses`."""


class Claims(NamedTuple):
    """Every sample whose one-way latency a board takes; all (n,)."""

    ping: Column
    """row ID of the ping; of two thousand million it would not fit, and say so"""
    seen_ts: Integers
    """when we saw the pong, ms since the epoch"""
    ping_server: Column
    pong_server: Column
    """row IDs of the servers"""
    ms: Column


class Answers(NamedTuple):
    """Every pong to our own pings; all (n,)."""

    ping: Column
    seen_ts: Integers
    pong_server: Column
    ms: Column
    """the round trip; -1 where there is none"""
    offset_x2_ms: Integers
    """see ranking.clocks"""


class Losses(NamedTuple):
    """Every pong to our own pings that has not come; all (n,)."""

    ping: Column
    seen_ts: Integers
    """when we saw the ping"""
    pong_server: Column


class Block(NamedTuple):
    """What one hour of pings led to."""

    claims: Claims
    answers: Answers
    losses: Losses


Rows = TypeVar("Rows", Claims, Answers, Losses)

EMPTY = Block(
    Claims(*(np.empty(0, dtype) for dtype in ("i4", "i8", "i4", "i4", "i4"))),
    Answers(*(np.empty(0, dtype) for dtype in ("i4", "i8", "i4", "i4", "i8"))),
    Losses(*(np.empty(0, dtype) for dtype in ("i4", "i8", "i4"))),
)


def replace(block: Block, pings: Iterable[int], fresh: Block) -> Block:
    """The block with all that belongs to these pings as it is in `fresh`."""
    gone = np.fromiter(pings, np.int64)
    return Block(
        _replace(block.claims, gone, fresh.claims),
        _replace(block.answers, gone, fresh.answers),
        _replace(block.losses, gone, fresh.losses),
    )


def build(samples: NDArray[np.void], losses: NDArray[np.void]) -> Block:
    """The block of rows in any order: (n,) `SAMPLE` and (m,) `LOSS`.

    The bounds of a one-way claim are pingstat's, both inclusive (method: "pingstat").
    """
    one_way_ms = samples["one_way_ms"]
    claimed = samples[(one_way_ms >= ONE_WAY_MIN_MS) & (one_way_ms <= PONG_TIMEOUT_MS)]
    answered = samples[samples["is_ours"]]
    names = ("ping", "seen_ts", "ping_server", "pong_server", "one_way_ms")
    own_names = ("ping", "seen_ts", "pong_server", "round_trip_ms", "offset_x2_ms")
    return Block(
        sort(Claims(*(claimed[name] for name in names))),
        sort(Answers(*(answered[name] for name in own_names))),
        sort(Losses(*(losses[name] for name in LOSS.names or ()))),
    )


def claims_inside(blocks: Sequence[Block], start_ts: int, end_ts: int) -> list[Claims]:
    """The claims that were seen in [start, end), by block: most are not copied."""
    return [cut(block.claims, start_ts, end_ts) for block in blocks]


def answers_inside(blocks: Sequence[Block], start_ts: int, end_ts: int) -> Answers:
    """The answers that were seen in [start, end)."""
    return _concatenate([EMPTY.answers, *(cut(one.answers, start_ts, end_ts) for one in blocks)])


def losses_inside(blocks: Sequence[Block], start_ts: int, end_ts: int) -> Losses:
    """The pongs that have not come to pings seen in [start, end)."""
    return _concatenate([EMPTY.losses, *(cut(one.losses, start_ts, end_ts) for one in blocks)])


def count(servers: Column, length: int) -> list[int]:
    """How often each row ID below `length` is there."""
    counts: list[int] = np.bincount(servers, minlength=length).tolist()
    return counts


def sort(rows: Rows) -> Rows:
    """The rows by time."""
    order = np.argsort(rows.seen_ts, kind="stable")
    return _map(rows, lambda column: column[order])


def cut(rows: Rows, start_ts: int, end_ts: int) -> Rows:
    """The rows in [start, end), by a slice, because they are in order of time."""
    times = rows.seen_ts
    if not len(times) or (start_ts <= times[0] and times[-1] < end_ts):
        return rows
    first, last = np.searchsorted(times, (start_ts, end_ts))
    return _map(rows, lambda column: column[first:last])


def _replace(rows: Rows, gone: Integers, fresh: Rows) -> Rows:
    stays = np.isin(rows.ping, gone, invert=True)
    if not stays.all():
        rows = _map(rows, lambda column: column[stays])
    if not len(fresh.ping):
        return rows
    return sort(_concatenate([rows, fresh]))


def _concatenate(parts: Sequence[Rows]) -> Rows:
    return type(parts[0])(*map(np.concatenate, zip(*parts, strict=True)))


def _map(rows: Rows, change: Callable[[Any], Any]) -> Rows:
    return type(rows)(*map(change, rows))
