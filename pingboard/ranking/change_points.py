"""Change-points: since when is a homeserver slower, faster, silent or back?

In: the medians of all homeservers of a room, hour by hour, and whether they were heard at all. Out:
the hours at which the level of one of them changed, or it fell silent. Pure; numpy only.

A level is tested against what all others did in the same hours, so that a busy evening of the room
or of our own network is nobody's change. The test is the Mann-Whitney rank test at every possible
split, which asks for no distribution and minds no outlier; its variance is widened by the
autocorrelation of the hours, and its level is divided by the number of splits (Bonferroni). The
split that stands out most divides the hours, and each side is tested again (binary segmentation).
What is left is dropped where the levels differ by less than `MIN_RATIO`.

https://doi.org/10.2307/2346729 (Pettitt 1979, the rank test for a change-point)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pingboard.model import ChangeKind
from pingboard.ranking.trends import Trend

SIGNIFICANCE = 0.01
"""How often a series without a change may show one, over all its splits."""

MIN_RATIO = 1.4
"""Of two levels: a smaller change is not reported."""

MIN_HOURS = 8
"""On either side of a change-point: fewer can't be significant."""

MIN_SILENT_HOURS = 3
"""Without any pong, while others were heard."""

MIN_OTHERS = 3
"""Fewer say nothing of what everybody's latency did."""

MIN_OTHERS_RATIO = 1.25
"""Of the others' levels: they count as unchanged below, and where no change of theirs is near."""

Hours = NDArray[np.float64]
"""(h,) a number for each hour, NaN where there is none"""


class ChangePoint(NamedTuple):
    """A change of a homeserver's level."""

    kind: ChangeKind
    hour: int
    """the first hour of the new level"""
    ratio: float = 1.0
    """new level / old level, without what the others did meanwhile; 1 for silent and back"""
    others_ratio: float | None = None
    """the same of the others, 1 where they did not change; None where they are too few"""
    is_shared: bool = False
    """the others changed alike: it is probably our side"""


def find_change_points(trends: Mapping[str, Trend], homeserver: str) -> list[ChangePoint]:
    """Every change of a homeserver's level, in order of time.

    `trends` has an hourly median in ms of each homeserver, all equally long; [] where it has none
    of this one.
    """
    if homeserver not in trends:
        return []
    own = _take_logarithms(trends[homeserver])
    others = [_take_logarithms(trend) for name, trend in trends.items() if name != homeserver]
    common = find_common_course(others)
    return _find_level_changes(own, common, np.flatnonzero(~np.isnan(own)))


def find_silences(heard: NDArray[np.bool_], server: int) -> list[ChangePoint]:
    """Every silence of a homeserver and its end, in order of time; `server` is its row.

    `heard`, (servers, hours), says whether any pong came. In a silence most of the others were
    heard for `MIN_SILENT_HOURS`, and it was not; longer than its usual loss explains.
    """
    own, others = heard[server], np.delete(heard, server, axis=0)
    others = others[others.any(axis=1)]
    if len(others) < MIN_OTHERS or not own.any():
        return []
    asked = np.flatnonzero(others.mean(axis=0) >= 0.5)
    ends = [*np.flatnonzero(own).tolist(), len(own)]
    missed = [asked[(asked > last) & (asked < end)] for last, end in pairwise(ends)]
    min_hours = _find_min_silence([len(hours) for hours in missed], len(asked))
    changes = []
    for hours, end in zip(missed, ends[1:], strict=True):
        if len(hours) >= min_hours:
            changes.append(ChangePoint(ChangeKind.SILENT, int(hours[0])))
            if end < len(own):
                changes.append(ChangePoint(ChangeKind.BACK, end))
    return changes


def _find_min_silence(missed: Sequence[int], asked: int) -> int:
    """How many hours in a row, of so many `asked`, loss by chance explains no more.

    `missed` has what was missed between any two hours that were heard. What is no silence is loss.
    """
    least = MIN_SILENT_HOURS
    while True:
        lost = sum(hours for hours in missed if hours < least)
        loss = (lost + 1) / (lost + len(missed) + 2)
        needed = math.ceil(math.log(SIGNIFICANCE / asked) / math.log(loss)) if asked else least
        if needed <= least:
            return least
        least = needed


def find_common_course(others: Sequence[Hours]) -> Hours | None:
    """How everybody's level ran: the median of the others' deviations from their own medians.

    None where there are fewer than `MIN_OTHERS`; 0 for an hour in which nobody was heard.
    """
    if len(others) < MIN_OTHERS:
        return None
    matrix = np.vstack(others)
    deviations = matrix - np.array([[np.median(row[~np.isnan(row)])] for row in matrix])
    course = np.zeros(matrix.shape[1])
    for hour, column in enumerate(deviations.T):
        known = column[~np.isnan(column)]
        if len(known):
            course[hour] = np.median(known)
    return course


