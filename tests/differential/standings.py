"""What a standing says of some latencies, in plain Python and exact."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from math import comb
from typing import Any


def rank_plainly(samples: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    """Return the standings of (homeserver, ms), best first: by median, more samples, name."""
    by_name: dict[str, list[int]] = {}
    for name, ms in samples:
        by_name.setdefault(name, []).append(ms)
    names = sorted(
        by_name, key=lambda name: (statistics.median(by_name[name]), -len(by_name[name]), name)
    )
    rows: list[dict[str, Any]] = []
    for name in names:
        numbers = by_name[name]
        interval = _median_interval(numbers)
        before = rows[-1]["ci95_ms"] if rows else None
        rows.append(
            {
                "rank": len(rows) + 1,
                "homeserver": name,
                "median_ms": float(statistics.median(numbers)),
                "mean_ms": float(Fraction(sum(numbers), len(numbers))),
                "p5_ms": _percentile(numbers, 5),
                "p25_ms": _percentile(numbers, 25),
                "p75_ms": _percentile(numbers, 75),
                "p95_ms": _percentile(numbers, 95),
                "samples": len(numbers),
                "ci95_ms": interval,
                "tied_with_previous": bool(
                    interval and before and interval[0] <= before[1] and before[0] <= interval[1]
                ),
                "sent": None,
                "lost": None,
                "loss": None,
                "clock_offset_ms": None,
                "clock_uncertainty_ms": None,
            }
        )
    return rows


def summarise_plainly(numbers: Sequence[int]) -> tuple[float, int]:
    """Return their median and how many they are."""
    return float(statistics.median(numbers)), len(numbers)


def _percentile(numbers: Sequence[int], percent: int) -> float:
    """Return a percentile, linear between ranks (Hyndman and Fan 1996, type 7)."""
    ordered = sorted(numbers)
    below, hundredths = divmod((len(ordered) - 1) * percent, 100)
    above = min(below + 1, len(ordered) - 1)
    return float(Fraction(ordered[below] * (100 - hundredths) + ordered[above] * hundredths, 100))


def _median_interval(numbers: Sequence[int]) -> tuple[float, float] | None:
    position = _interval_position(len(numbers))
    ordered = sorted(numbers)
    return (float(ordered[position - 1]), float(ordered[-position])) if position else None


@cache
def _interval_position(count: int) -> int:
    """Return the largest k with P(fewer than k heads in `count` tosses) <= 2.5 %."""
    k, ways = 0, 0
    while 40 * (ways + comb(count, k)) <= 2**count:
        ways += comb(count, k)
        k += 1
    return k
