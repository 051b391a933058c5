"""The matrix as a table of colours."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pingboard.ranking.pairs import Pair
from pingboard.web.charts.heat import LEVELS, draw, find_edges

MEDIANS = st.lists(st.floats(10, 600_000), max_size=100)


@given(MEDIANS)
def test_levels_are_few_and_rise_with_the_latency(medians: list[float]) -> None:
    edges = find_edges(medians)
    assert len(edges) < LEVELS
    assert edges == sorted(set(edges))
    pairs = [Pair("a", str(number), ms, 1) for number, ms in enumerate(medians)]
    heat = draw(pairs, ["a"], [pair.pong_server for pair in pairs])
    cells = sorted(cell for row in heat.rows for cell in row if cell)
    levels = [cell.level for cell in cells]
    assert levels == sorted(levels)
    assert all(0 <= level <= len(edges) for level in levels)


def test_a_level_is_as_many_times_the_one_before_everywhere() -> None:
    edges = find_edges(range(100, 10_000))
    ratios = [high / low for low, high in pairwise(edges)]
    assert max(ratios) / min(ratios) < 1.1
    assert len(edges) == LEVELS - 1


def test_a_pair_without_samples_is_no_cell() -> None:
    pairs = [Pair("a", "x", 100, 3), Pair("b", "y", 900, 1)]
    heat = draw(pairs, ["b", "a"], ["x", "y"])
    assert [[cell and cell.samples for cell in row] for row in heat.rows] == [[None, 1], [3, None]]
    assert (heat.pairs, heat.samples) == (2, 4)


def test_colours_are_of_all_pairs_also_on_a_page_of_some() -> None:
    pairs = [Pair("a", str(number), 100.0 * number, 1) for number in range(1, 60)]
    whole = draw(pairs, ["a"], [pair.pong_server for pair in pairs])
    page = draw(pairs, ["a"], ["59"])
    assert page.edges == whole.edges
    assert page.rows[0][0] == whole.rows[0][-1]
    assert (page.pairs, page.samples) == (59, 59)


def test_pairs_that_are_all_alike_have_one_colour() -> None:
    pairs = [Pair("a", name, 400, 1) for name in "xyz"]
    heat = draw(pairs, ["a"], list("xyz"))
    assert len({cell.level for cell in heat.rows[0] if cell}) == 1
