"""A pair of things to do -> how long ours takes for each second of the other's."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

TURNS = 7


@dataclass(frozen=True, slots=True)
class Pair:
    """Two ways to a result, and how they should compare."""

    name: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    target: float
    """the largest ratio, ours to theirs, that is good enough"""
    count_differences: Callable[[Any, Any], int] | None = None
    """how many parts of a result of ours don't equal theirs; None where results differ in kind"""
    ours_count: int = 1
    """how many of what is measured one run of ours does; times are those of one"""
    theirs_count: int = 1
    turns: int = TURNS
    """how often each side runs; the first run of each does not count where there are several"""


@dataclass(frozen=True, slots=True)
class Size:
    """Two numbers that need no repeating, such as sizes in bytes, and how they should compare."""

    name: str
    ours: float
    theirs: float
    target: float


@dataclass(frozen=True, slots=True)
class Result:
    """What a pair measured. Times in seconds, one a repeat; never empty."""

    pair: Pair
    ours_s: list[float]
    theirs_s: list[float]
    differences: int | None

    @property
    def ratios(self) -> list[float]:
        """Ours to theirs, of neighbours in time, so that both saw the same noise."""
        return [ours / theirs for ours, theirs in zip(self.ours_s, self.theirs_s, strict=True)]

    @property
    def verdict(self) -> str:
        """Whether it is right, and fast enough."""
        if self.differences:
            return "WRONG"
        return "met" if median(self.ratios) <= self.pair.target else "missed"


def measure(pair: Pair) -> Result:
    """Run both sides in turn, and compare what the first turn gave."""
    ours_s: list[float] = []
    theirs_s: list[float] = []
    differences = None
    for turn in range(pair.turns):
        sides = [(pair.ours, pair.ours_count, ours_s), (pair.theirs, pair.theirs_count, theirs_s)]
        # Whoever goes first may find the caches colder; so they take turns.
        results = {
            number: _time(*sides[number]) for number in ((0, 1) if turn % 2 == 0 else (1, 0))
        }
        if turn == 0 and pair.count_differences is not None:
            differences = pair.count_differences(results[0], results[1])
    first = 1 if pair.turns > 1 else 0
    return Result(pair, ours_s[first:], theirs_s[first:], differences)


def _time(run: Callable[[], Any], count: int, times: list[float]) -> Any:
    # As timeit does: a collection that happens to start inside would count against one side.
    gc.collect()
    gc.disable()
    try:
        started = perf_counter()
        result = run()
        times.append((perf_counter() - started) / count)
    finally:
        gc.enable()
    return result
