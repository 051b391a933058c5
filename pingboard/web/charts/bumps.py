"""Ranks over the weeks as lines that cross: a bump chart of those who are first now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import NamedTuple

MAX_LINES = 10
DEPTH = 12
"""The lowest rank that has a place of its own; what is below lies one place lower."""

STEP_X, STEP_Y = 72, 30
LEFT, TOP, RIGHT = 20, 46, 236
"""Pixels: around the chart; the names stand at its right."""

WeekRanks = tuple[str, Mapping[str, int]]
"""An edition's name, and the rank of each homeserver in it."""


class Dot(NamedTuple):
    x: int
    y: int
    rank: int
    is_below: bool
    """too low to have a place of its own"""


@dataclass(frozen=True, slots=True)
class Line:
    """A homeserver's ranks; it has no dot in a week in which it was not ranked."""

    homeserver: str
    path: str
    dots: Sequence[Dot]
    label_y: int
    ranks: Sequence[int | None]
    """by week, the oldest first"""


@dataclass(frozen=True, slots=True)
class Bumps:
    """A drawing of so many pixels."""

    width: int
    height: int
    weeks: Sequence[tuple[int, str]]
    """where each is, and its name"""
    lines: Sequence[Line]
    """the first of the last week first"""
    depth: int
    has_below: bool
    """some rank is below `depth`"""


def draw(weeks: Sequence[WeekRanks]) -> Bumps | None:
    """The ranks of the last week's first, the oldest week first; None without a week."""
    if not weeks:
        return None
    last = weeks[-1][1]
    shown = sorted(last, key=lambda name: last[name])[:MAX_LINES]
    lines = [_trace(name, weeks) for name in shown]
    lowest = max((dot.y for line in lines for dot in line.dots), default=TOP)
    end = LEFT + STEP_X * (len(weeks) - 1)
    return Bumps(
        width=end + RIGHT,
        height=lowest + STEP_Y,
        weeks=[(LEFT + STEP_X * number, name) for number, (name, _) in enumerate(weeks)],
        lines=lines,
        depth=DEPTH,
        has_below=any(dot.is_below for line in lines for dot in line.dots),
    )


def _trace(name: str, weeks: Sequence[WeekRanks]) -> Line:
    ranks = [week.get(name) for _, week in weeks]
    dots = [
        rank and Dot(LEFT + STEP_X * number, _y(rank), rank, rank > DEPTH)
        for number, rank in enumerate(ranks)
    ]
    runs = [list(run) for is_there, run in groupby(dots, key=bool) if is_there]
    known = [dot for dot in dots if dot]
    path = "".join(_curve([dot for dot in run if dot]) for run in runs)
    return Line(name, path, known, known[-1].y, ranks)


def _y(rank: int) -> int:
    return TOP + STEP_Y * (min(rank, DEPTH + 1) - 1)


def _curve(run: Sequence[Dot]) -> str:
    """Level at each dot, so that a rank is seen to be held before it is lost."""
    parts = [f"M{run[0].x} {run[0].y}"]
    for before, after in pairwise(run):
        middle = (before.x + after.x) // 2
        parts.append(f"C{middle} {before.y} {middle} {after.y} {after.x} {after.y}")
    return "".join(parts)
