"""Ranks over the weeks as lines."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from pingboard.web.charts.bumps import DEPTH, MAX_LINES, draw

NAMES = st.lists(st.sampled_from([f"hs{number}.example" for number in range(30)]), unique=True)


@given(st.lists(NAMES.filter(bool), min_size=1, max_size=6))
def test_a_line_goes_through_every_rank_of_its_homeserver(weeks: list[list[str]]) -> None:
    ranked = [
        (f"2026-W{number}", {name: rank for rank, name in enumerate(week, 1)})
        for number, week in enumerate(weeks, 10)
    ]
    drawn = draw(ranked)
    assert drawn is not None
    assert [line.homeserver for line in drawn.lines] == weeks[-1][:MAX_LINES]
    for line in drawn.lines:
        assert list(line.ranks) == [week.get(line.homeserver) for _, week in ranked]
        through = re.findall(r"(?:^|\D)(\d+) (\d+)(?=[MC]|$)", line.path)
        assert [(int(x), int(y)) for x, y in through] == [(dot.x, dot.y) for dot in line.dots]
        assert all(0 < dot.y < drawn.height for dot in line.dots)
        assert all(dot.x < drawn.width for dot in line.dots)


def test_better_is_higher_and_later_is_to_the_right() -> None:
    drawn = draw([("2026-W40", {"a": 2, "b": 1}), ("2026-W41", {"a": 1, "b": 2})])
    assert drawn is not None
    first, second = drawn.lines[0].dots
    assert (first.rank, second.rank) == (2, 1)
    assert first.x < second.x
    assert first.y > second.y
    assert drawn.lines[0].label_y == second.y
    assert not drawn.has_below


def test_a_week_without_a_rank_leaves_a_gap() -> None:
    drawn = draw([("2026-W39", {"a": 1}), ("2026-W40", {"b": 1}), ("2026-W41", {"a": 1})])
    assert drawn is not None
    (line,) = drawn.lines
    assert line.path.count("M") == 2
    assert list(line.ranks) == [1, None, 1]


def test_what_is_far_below_runs_along_the_bottom() -> None:
    drawn = draw([("2026-W40", {"a": DEPTH + 40}), ("2026-W41", {"a": 1})])
    assert drawn is not None
    (line,) = drawn.lines
    assert [dot.is_below for dot in line.dots] == [True, False]
    assert drawn.has_below
    assert line.dots[0].y < drawn.height


def test_no_week_is_no_drawing() -> None:
    assert draw([]) is None
