"""The scale that all rows of a board share."""

from __future__ import annotations

from dataclasses import astuple

from hypothesis import given
from hypothesis import strategies as st

from pingboard.model import Standing
from pingboard.web.bars import draw_bars

_SORTED_MS = st.lists(st.floats(0, 600_000), min_size=5, max_size=5).map(sorted)


def _make_standing(ms: list[float]) -> Standing:
    p5, p25, median, p75, p95 = ms
    return Standing(1, "one.example", median, median, p5, p25, p75, p95, 1)


@given(st.lists(_SORTED_MS, max_size=5))
def test_a_bar_keeps_the_order_of_its_numbers_and_lies_on_the_scale(
    rows: list[list[float]],
) -> None:
    for bar in draw_bars([_make_standing(row) for row in rows]):
        places = list(astuple(bar))
        assert places == sorted(places)
        assert 0 <= places[0] <= places[-1] <= 100


def test_the_fastest_begins_at_the_left_and_the_slowest_ends_at_the_right() -> None:
    fast, slow = draw_bars([_make_standing([1, 2, 3, 4, 5]), _make_standing([10, 20, 30, 40, 100])])
    assert fast.p5 == 0
    assert slow.p5 == 50
    assert slow.p95 == 100


def test_equal_numbers_have_a_bar_without_length() -> None:
    (bar,) = draw_bars([_make_standing([400.0] * 5)])
    assert astuple(bar) == (0, 0, 0, 0, 0)
