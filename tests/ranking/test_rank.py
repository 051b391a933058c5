"""The rank kernel against the method in plain Python, to the last digit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pingboard.model import Standing
from pingboard.ranking.rank import rank
from pingboard.sample_blocks import narrow
from tests.plain_ranking import rank_plainly

Rows = list[tuple[int, int]]
"""(server code, ms) a sample"""

NAMES = ["delta.example", "alpha.example", "charlie.example:8448", "bravo.example", "[::1]"]
INT32 = np.iinfo(np.int32)

codes = st.integers(0, len(NAMES) - 1)
usual_ms = st.integers(0, 1000) | st.integers(0, 2**20 - 1)
any_ms = st.integers(0, 1000) | st.integers(INT32.min, INT32.max)
usual_rows = st.lists(st.tuples(codes, usual_ms), max_size=60)
any_rows = st.lists(st.tuples(codes, any_ms), max_size=60)


def rank_rows(
    rows: Rows,
    names: Sequence[str] = NAMES,
    *,
    min_samples: int = 1,
    limit: int | None = None,
) -> list[Standing]:
    columns = np.array(rows, np.int32).reshape(-1, 2)
    return rank([(columns[:, 0], columns[:, 1])], names, min_samples=min_samples, limit=limit)


def plainly(rows: Rows, names: Sequence[str] = NAMES) -> list[Standing]:
    return rank_plainly((names[server], ms) for server, ms in rows)


def test_an_even_count_has_the_mean_of_the_middle_two_as_its_median() -> None:
    [standing] = rank_rows([(0, 900), (0, 513), (0, 512), (0, 3)])
    assert standing.median_ms == 512.5
    assert standing.mean_ms == 482.0


def test_one_sample_is_its_own_median_mean_and_percentiles() -> None:
    [standing] = rank_rows([(2, 213)])
    assert standing[:9] == (1, "charlie.example:8448", *[213.0] * 6, 1)
    assert standing.ci95_ms is None


def test_equal_medians_rank_by_more_samples_and_then_by_name_and_share_no_rank() -> None:
    standings = rank_rows([(0, 50), (1, 50), (2, 50), (3, 49), (3, 50), (3, 51), (4, 49)])
    assert [(each.rank, each.homeserver) for each in standings] == [
        (1, "[::1]"),
        (2, "bravo.example"),
        (3, "alpha.example"),
        (4, "charlie.example:8448"),
        (5, "delta.example"),
    ]


def test_a_negative_latency_ranks_before_zero() -> None:
    standings = rank_rows([(0, 0), (1, -1), (2, INT32.min), (3, INT32.max)])
    assert [each.median_ms for each in standings] == [INT32.min, -1.0, 0.0, INT32.max]


def test_six_samples_are_the_fewest_that_have_a_95_percent_interval() -> None:
    [five] = rank_rows([(0, ms) for ms in range(1, 6)])
    [six] = rank_rows([(0, ms) for ms in range(1, 7)])
    assert (five.ci95_ms, six.ci95_ms) == (None, (1.0, 6.0))


def test_neighbours_are_tied_where_their_intervals_overlap_and_only_then() -> None:
    rows = [(0, ms) for ms in range(10, 16)] + [(1, ms) for ms in range(15, 21)]
    rows += [(2, ms) for ms in range(21, 27)] + [(3, 26)]
    assert [each.tied_with_previous for each in rank_rows(rows)] == [False, True, False, False]


@given(any_rows, st.integers(0, 20), st.none() | st.integers(0, 6))
def test_min_samples_leaves_out_before_ranks_are_given_and_limit_cuts_afterwards(
    rows: Rows, min_samples: int, limit: int | None
) -> None:
    left = [standing for standing in plainly(rows) if standing.samples >= min_samples]
    expected = [standing.homeserver for standing in left][:limit]
    standings = rank_rows(rows, min_samples=min_samples, limit=limit)
    assert [standing.homeserver for standing in standings] == expected
    assert [standing.rank for standing in standings] == list(range(1, len(expected) + 1))


def test_without_samples_there_are_no_standings() -> None:
    assert rank_rows([]) == []
    assert rank_rows([], []) == []


@given(usual_rows | any_rows)
def test_any_samples_rank_as_the_method_says(rows: Rows) -> None:
    assert rank_rows(rows) == plainly(rows)


@given(usual_rows, st.sampled_from([0, 252, 65_533]))
def test_columns_of_any_width_rank_as_plain_python_does(rows: Rows, unused: int) -> None:
    servers, ms = np.array(rows, np.int64).reshape(-1, 2).T
    names = ["unused.example"] * unused + NAMES
    assert rank([(narrow(servers + unused), narrow(ms))], names) == plainly(rows)


@given(usual_rows, st.permutations(range(len(NAMES))))
def test_the_numbering_of_servers_never_matters(rows: Rows, numbering: list[int]) -> None:
    names = [NAMES[numbering.index(code)] for code in range(len(NAMES))]
    renumbered = [(numbering[server], ms) for server, ms in rows]
    assert rank_rows(renumbered, names) == rank_rows(rows)


@given(st.lists(any_ms, min_size=1, max_size=60))
def test_percentiles_are_those_of_numpy(numbers: list[int]) -> None:
    [standing] = rank_rows([(0, ms) for ms in numbers])
    ours = [standing.p5_ms, standing.p25_ms, standing.median_ms, standing.p75_ms, standing.p95_ms]
    # numpy rounds the position to a float before it interpolates, and that again in floats: of up
    # to 60 numbers it is off by some 1e-14 of their size. Ours is rounded once, so not compared
    # exactly here but in the tests above.
    tolerance = 1e-13 * max(map(abs, numbers))
    assert ours == pytest.approx(
        np.percentile(numbers, [5, 25, 50, 75, 95]).tolist(), rel=0, abs=tolerance
    )


@pytest.mark.parametrize("servers", [4_096, 4_097, 5_000])
def test_thousands_of_servers_rank_as_plain_python_does(servers: int) -> None:
    rng = np.random.default_rng(servers)
    drawn = rng.integers(0, servers, 20_000).tolist()
    every_server = [*range(servers), *drawn]
    rows = list(zip(every_server, rng.integers(0, 300, len(every_server)).tolist(), strict=True))
    names = [f"{server:x}.example" for server in rng.permutation(servers).tolist()]
    assert rank_rows(rows, names) == plainly(rows, names)


@pytest.mark.parametrize("ms", [2**20 - 1, INT32.max, INT32.min])
def test_sums_beyond_32_bits_are_exact(ms: int) -> None:
    # One server's run starts inside a chunk of the sum and ends inside another.
    rows = [(0, 7)] * 1_000 + [(1, ms)] * 10_000 + [(1, 1)] + [(2, ms)] * 5_000
    assert rank_rows(rows) == plainly(rows)


def test_the_columns_are_left_as_they_were() -> None:
    servers = np.array([1, 0, 1], np.int32)
    ms = np.array([30, 20, 10], np.int32)
    rank([(servers, ms)], NAMES)
    assert servers.tolist() == [1, 0, 1]
    assert ms.tolist() == [30, 20, 10]


@pytest.mark.parametrize("server", [-1, len(NAMES), INT32.max, INT32.min])
def test_a_server_without_a_name_is_an_error(server: int) -> None:
    with pytest.raises(IndexError, match=f"server is {server} of 5 names"):
        rank_rows([(0, 10), (server, 10)])


def test_a_hundred_thousand_samples_rank_as_plain_python_does() -> None:
    rng = np.random.default_rng(7)
    servers = rng.integers(0, 300, 100_000)
    rows = list(zip(servers.tolist(), rng.integers(10, 9_000, len(servers)).tolist(), strict=True))
    names = [f"{server:x}.example" for server in rng.permutation(300).tolist()]
    assert rank_rows(rows, names) == plainly(rows, names)
