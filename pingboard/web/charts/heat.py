"""The ping x pong matrix as a table of colours: rows are ping servers, columns pong servers.

The colours are levels of a logarithmic scale that most of the pairs lie on; the few that are beyond
it have its first and its last.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pingboard.ranking.pairs import Pair

LEVELS = 9
PAGE = 100
"""Homeservers on a page, each way: with the square of it a page has as much as it may."""

_BEYOND = 0.05
"""The share of the pairs that is beyond the scale, at each end."""


class Cell(NamedTuple):
    median_ms: float
    samples: int
    level: int
    """of its colour, 0 for the fastest"""


@dataclass(frozen=True, slots=True)
class Heat:
    """A page of the matrix."""

    ping_servers: Sequence[str]
    pong_servers: Sequence[str]
    rows: Sequence[Sequence[Cell | None]]
    """by ping server, then pong server; None for a pair without samples"""
    edges: Sequence[int]
    """in ms; a level begins at each but the first, which begins at 0"""
    pairs: int
    """on all pages"""
    samples: int


def draw(pairs: Sequence[Pair], ping_servers: Sequence[str], pong_servers: Sequence[str]) -> Heat:
    """The matrix of these servers, in this order. `pairs` are those of all servers: the colours
    mean the same on each page."""
    edges = find_edges([pair.median_ms for pair in pairs])
    pair_of = {(pair.ping_server, pair.pong_server): pair for pair in pairs}
    return Heat(
        ping_servers,
        pong_servers,
        [[_cell(pair_of, ping, pong, edges) for pong in pong_servers] for ping in ping_servers],
        edges,
        len(pairs),
        sum(pair.samples for pair in pairs),
    )


def find_edges(medians_ms: Iterable[float]) -> list[int]:
    """Where the levels begin, in ms to two digits; fewer where the medians hardly differ."""
    ordered = sorted(max(ms, 1.0) for ms in medians_ms)
    if not ordered:
        return []
    last = len(ordered) - 1
    low, high = ordered[round(last * _BEYOND)], ordered[round(last * (1 - _BEYOND))]
    steps = LEVELS - 2
    edges = (low * (high / low) ** (step / steps) for step in range(steps + 1))
    return sorted({_round(edge) for edge in edges})


def _round(ms: float) -> int:
    digits = len(str(int(ms)))
    return max(int(round(ms, 2 - digits)), 1)


def _cell(
    pair_of: Mapping[tuple[str, str], Pair], ping: str, pong: str, edges: Sequence[int]
) -> Cell | None:
    pair = pair_of.get((ping, pong))
    if pair is None:
        return None
    return Cell(pair.median_ms, pair.samples, bisect_right(edges, pair.median_ms))
