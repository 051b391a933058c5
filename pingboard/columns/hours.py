"""One hour of pings that still changes: a block, and the pings that changed since it was made.

A new pong costs a dictionary entry. The block is made anew only when somebody asks for it, or when
much has gathered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np

from pingboard.columns.blocks import (
    EMPTY,
    LOSS,
    SAMPLE,
    Answers,
    Block,
    Claims,
    Losses,
    build,
    replace,
)

SETTLE_AT = 2_000
"""Rows that gather at most: as tuples they take ten times the memory, and a block of 60,000 samples
takes 2 ms to make."""


Row = TypeVar("Row")


class Pong(NamedTuple):
    """A row of `blocks.SAMPLE`."""

    ping: int
    seen_ts: int
    ping_server: int
    pong_server: int
    one_way_ms: int
    round_trip_ms: int
    offset_x2_ms: int
    is_ours: bool


class Loss(NamedTuple):
    """A row of `blocks.LOSS`."""

    ping: int
    seen_ts: int
    pong_server: int


@dataclass(slots=True)
class Pongs:
    """All that belongs to one ping, by pong server."""

    samples: dict[int, Pong] = field(default_factory=dict)
    losses: dict[int, Loss] = field(default_factory=dict)


class Difference(NamedTuple):
    """What went and what came."""

    gone: Sequence[Pong] = ()
    come: Sequence[Pong] = ()
    losses_gone: Sequence[Loss] = ()
    losses_come: Sequence[Loss] = ()


class Hour:
    """Not thread-safe; the blocks it gives never change."""

    def __init__(self, block: Block = EMPTY) -> None:
        self._block = block
        self._changed: dict[int, Pongs] = {}
        self._gathered = 0

    def block(self) -> Block:
        """Everything, as of now."""
        if self._changed:
            self._block = replace(self._block, self._changed, _build(self._changed))
            self._changed = {}
            self._gathered = 0
        return self._block

    def add(self, pong: Pong) -> Difference:
        """Put in one sample, in the place of an older one with its key."""
        samples = self._open(pong.ping).samples
        old = samples.get(pong.pong_server)
        samples[pong.pong_server] = pong
        self._gather(1)
        return Difference(() if old is None else (old,), (pong,))

    def put(self, ping: int, now: Pongs) -> Difference:
        """All that belongs to a ping, in the place of what did."""
        before = self._open(ping)
        self._changed[ping] = now
        self._gather(len(now.samples) + len(now.losses))
        return Difference(
            _without(before.samples, now.samples),
            _without(now.samples, before.samples),
            _without(before.losses, now.losses),
            _without(now.losses, before.losses),
        )

    def _gather(self, rows: int) -> None:
        self._gathered += rows
        if self._gathered > SETTLE_AT:
            self.block()

    def _open(self, ping: int) -> Pongs:
        found = self._changed.get(ping)
        if found is None:
            found = self._changed[ping] = _find(self._block, ping)
            self._gathered += len(found.samples)
        return found


def _without(rows: Mapping[int, Row], others: Mapping[int, Row]) -> list[Row]:
    return [row for server, row in rows.items() if others.get(server) != row]


def _build(changed: Mapping[int, Pongs]) -> Block:
    samples = [row for pongs in changed.values() for row in pongs.samples.values()]
    losses = [row for pongs in changed.values() for row in pongs.losses.values()]
    return build(np.array(samples, SAMPLE), np.array(losses, LOSS))


def _find(block: Block, ping: int) -> Pongs:
    """What a block has of a ping. What no board takes is not in it, and comes out as -1."""
    samples = {}
    for _, seen_ts, by, pong_server, ms in _rows(block.claims, ping):
        samples[pong_server] = Pong(ping, seen_ts, by, pong_server, ms, -1, 0, is_ours=False)
    for _, seen_ts, pong_server, round_trip_ms, offset_x2_ms in _rows(block.answers, ping):
        claimed = samples.get(pong_server)
        by, ms = (claimed.ping_server, claimed.one_way_ms) if claimed else (0, -1)
        samples[pong_server] = Pong(
            ping, seen_ts, by, pong_server, ms, round_trip_ms, offset_x2_ms, is_ours=True
        )
    losses = {row[2]: Loss(*row) for row in _rows(block.losses, ping)}
    return Pongs(samples, losses)


def _rows(columns: Claims | Answers | Losses, ping: int) -> Iterable[tuple[Any, ...]]:
    found = columns.ping.find(ping)
    return zip(*(column[found].tolist() for column in columns), strict=True)
