"""One homeserver against the others of its room: is it my server, or theirs?

In: its median on a board with its interval, the medians of the others, and its clock. Out: what can
be said of the difference, and what can't. Pure; every number is in ms.

A one-way number is made with two clocks. Where the homeserver's is ahead, what it receives looks
slower and what it sends looks faster by as much; and it is known only to within its uncertainty. So
a difference is worth no more than what is left of it without the clock. Round trips are by our own
clock alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from statistics import median, quantiles
from typing import NamedTuple

from pingboard.model import BoardName, Standing
from pingboard.ranking.boards import get_rule
from pingboard.ranking.clocks import Clock

MIN_OTHERS = 3
"""Fewer are too few to have a middle half."""


class ComparisonVerdict(StrEnum):
    """What the difference from the median of the others says."""

    FEW_SAMPLES = "few_samples"
    """its median has no interval yet"""
    FEW_OTHERS = "few_others"
    EVEN = "even"
    """the median of the others lies in the interval of its own: it may be chance"""
    CLOCK = "clock"
    """its clock, as far as it is known, may be all of it"""
    ORDINARY = "ordinary"
    """another than the median, but like the middle half of the others"""
    SLOW = "slow"
    """slower than three quarters of the others"""
    FAST = "fast"
    """faster than three quarters of them"""


class Comparison(NamedTuple):
    """One homeserver's number on one board beside the others'."""

    board: BoardName
    median_ms: float
    others: int
    others_median_ms: float | None
    """None where there are no others"""
    middle_ms: tuple[float, float] | None
    """the middle half of the others' medians; None below `MIN_OTHERS`"""
    clock_ms: float
    """by how much a clock that is known to be wrong makes this number larger; 0 without one"""
    verdict: ComparisonVerdict

    @property
    def difference_ms(self) -> float:
        """By how much it is slower than the others' median; negative where it is faster."""
        return self.median_ms - (self.others_median_ms or 0.0)


class Diagnosis(StrEnum):
    """Sending and receiving together."""

    UNKNOWN = "unknown"
    """neither has enough samples"""
    NO_SENDING = "no_sending"
    """only receiving is measured, and does not stand out"""
    NO_RECEIVING = "no_receiving"
    CLOCK = "clock"
    """they differ as its wrong clock makes them differ"""
    UNSURE = "unsure"
    """they differ by no more than its clock is unsure"""
    EITHER = "either"
    """it is slow there and back, and no clock can tell which way"""
    ORDINARY = "ordinary"
    FAST = "fast"
    SENDING = "sending"
    """slow is what it sends, not what it receives"""
    RECEIVING = "receiving"
    BOTH = "both"


def compare(
    board: BoardName, row: Standing, others_ms: Sequence[float], clock: Clock | None
) -> Comparison:
    """A standing beside the medians of the others on its board, in any order."""
    sign = get_rule(board).clock_sign
    known = clock if sign else None
    comparison = Comparison(
        board=board,
        median_ms=row.median_ms,
        others=len(others_ms),
        others_median_ms=median(others_ms) if others_ms else None,
        middle_ms=_find_middle(others_ms),
        clock_ms=sign * known.offset_ms if known and known.is_wrong else 0.0,
        verdict=ComparisonVerdict.EVEN,
    )
    return comparison._replace(verdict=_judge(comparison, row, known))


def diagnose(places: dict[BoardName, Comparison], clock: Clock | None) -> Diagnosis:
    """What all directions say together."""
    decided = {
        board: comparison.verdict
        for board, comparison in places.items()
        if comparison.verdict not in (ComparisonVerdict.FEW_SAMPLES, ComparisonVerdict.FEW_OTHERS)
    }
    sent, received = decided.get(BoardName.DELIVERY), decided.get(BoardName.RECEPTION)
    if ComparisonVerdict.SLOW in (sent, received):
        if sent is received:
            return Diagnosis.BOTH
        return Diagnosis.SENDING if sent is ComparisonVerdict.SLOW else Diagnosis.RECEIVING
    if ComparisonVerdict.CLOCK in (sent, received):
        if decided.get(BoardName.RESPONSE) is ComparisonVerdict.SLOW:
            return Diagnosis.EITHER
        return Diagnosis.CLOCK if clock and clock.is_wrong else Diagnosis.UNSURE
    if sent is None or received is None:
        return _diagnose_one(sent, received)
    return Diagnosis.FAST if sent is received is ComparisonVerdict.FAST else Diagnosis.ORDINARY


def _diagnose_one(sent: ComparisonVerdict | None, received: ComparisonVerdict | None) -> Diagnosis:
    if sent is received:
        return Diagnosis.UNKNOWN
    return Diagnosis.NO_SENDING if sent is None else Diagnosis.NO_RECEIVING


def _judge(comparison: Comparison, row: Standing, clock: Clock | None) -> ComparisonVerdict:
    if comparison.middle_ms is None or comparison.others_median_ms is None:
        return ComparisonVerdict.FEW_OTHERS
    if row.ci95_ms is None:
        return ComparisonVerdict.FEW_SAMPLES
    low_ms, high_ms = (end - comparison.others_median_ms for end in comparison.middle_ms)
    verdict = _place(comparison.difference_ms, low_ms, high_ms)
    is_chance = row.ci95_ms[0] <= comparison.others_median_ms <= row.ci95_ms[1]
    if is_chance and not comparison.clock_ms:
        return ComparisonVerdict.EVEN
    # Bot and homeserver may have a clock each, so nobody knows in which direction a wrong one
    # shifts the number: only what holds with it and without it is said.
    left_ms = comparison.difference_ms - comparison.clock_ms
    if clock and abs(left_ms) <= clock.uncertainty_ms:
        return ComparisonVerdict.CLOCK
    agrees = not is_chance and verdict is _place(left_ms, low_ms, high_ms)
    return verdict if agrees else ComparisonVerdict.CLOCK


def _place(difference_ms: float, low_ms: float, high_ms: float) -> ComparisonVerdict:
    if difference_ms > high_ms:
        return ComparisonVerdict.SLOW
    return ComparisonVerdict.FAST if difference_ms < low_ms else ComparisonVerdict.ORDINARY


def _find_middle(others_ms: Sequence[float]) -> tuple[float, float] | None:
    if len(others_ms) < MIN_OTHERS:
        return None
    low, _, high = quantiles(others_ms, n=4, method="inclusive")
    return low, high
