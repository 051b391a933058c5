"""The ping x pong matrix against the method in plain Python, to the last digit."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pingboard.ranking.pairs import Pair, pair
from pingboard.sample_blocks import narrow

NAMES = ["delta.example", "alpha.example", "charlie.example:8448", "bravo.example", "[::1]"]
INT32 = np.iinfo(np.int32)

Rows = list[tuple[int, int, int]]
"""(ping server, pong server, ms) a sample"""

codes = st.integers(0, len(NAMES) - 1)
latencies = st.integers(10, 600_000) | st.integers(INT32.min, INT32.max)
rows = st.lists(st.tuples(codes, codes, latencies), max_size=80)


def pair_rows(rows: Rows, names: list[str] = NAMES) -> list[Pair]:
    columns = np.array(rows, np.int32).reshape(-1, 3)
    return list(pair([(columns[:, 0], columns[:, 1], columns[:, 2])], names))


def pair_plainly(rows: Rows) -> list[Pair]:
    samples = defaultdict(list)
    for ping, pong, ms in rows:
        samples[NAMES[ping], NAMES[pong]].append(ms)
    return [
        Pair(ping, pong, float(statistics.median(ms)), len(ms))
        for (ping, pong), ms in sorted(samples.items())
    ]


@given(rows)
def test_pairs_are_those_of_the_plain_computation(rows: Rows) -> None:
    assert pair_rows(rows) == pair_plainly(rows)


@given(rows, st.sampled_from([0, 252, 65_533]))
def test_columns_of_any_width_are_paired_alike(rows: Rows, unused: int) -> None:
    columns = np.array(rows, np.int64).reshape(-1, 3).T
    ping, pong = (narrow(column + unused) for column in columns[:2])
    names = ["unused.example"] * unused + NAMES
    assert list(pair([(ping, pong, narrow(columns[2]))], names)) == pair_plainly(rows)


@given(st.lists(st.tuples(codes, codes, st.integers(0, 6000)), max_size=80), st.integers(0, 900))
def test_latencies_that_do_not_fit_into_four_bytes_are_exact_all_the_same(
    rows: Rows, unused: int
) -> None:
    """The more servers, the fewer bits are left for a latency."""
    names = ["unused.example"] * unused + NAMES
    shifted = [(ping + unused, pong + unused, ms) for ping, pong, ms in rows]
    assert pair_rows(shifted, names) == pair_plainly(rows)


@given(rows, st.none() | st.sampled_from(NAMES), st.none() | st.sampled_from(NAMES))
def test_pairs_are_selected_and_placed_by_name(
    rows: Rows, ping_server: str | None, pong_server: str | None
) -> None:
    columns = np.array(rows, np.int32).reshape(-1, 3)
    pairs = pair([(columns[:, 0], columns[:, 1], columns[:, 2])], NAMES)
    listed = pair_plainly(rows)
    selected = pairs.select(ping_server=ping_server, pong_server=pong_server, min_samples=2)
    assert list(selected) == [
        pair
        for pair in listed
        if pair.samples >= 2
        and ping_server in (None, pair.ping_server)
        and pong_server in (None, pair.pong_server)
    ]
    name = (ping_server or "x", pong_server or "x")
    place = pairs.place_after(*name)
    assert [pair[:2] <= name for pair in listed] == [True] * place + [False] * (len(listed) - place)
    assert list(pairs.cut(1, 3)) == listed[1:3]


@given(rows)
def test_samples_are_counted_by_either_server(rows: Rows) -> None:
    columns = np.array(rows, np.int32).reshape(-1, 3)
    counted = pair([(columns[:, 0], columns[:, 1], columns[:, 2])], NAMES).count_samples()
    for side in range(2):
        assert counted[side] == Counter(NAMES[row[side]] for row in rows)


def test_many_names_without_samples_do_no_harm() -> None:
    names = [f"hs{number}.example" for number in range(100_000)]
    last = len(names) - 1
    assert pair_rows([(last, 0, 20), (last, last, 30), (last, 0, 21)], names) == [
        Pair("hs99999.example", "hs0.example", 20.5, 2),
        Pair("hs99999.example", "hs99999.example", 30, 1),
    ]


def test_more_servers_than_two_bytes_can_count_are_paired_right() -> None:
    count = 70_000
    names = [f"hs{number:05}.example" for number in range(count)]
    servers = np.arange(count)
    ping = np.concatenate([servers, servers]).astype(np.int32)
    pong = np.concatenate([servers[::-1], servers[::-1]]).astype(np.int32)
    ms = np.concatenate([servers, servers + 2]).astype(np.int32)
    pairs = pair([(ping, pong, ms)], names)
    assert pairs.ping.tolist() == servers.tolist()
    assert pairs.pong.tolist() == servers[::-1].tolist()
    assert pairs.median_ms.tolist() == (servers + 1.0).tolist()
    assert set(pairs.samples.tolist()) == {2}


def test_the_columns_are_not_changed() -> None:
    columns = np.array([[1, 2, 500], [1, 2, 400]], np.int32)
    before = columns.copy()
    pair([(columns[:, 0], columns[:, 1], columns[:, 2])], NAMES)
    assert (columns == before).all()
