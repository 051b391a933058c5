"""Which samples each board takes, and whom it ranks by them."""

from __future__ import annotations

import numpy as np
import pytest

from pingboard.model import BoardName
from pingboard.ranking.samples import Samples, board_columns, standings

NAMES = ["one.example", "two.example", "three.example"]


def collect(*rows: tuple[int, int, int, int]) -> Samples:
    """Samples of (ping server, pong server, one-way, round trip) each."""
    ping, pong, one_way, round_trip = np.array(rows, np.int32).reshape(-1, 4).T
    return Samples(ping, pong, one_way, round_trip, NAMES)


def taken(samples: Samples, board: BoardName) -> list[tuple[int, int]]:
    servers, ms = board_columns(samples, board)
    assert servers.dtype == ms.dtype == np.int32
    return list(zip(servers.tolist(), ms.tolist(), strict=True))


def test_response_takes_round_trips_for_the_pong_server() -> None:
    samples = collect((0, 1, 100, 250), (0, 2, 110, -1), (0, 1, -5, 0))
    assert taken(samples, BoardName.RESPONSE) == [(1, 250), (1, 0)]


def test_delivery_takes_one_way_for_the_ping_server() -> None:
    assert taken(collect((0, 1, 100, 250), (2, 1, 110, -1)), BoardName.DELIVERY) == [
        (0, 100),
        (2, 110),
    ]


def test_reception_takes_one_way_for_the_pong_server() -> None:
    assert taken(collect((0, 1, 100, 250), (2, 1, 110, -1)), BoardName.RECEPTION) == [
        (1, 100),
        (1, 110),
    ]


@pytest.mark.parametrize("board", [BoardName.DELIVERY, BoardName.RECEPTION])
def test_one_way_counts_from_10_ms_to_10_minutes_both_inclusive(board: BoardName) -> None:
    claims = [-(2**31), -1, 0, 9, 10, 11, 599_999, 600_000, 600_001, 2**31 - 1]
    samples = collect(*((1, 1, claim, -1) for claim in claims))
    assert [ms for _, ms in taken(samples, board)] == [10, 11, 599_999, 600_000]


@pytest.mark.parametrize("board", BoardName)
def test_standings_count_all_samples_of_the_board_also_those_left_out(board: BoardName) -> None:
    samples = collect(
        *[(0, 0, 20, 20), (0, 0, 30, 30), (1, 1, 10, 10)],
        *[(2, 2, 40, 40), (2, 2, 40, 40), (0, 0, 9, -1)],
    )
    ranked, count = standings(samples, board, min_samples=2, limit=1)
    assert [(each.rank, each.homeserver, each.median_ms) for each in ranked] == [
        (1, "one.example", 25.0)
    ]
    assert count == 5


@pytest.mark.parametrize("board", BoardName)
def test_without_samples_there_are_no_standings(board: BoardName) -> None:
    assert standings(collect(), board) == ([], 0)
    assert standings(collect((0, 1, 5, -1)), board) == ([], 0)


def test_columns_that_are_fields_of_one_table_rank_alike() -> None:
    """The store hands over such columns: not contiguous in memory."""
    table = np.array(
        [(0, 1, 213, 300), (1, 0, 250, 310)],
        [("ping", np.int32), ("pong", np.int32), ("one_way", np.int32), ("round_trip", np.int32)],
    )
    samples = Samples(table["ping"], table["pong"], table["one_way"], table["round_trip"], NAMES)
    ranked, _ = standings(samples, BoardName.DELIVERY)
    assert [(each.homeserver, each.median_ms) for each in ranked] == [
        ("one.example", 213.0),
        ("two.example", 250.0),
    ]
