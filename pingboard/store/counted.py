"""The format of a counted month: what a board's blob holds, packed and unpacked.

Of each board the keys' steps and the counts of a `Counted`, as `packing` packs small numbers, and
the servers and cells of a `Dense`. `response` has more columns: how many answers and losses each
server had, and, for its clock, the answers of the lowest round trip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pingboard.columns.counts import DENSE_BITS, Counted, Dense, split
from pingboard.store.columns import NO_OFFSET
from pingboard.store.packing import pack_column, pack_small, unpack_columns, unpack_small

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pingboard.columns.blocks import Answers
    from pingboard.columns.narrow import Column, Integers

_EMPTY_COUNTED: list[NDArray[Any]] = [np.empty(0, np.int64)] * 5 + [np.empty(0, np.uint8)]
_EMPTY_ANSWERED = [np.empty(0, np.int64)] * 7


class Answered(NamedTuple):
    """What `response` shows beside the round trips; (s,) by server, and (n,)."""

    answers: Integers
    """how many, by server"""
    losses: Integers
    servers: Column
    """of the answers with the lowest round trip: server, and so on"""
    ms: Column
    offset_x2_ms: Column


def summarise(answers: Answers, losses: Column) -> Answered:
    lowest = _lowest(answers.pong_server, answers.ms, answers.offset_x2_ms)
    return Answered(np.bincount(answers.pong_server), np.bincount(losses), *lowest)


def _lowest(servers: Column, ms: Column, offset_x2_ms: Column) -> tuple[Column, Column, Column]:
    """The answers with each server's lowest round trip, of those that tell of its clock."""
    tells = (ms >= 0) & (offset_x2_ms != NO_OFFSET)
    servers, ms, offset_x2_ms = servers[tells], ms[tells], offset_x2_ms[tells]
    lowest = np.full(int(servers.max(initial=0)) + 1, np.iinfo(np.int32).max, np.int32)
    np.minimum.at(lowest, servers, ms)
    best = ms == lowest[servers]
    return servers[best], ms[best], offset_x2_ms[best]


def merge(parts: Sequence[Answered]) -> Answered:
    lowest = _lowest(
        np.concatenate([one.servers for one in parts]),
        np.concatenate([one.ms for one in parts]),
        np.concatenate([one.offset_x2_ms for one in parts]),
    )
    return Answered(
        add_counts([one.answers for one in parts]),
        add_counts([one.losses for one in parts]),
        *lowest,
    )


def add_counts(parts: Sequence[Integers]) -> Integers:
    """Counts by server, of which any may know fewer servers than others, added up."""
    total = np.zeros(max(map(len, parts), default=0), np.int64)
    for one in parts:
        total[: len(one)] += one
    return total


def pack_counted(counted: Counted) -> bytes:
    (keys, counts), dense = split(counted)
    packed = pack_small(np.diff(keys, prepend=0)) + pack_small(counts)
    return packed + pack_column(dense.servers) + pack_column(dense.cells.ravel())


def unpack_counted(blob: bytes) -> tuple[Counted, Dense]:
    parts = unpack_columns(blob, _EMPTY_COUNTED)
    steps, counts = unpack_small(parts), unpack_small(parts)
    servers, cells = next(parts), next(parts)
    dense = Dense(servers, cells.reshape(len(servers), 1 << DENSE_BITS))
    return Counted(np.cumsum(steps, out=steps), counts), dense


def pack_answered(answered: Answered) -> bytes:
    lowest = (answered.servers, answered.ms, answered.offset_x2_ms)
    packed = pack_small(answered.answers) + pack_small(answered.losses)
    return packed + b"".join([pack_column(column) for column in lowest])


def unpack_answered(blob: bytes) -> Answered:
    columns_ = _EMPTY_COUNTED + _EMPTY_ANSWERED
    skipped = len(_EMPTY_COUNTED)
    parts = unpack_columns(blob, columns_, chosen=range(skipped, len(columns_)))
    answers, losses = unpack_small(parts), unpack_small(parts)
    servers, ms, offsets = parts
    return Answered(answers, losses, servers.astype(np.int32), ms.astype(np.int32), offsets)
