"""Standings from the method's words alone, in plain Python and exact."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import cache
from math import floor

from pingboard.model import Standing


def rank_plainly(samples: Iterable[tuple[str, int]]) -> list[Standing]:
    """Return the standings of (homeserver, ms), best first: by median, more samples, name."""
    by_name: dict[str, list[int]] = defaultdict(list)
    for name, ms in samples:
        by_name[name].append(ms)
    order = sorted(
        by_name, key=lambda name: (statistics.median(by_name[name]), -len(by_name[name]), name)
    )
    intervals = [_median_interval(by_name[name]) for name in order]
    return [
        Standing(
            rank=place,
            homeserver=name,
            median_ms=float(statistics.median(by_name[name])),
            mean_ms=sum(by_name[name]) / len(by_name[name]),
            p5_ms=_percentile(by_name[name], 5),
            p25_ms=_percentile(by_name[name], 25),
            p75_ms=_percentile(by_name[name], 75),
            p95_ms=_percentile(by_name[name], 95),
            samples=len(by_name[name]),
            ci95_ms=interval,
            tied_with_previous=_overlap(interval, before),
        )
        for place, (name, interval, before) in enumerate(
            zip(order, intervals, [None, *intervals], strict=False), 1
        )
    ]


@cache
def _interval_position(count: int) -> int:
    """Return the largest k with P(fewer than k heads in `count` tosses) <= 2.5 %, in integers."""
    ways, below, k = 1, 1, 0
    while 40 * below <= 2**count:
        k += 1
        ways = ways * (count - k + 1) // k  # count over k, from the one before
        below += ways
    return k


def _median_interval(numbers: Sequence[int]) -> tuple[float, float] | None:
    k = _interval_position(len(numbers))
    ordered = sorted(numbers)
    return (float(ordered[k - 1]), float(ordered[-k])) if k else None


def _overlap(interval: tuple[float, float] | None, other: tuple[float, float] | None) -> bool:
    return (
        interval is not None
        and other is not None
        and interval[0] <= other[1]
        and other[0] <= interval[1]
    )


def _percentile(numbers: Sequence[int], percent: int) -> float:
    """Type 7 in rational numbers, so rounded only once, at the end."""
    ordered = sorted(numbers)
    position = Fraction(len(ordered) - 1) * percent / 100
    below = ordered[floor(position)]
    above = ordered[-floor(-position)]
    return float(below + (above - below) * (position - floor(position)))
