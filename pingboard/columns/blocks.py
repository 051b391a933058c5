"""The samples of one room whose pings were seen within one hour, as numpy columns.

A block never changes: a change makes a new one. So whoever holds some can rank them while the next
pongs arrive. Its columns are narrow (see `narrow`): some 12 bytes a sample instead of 24.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from pingboard.columns.narrow import Column, Offsets, join, narrow
from pingboard.model import ONE_WAY_MIN_MS, PONG_TIMEOUT_MS

HOUR_MS = 3_600_000

NO_OFFSET = np.iinfo(np.int64).min
"""Stands for a clock offset that is not known."""

SAMPLE = np.dtype(
    [
        ("ping_seen_ts", "i8"),
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

LOSS = np.dtype([("seen_ts", "i8"), ("pong_server", "i4")])
"""A row of what has not come: see `Losses`."""


class Claims(NamedTuple):
    """Every sample whose one-way latency a board takes; all (n,)."""

    seen_ts: Offsets
    """when we saw the pong, ms since the epoch"""
    ping_server: Column
    pong_server: Column
    """row IDs of the servers"""
    ms: Column


class Answers(NamedTuple):
    """Every pong to our own pings; all (n,)."""

    ping_seen_ts: Offsets
    """when we saw the ping"""
    seen_ts: Offsets
    pong_server: Column
    ms: Column
    """the round trip; -1 where there is none"""
    offset_x2_ms: Column
    """see ranking.clocks; or NO_OFFSET"""


class Losses(NamedTuple):
    """Every pong to our own pings that has not come; all (n,)."""

    seen_ts: Offsets
    """when we saw the ping"""
    pong_server: Column


class Block:
    """What one hour of pings led to; what is of our own, once it is asked for."""

    def __init__(self, claims: Claims, read_own: Callable[[], tuple[Answers, Losses]]) -> None:
        self.claims = claims
        self._read_own = read_own

    @cached_property
    def _own(self) -> tuple[Answers, Losses]:
        return self._read_own()

    @property
    def answers(self) -> Answers:
        return self._own[0]

    @property
    def losses(self) -> Losses:
        return self._own[1]


Rows = TypeVar("Rows", Claims, Answers, Losses)


_NO_TIMES = Offsets(0, np.empty(0, np.uint8))
_NO_NUMBERS = np.empty(0, np.uint8)
EMPTY = Block(
    Claims(_NO_TIMES, _NO_NUMBERS, _NO_NUMBERS, _NO_NUMBERS),
    lambda: (
        Answers(_NO_TIMES, _NO_TIMES, _NO_NUMBERS, _NO_NUMBERS, _NO_NUMBERS),
        Losses(_NO_TIMES, _NO_NUMBERS),
    ),
)


def build(samples: NDArray[np.void], losses: NDArray[np.void]) -> Block:
    """The block of rows in any order: (n,) `SAMPLE` and (m,) `LOSS`.

    The bounds of a one-way claim are pingstat's, both inclusive (method: "pingstat").
    """
    one_way_ms = samples["one_way_ms"]
    claimed = samples[(one_way_ms >= ONE_WAY_MIN_MS) & (one_way_ms <= PONG_TIMEOUT_MS)]
    answered = samples[samples["is_ours"]]
    names = ("ping_server", "pong_server", "one_way_ms")
    own_names = ("pong_server", "round_trip_ms", "offset_x2_ms")
    answers = sort(
        Answers(
            Offsets.of(answered["ping_seen_ts"]),
            _times(answered),
            *(narrow(answered[name]) for name in own_names),
        )
    )
    lost = sort(Losses(_times(losses), narrow(losses["pong_server"])))
    return Block(
        sort(Claims(_times(claimed), *(narrow(claimed[name]) for name in names))),
        lambda: (answers, lost),
    )


def sort(rows: Rows) -> Rows:
    """The rows by time."""
    order = np.argsort(rows.seen_ts.low, kind="stable")
    return _map(rows, lambda column: column[order])


def cut(rows: Rows, start_ts: int, end_ts: int) -> Rows:
    """The rows in [start, end), by a slice, because they are in order of time."""
    if rows.seen_ts.is_within(start_ts, end_ts):
        return rows
    inside = rows.seen_ts.slice(start_ts, end_ts)
    return _map(rows, lambda column: column[inside])


def _times(rows: NDArray[np.void]) -> Offsets:
    return Offsets.of(rows["seen_ts"])


def join_rows(parts: Sequence[Rows]) -> Rows:
    """All of them as one, in the order in which they are given."""
    return type(parts[0])(*map(join, zip(*parts, strict=True)))


def _map(rows: Rows, change: Callable[[Any], Any]) -> Rows:
    return type(rows)(*map(change, rows))
