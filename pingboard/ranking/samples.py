"""The samples of one room and window as numpy columns, and what each board takes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pingboard.model import ONE_WAY_MIN_MS, PONG_TIMEOUT_MS, BoardName, Standing
from pingboard.ranking.standings import Column, rank


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """One room's samples, a column for each property; n may be 0."""

    ping_server: Column
    """(n,) int32, an index into `names`"""
    pong_server: Column
    """(n,) int32, an index into `names`"""
    one_way_ms: Column
    """(n,) int32; a claim, so any value"""
    round_trip_ms: Column
    """(n,) int32; -1 where there is none"""
    names: Sequence[str]
    """the homeservers; each once"""


def board_columns(samples: Samples, board: BoardName) -> tuple[Column, Column]:
    """The servers that a board ranks and their latencies: (m,) and (m,) int32, m <= n.

    The bounds of a one-way claim are pingstat's, both inclusive (method: "pingstat").
    """
    if board is BoardName.RESPONSE:
        taken = samples.round_trip_ms >= 0
        return samples.pong_server[taken], samples.round_trip_ms[taken]
    taken = samples.one_way_ms >= ONE_WAY_MIN_MS
    taken &= samples.one_way_ms <= PONG_TIMEOUT_MS
    ranked = samples.ping_server if board is BoardName.DELIVERY else samples.pong_server
    return ranked[taken], samples.one_way_ms[taken]


def standings(
    samples: Samples, board: BoardName, *, min_samples: int = 1, limit: int | None = None
) -> tuple[list[Standing], int]:
    """The board's standings, as `rank` gives them, and how many samples it takes in all.

    The count is before `min_samples` and `limit`; without samples ([], 0).
    """
    servers, ms = board_columns(samples, board)
    ranked = rank(servers, ms, samples.names, min_samples=min_samples, limit=limit)
    return ranked, len(ms)
