"""Scales: latencies on a logarithmic one, instants on a linear one, and where their marks are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

WIDTH, HEIGHT = 4000, 1000
"""Of the plane that curves lie in; so fine that whole numbers do."""

MIN_RATIO = 1.5
"""Of the ends of a scale: so that what hardly varies doesn't look as if it did."""

_ROUND = ((1, 2, 5), (1, 2, 3, 5, 7), (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9))
"""What a mark may begin with, the roundest first."""

_MIN_MARKS = 3
_TIME_STEPS = (
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=4),
    timedelta(days=1),
    timedelta(days=7),
    timedelta(days=14),
    timedelta(days=61),
)


class Mark(NamedTuple):
    at: float
    """per cent of its length"""
    ms: float


class TimeMark(NamedTuple):
    at: float
    """per cent of its length"""
    instant: datetime
    is_time: bool
    """it is to be written as a time of day"""


@dataclass(frozen=True, slots=True)
class Scale:
    """A logarithmic scale of latencies: a room really holds 400 ms and 4 minutes side by side."""

    low_ms: float
    high_ms: float

    @classmethod
    def over(cls, ms: Iterable[float]) -> Scale:
        """The scale that has all of these on it, with a little room at its ends."""
        known = [max(latency, 1.0) for latency in ms] or [1.0]
        low, high = min(known), max(known)
        widen = max(math.sqrt(MIN_RATIO / (high / low)), 1.04)
        return cls(max(low / widen, 1.0), high * widen)

    def share(self, ms: float) -> float:
        """Where a latency lies, 0 to 1; those beyond the ends lie at them."""
        place = math.log(max(ms, 1.0) / self.low_ms) / math.log(self.high_ms / self.low_ms)
        return min(max(place, 0.0), 1.0)

    def percent(self, ms: float) -> float:
        """Where a latency lies, 0 to 100."""
        return round(self.share(ms) * 100, 2)

    def marks(self, most: int) -> Sequence[Mark]:
        """At most so many round latencies, spread over the scale, with room for their texts."""
        for heads in _ROUND:
            inside = self._list_round(heads)
            if len(inside) >= _MIN_MARKS:
                break
        else:
            inside = self._mark_evenly(most)
        return choose_marks([Mark(self.percent(ms), ms) for ms in inside], 70 / most, most)

    def _list_round(self, heads: Sequence[float]) -> list[float]:
        decades = range(math.floor(math.log10(self.low_ms)), math.ceil(math.log10(self.high_ms)))
        marks = [head * 10**decade for decade in decades for head in heads]
        return [ms for ms in marks if self.low_ms <= ms <= self.high_ms]

    def _mark_evenly(self, most: int) -> list[float]:
        """Multiples of one round number, for a scale within a decade."""
        least = (self.high_ms - self.low_ms) / most
        power = 10.0 ** math.floor(math.log10(least))
        step = next(head * power for head in (1, 2, 5, 10) if head * power >= least)
        first, last = math.ceil(self.low_ms / step), math.floor(self.high_ms / step)
        return [round(number * step, 6) for number in range(first, last + 1)]


def choose_marks(marks: Iterable[Mark], gap: float, most: int) -> list[Mark]:
    """At most so many marks, so far apart in per cent that their texts have room.

    The roundest have it first.
    """
    chosen: list[Mark] = []
    for mark in sorted(marks, key=lambda mark: _rank_roundness(mark.ms)):
        if len(chosen) < most and all(abs(mark.at - other.at) >= gap for other in chosen):
            chosen.append(mark)
    return sorted(chosen)


def _rank_roundness(ms: float) -> int:
    head = round(ms / 10 ** math.floor(math.log10(ms)), 6) if ms > 0 else 1
    ranked = ((1,), *_ROUND)
    return next((rank for rank, heads in enumerate(ranked) if head in heads), len(ranked))


def mark_time(start: datetime, end: datetime, most: int = 7) -> Sequence[TimeMark]:
    """Round instants, UTC, at most so many; none so near an end that its text had no room."""
    length = end - start
    step = next((step for step in _TIME_STEPS if length / step <= most), _TIME_STEPS[-1])
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    instant = midnight + math.ceil((start - midnight) / step) * step
    marks = []
    while instant < end:
        at = (instant - start) / length * 100
        if 4 <= at <= 96:
            marks.append(TimeMark(round(at, 2), instant, step < timedelta(days=1)))
        instant += step
    return marks
