"""A pair of things to do -> how long ours takes for each second of the other's."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter

TURNS = 7


@dataclass(frozen=True, slots=True)
class Pair:
    """Two ways to a result, and how they should compare."""

    name: str
    ours: Callable[[], object]
    theirs: Callable[[], object]
    target: float
    """the largest ratio, ours to theirs, that is good enough"""
    count_differences: Callable[[], int] | None = None
    """how many of their results ours don't equal; None where the two don't have the same result"""
    ours_count: int = 1
    """how many of what is measured one run of ours does; times are those of one"""
    theirs_count: int = 1
    gives_seconds: bool = False
    """whether both sides give the time in question themselves"""
    turns: int = TURNS
    """how often each side runs; more where the machine's noise is as large as the difference"""


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
        if self.differences:
            return "WRONG"
        return "met" if median(self.ratios) <= self.pair.target else "missed"


def measure(pair: Pair) -> Result:
    """Run both sides in turn, after a comparison or one run that don't count."""
    differences = None
    if pair.count_differences:
        differences = pair.count_differences()
    else:
        pair.ours()
        pair.theirs()
    ours_s: list[float] = []
    theirs_s: list[float] = []
    sides = [(pair.ours, pair.ours_count, ours_s), (pair.theirs, pair.theirs_count, theirs_s)]
    for _ in range(pair.turns):
        for run, count, times in sides:
            times.append(_time(run, gives_seconds=pair.gives_seconds) / count)
        # Whoever goes first may find the caches colder; so they take turns.
        sides.reverse()
    return Result(pair, ours_s, theirs_s, differences)


def _time(run: Callable[[], object], *, gives_seconds: bool) -> float:
    # As timeit does: a collection that happens to start inside would count against one side.
    gc.collect()
    gc.disable()
    try:
        started = perf_counter()
        given = run()
        return float(str(given)) if gives_seconds else perf_counter() - started
    finally:
        gc.enable()
