"""One homeserver among the others of a board: a tick for each of them, and its own median."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pingboard.web.charts.scale import Mark, Scale

PLACES = 500
"""Ticks that are nearer to each other are one: a strip of 5,000 homeservers is as long as it is."""


@dataclass(frozen=True, slots=True)
class Strip:
    """A drawing; positions are per cent of its width."""

    ticks: str
    """the `d` of a path, a vertical stroke for each of the others, in a plane of 0..500 x 0..1"""
    middle: tuple[float, float] | None
    """from where to where the middle half of the others lies"""
    others: float | None
    """the median of the others"""
    own: float
    interval: tuple[float, float] | None
    """of its own median"""
    marks: Sequence[Mark]


def draw(
    scale: Scale,
    own_ms: float,
    interval_ms: tuple[float, float] | None,
    others_ms: Sequence[float],
    others_median_ms: float | None,
    middle_ms: tuple[float, float] | None,
) -> Strip:
    """The strip of one board on a scale that has all of these."""
    places = sorted({round(scale.share(ms) * PLACES) for ms in others_ms})
    return Strip(
        ticks="".join(f"M{place} 0v1" for place in places),
        middle=_place(scale, middle_ms),
        others=None if others_median_ms is None else scale.percent(others_median_ms),
        own=scale.percent(own_ms),
        interval=_place(scale, interval_ms),
        marks=scale.marks(5),
    )


def _place(scale: Scale, ends: tuple[float, float] | None) -> tuple[float, float] | None:
    return ends and (scale.percent(ends[0]), scale.percent(ends[1]))