def split_at_changes(levels: Hours) -> list[int]:
    """Where the level of a series without NaN changes significantly, in order."""
    splits: list[int] = []
    parts = [(0, len(levels))]
    tests = max(len(levels) - 2 * MIN_HOURS + 1, 1)
    while parts:
        first, after = parts.pop()
        split = _find_split(levels[first:after], tests)
        if split is not None:
            splits.append(first + split)
            parts += [(first, first + split), (first + split, after)]
    return sorted(splits)


def _find_level_changes(
    own: Hours, common: Hours | None, heard: NDArray[np.intp]
) -> list[ChangePoint]:
    course = np.zeros(len(own)) if common is None else common
    levels = (own - course)[heard]
    others_splits = split_at_changes(course[heard]) if common is not None else []
    changes = []
    for before, after in _pair_levels(levels, split_at_changes(levels)):
        moved = _measure_move(levels, before, after)
        if abs(moved) < np.log2(MIN_RATIO):
            continue
        others_moved = _measure_move(course[heard], before, after)
        is_near = any(abs(split - after.start) < MIN_HOURS for split in others_splits)
        if not is_near or abs(others_moved) < np.log2(MIN_OTHERS_RATIO):
            others_moved = 0.0
        kind = ChangeKind.SLOWER if moved > 0 else ChangeKind.FASTER
        others_ratio = None if common is None else 2.0**others_moved
        changes.append(ChangePoint(kind, int(heard[after.start]), 2.0**moved, others_ratio))
    if changes or common is None:
        return changes
    return _find_shared_changes(own[heard], course[heard], heard)


def _find_shared_changes(own: Hours, course: Hours, heard: NDArray[np.intp]) -> list[ChangePoint]:
    """Changes of everybody's level that this homeserver took part in."""
    changes = []
    for before, after in _pair_levels(course, split_at_changes(course)):
        others_moved = _measure_move(course, before, after)
        moved = _measure_move(own, before, after)
        if min(abs(moved), abs(others_moved)) >= np.log2(MIN_RATIO) and moved * others_moved > 0:
            kind = ChangeKind.SLOWER if moved > 0 else ChangeKind.FASTER
            hour = int(heard[after.start])
            changes.append(ChangePoint(kind, hour, 2.0**moved, 2.0**others_moved, is_shared=True))
    return changes


def _measure_move(levels: Hours, before: slice, after: slice) -> float:
    return float(np.median(levels[after]) - np.median(levels[before]))


def _pair_levels(levels: Hours, splits: Sequence[int]) -> list[tuple[slice, slice]]:
    """Of each split the stretch before it and the stretch after it."""
    ends = [0, *splits, len(levels)]
    stretches = [slice(first, after) for first, after in pairwise(ends)]
    return list(pairwise(stretches))


def _find_split(levels: Hours, tests: int) -> int | None:
    """The split that stands out most; None where none is significant among so many `tests`."""
    count = len(levels)
    if count < 2 * MIN_HOURS:
        return None
    sizes = np.arange(MIN_HOURS, count - MIN_HOURS + 1)
    # U of the first k against the rest: how often a later hour is above an earlier one, less how
    # often it is below. Pairs within the first k cancel each other out, so sums of rows will do.
    signs = np.sign(levels[None, :] - levels[:, None]).sum(axis=1)
    above = np.cumsum(signs)[sizes - 1]
    deviation = np.sqrt(sizes * (count - sizes) * (count + 1) / 3)
    best = int(np.argmax(np.abs(above) / deviation))
    split = int(sizes[best])
    statistic = float(abs(above[best]) / deviation[best])
    statistic /= np.sqrt(_inflate_variance(levels, split))
    limit = NormalDist().inv_cdf(1 - SIGNIFICANCE / 2 / tests)
    return split if statistic > limit else None


def _inflate_variance(levels: Hours, split: int) -> float:
    """How much wider than independent hours these make the test, by their autocorrelation.

    (1 + r) / (1 - r), with r of the neighbours' ranks after the two levels are taken out.
    """
    rest = np.concatenate([part - np.median(part) for part in (levels[:split], levels[split:])])
    ranks = np.argsort(np.argsort(rest, kind="stable"), kind="stable").astype(float)
    ranks -= ranks.mean()
    r = float((ranks[1:] * ranks[:-1]).sum() / (ranks**2).sum())
    r = min(max(r, 0.0), 0.9)
    return (1 + r) / (1 - r)


def _take_logarithms(trend: Trend) -> Hours:
    """Levels that a ratio moves by the same amount, whatever they are: base 2."""
    ms = np.array([np.nan if median_ms is None else median_ms for median_ms in trend], np.float64)
    return np.log2(np.maximum(ms, 1.0))
