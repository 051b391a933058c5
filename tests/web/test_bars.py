"""The scale that all rows of a board share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pingboard.model import Standing
from pingboard.web.pages.bars import MOST_TICKS, Bar, Scale

_SORTED_MS = st.lists(st.floats(0, 600_000), min_size=5, max_size=5).map(sorted)


def _make_standing(ms: list[float], *, is_sure: bool = True) -> Standing:
    p5, low, median, high, p95 = ms
    ci95 = (low, high) if is_sure else None
    return Standing(1, "one.example", median, median, p5, low, high, p95, 1, ci95)


@given(st.lists(_SORTED_MS, max_size=5))
def test_a_bar_keeps_the_order_of_its_numbers_and_lies_on_the_scale(
    rows: list[list[float]],
) -> None:
    standings = [_make_standing(row) for row in rows]
    scale = Scale.of(standings)
    for bar in map(scale.draw, standings):
        assert bar.low is not None
        assert bar.interval is not None
        places = [bar.p5, bar.low, bar.median, bar.low + bar.interval, bar.p5 + bar.spread]
        assert places == pytest.approx(sorted(places))
        assert 0 <= min(places) <= max(places) <= 100 + 1e-9


@given(st.lists(_SORTED_MS, max_size=5))
def test_a_scale_has_a_few_ticks_inside_of_it_in_order(rows: list[list[float]]) -> None:
    ticks = Scale.of([_make_standing(row) for row in rows]).ticks()
    assert len(ticks) <= MOST_TICKS
    assert ticks == sorted(ticks)
    assert all(0 <= place < 94 for _, place in ticks)


def test_the_fastest_begins_at_the_left_and_the_slowest_ends_at_the_right() -> None:
    standings = [_make_standing([1, 2, 3, 4, 5]), _make_standing([10, 20, 30, 40, 100])]
    fast, slow = map(Scale.of(standings).draw, standings)
    assert fast.p5 == 0
    assert (slow.p5, slow.spread) == (50, 50)


def test_equal_numbers_have_a_bar_without_length_and_few_samples_no_interval() -> None:
    standing = _make_standing([400.0] * 5, is_sure=False)
    assert Scale.of([standing]).draw(standing) == Bar(0, 0, None, None, 0)


def test_ticks_are_round() -> None:
    ticks = Scale.of([_make_standing([150, 200, 300, 400, 1200])]).ticks()
    assert [ms for ms, _ in ticks] == [200, 500, 1000]
