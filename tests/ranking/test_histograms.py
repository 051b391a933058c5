"""Counted latencies: the same standings as of the samples themselves."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pingboard.columns.counts import NOTHING, Counted, add_up, split
from pingboard.ranking.histograms import rank_counted
from pingboard.ranking.standings import rank

samples = st.tuples(
    st.integers(0, 4), st.integers(0, 30) | st.integers(8000, 8400) | st.integers(0, 2**31 - 1)
)
NAMES = ["d", "a", "c", "b", "e"]


def columns(rows: list[tuple[int, int]]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    both = np.array(rows, np.int32).reshape(-1, 2)
    return both[:, 0].copy(), both[:, 1].copy()


@given(st.lists(st.lists(samples, max_size=40), max_size=4), st.lists(samples, max_size=40))
def test_parts_add_up_to_the_board_of_all_samples(
    months: list[list[tuple[int, int]]], rest: list[tuple[int, int]]
) -> None:
    parts = [add_up([], *columns(month)) for month in months]
    counted = add_up(parts, *columns(rest))
    everything = [row for month in months for row in month] + rest
    expected = rank(*columns(everything), NAMES)
    assert rank_counted(counted, NAMES) == (expected, len(everything))
    assert rank_counted(counted, NAMES, min_samples=3, limit=2)[0] == rank(
        *columns(everything), NAMES, min_samples=3, limit=2
    )
    assert (np.diff(counted.keys) > 0).all()


def test_many_servers_leave_less_room_for_each_and_change_nothing() -> None:
    rng = np.random.default_rng(1)
    servers = rng.integers(0, 20_000, 3000).astype(np.int32)
    ms = rng.integers(0, 12_000, 3000).astype(np.int32)
    names = [f"{number}.example" for number in range(20_000)]
    assert rank_counted(add_up([], servers, ms), names) == (rank(servers, ms, names), 3000)


def test_the_dense_part_and_the_rest_are_the_whole() -> None:
    rng = np.random.default_rng(1)
    often = np.repeat(np.arange(0, 8000, 2), rng.integers(1, 400, 4000))
    ms = np.concatenate([often, rng.integers(0, 20_000, 500)]).astype(np.int32)
    servers = np.concatenate([np.full(len(often), 2), rng.integers(0, 5, 500)]).astype(np.int32)
    rest, dense = split(add_up([], servers, ms))
    assert dense.servers.tolist() == [2]
    assert dense.cells.max() == 255
    nothing = columns([])
    assert rank_counted(add_up([rest], *nothing, [dense]), NAMES)[0] == rank(servers, ms, NAMES)
    many = Counted(np.array([30_000 << 32]), np.array([1]))
    names = [*NAMES, *[""] * 30_000]
    counted = add_up([rest, many], *nothing, [dense])
    ranked = [row for row in rank_counted(counted, names)[0] if row.homeserver]
    assert [row[1:9] for row in ranked] == [row[1:9] for row in rank(servers, ms, NAMES)]


def test_nothing_counted_is_an_empty_board() -> None:
    assert rank_counted(add_up([NOTHING], *columns([])), []) == ([], 0)
    assert rank_counted(Counted(*NOTHING), []) == ([], 0)
