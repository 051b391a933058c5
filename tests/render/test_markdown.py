"""The Markdown table, byte for byte."""

from __future__ import annotations

import re
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pingboard.model import Standing
from pingboard.ranking.rank import rank
from pingboard.render.markdown import shortest_decimal, table
from tests.twim import TABLE_2020_04_09


def spread_around(median: float, rng: np.random.Generator) -> list[int]:
    """Samples of that median: the middle, a pair of it where it ends in .5, and a long tail."""
    middle = sorted({int(median), int(median + 0.5)})
    faster = rng.integers(10, middle[0] + 1, 40).tolist()
    slower = (middle[-1] + rng.lognormal(6, 1, 40).astype(np.int64)).tolist()
    return [*faster, *middle, *slower]


def standing(rank: int, homeserver: str, median_ms: float) -> Standing:
    return Standing(rank, homeserver, median_ms, 0.0, 0.0, 0.0, 0.0, 0.0, 1)


def test_samples_of_the_medians_of_twim_2020_04_09_print_its_table() -> None:
    rng = np.random.default_rng(20200409)
    rows = [line.strip("|").split("|") for line in TABLE_2020_04_09.splitlines()[2:]]
    rng.shuffle(rows)
    numbers = [spread_around(float(median), rng) for _, _, median in rows]
    servers = np.repeat(np.arange(len(rows)), [len(each) for each in numbers]).astype(np.int32)
    ms = np.array([*chain.from_iterable(numbers)], np.int32)
    mixed = rng.permutation(len(ms))
    standings = rank([(servers[mixed], ms[mixed])], [name for _, name, _ in rows])
    assert table(standings).encode() == TABLE_2020_04_09.encode()


def test_without_standings_there_is_the_head_alone() -> None:
    assert table([]) == "|Rank|Hostname|Median MS|\n|:---:|:---:|:---:|\n"


def test_a_port_and_an_address_are_part_of_the_hostname() -> None:
    rows = table([standing(1, "pc.koesters.xyz:6167", 31.0), standing(2, "[::1]:8448", 32.5)])
    assert rows.endswith("|1|pc.koesters.xyz:6167|31|\n|2|[::1]:8448|32.5|\n")


def test_equal_medians_keep_their_consecutive_ranks() -> None:
    rows = table([standing(1, "a.example", 50.0), standing(2, "b.example", 50.0)])
    assert rows.endswith("|1|a.example|50|\n|2|b.example|50|\n")


def test_a_pipe_does_not_break_the_row() -> None:
    assert table([standing(1, "a|b", 50.0)]).endswith("\n|1|a\\|b|50|\n")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"),
        (403, "403"),
        (469.0, "469"),
        (512.5, "512.5"),
        (1e6, "1000000"),
        (156709.5, "156709.5"),
        (236505.0, "236505"),
        (-3.5, "-3.5"),
        (0.1, "0.1"),
        (1e22, "10000000000000000000000"),
        (1.5e-7, "0.00000015"),
    ],
)
def test_a_number_prints_as_its_shortest_decimal(number: float, text: str) -> None:
    assert shortest_decimal(number) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_number_reads_back_the_same_and_has_no_exponent(number: float) -> None:
    text = shortest_decimal(number)
    assert float(text) == number
    assert "e" not in text.lower()
    assert not text.endswith(".0")


@given(st.integers(-(2**32), 2**32))
def test_a_median_is_an_integer_or_ends_in_a_half(doubled: int) -> None:
    whole, half = divmod(abs(doubled), 2)
    sign = "-" if doubled < 0 else ""
    assert shortest_decimal(doubled / 2) == f"{sign}{whole}{'.5' if half else ''}"


server_names = st.from_regex(
    r"[a-z0-9.-]{1,40}(:[0-9]{1,4})?|\[[0-9a-f:]{2,20}\]:8448", fullmatch=True
)
medians = st.integers(-600_000, 1_200_000).map(lambda doubled: doubled / 2)


@given(st.lists(st.tuples(server_names, medians), max_size=30))
def test_every_table_parses_back_to_the_same_ranks_names_and_numbers(
    rows: list[tuple[str, float]],
) -> None:
    standings = [
        Standing(rank, name, median, median, median, median, median, median, 1)
        for rank, (name, median) in enumerate(rows, 1)
    ]
    lines = table(standings).splitlines()
    assert lines[:2] == ["|Rank|Hostname|Median MS|", "|:---:|:---:|:---:|"]
    parsed = [line.strip("|").split("|") for line in lines[2:]]
    assert [(int(rank), name, float(median)) for rank, name, median in parsed] == [
        (standing.rank, standing.homeserver, standing.median_ms) for standing in standings
    ]
    assert not any(re.search(r"e|\.0$", median) for _, _, median in parsed)
