"""Which samples each board takes, and whom it ranks by them."""

from __future__ import annotations

import numpy as np
import pytest

from pingboard.model import BoardName, Window, from_ts
from pingboard.ranking.boards import rank_board, select_pairs, select_samples, select_server
from pingboard.sample_blocks import HOUR_MS, Block
from tests.blocks import SAMPLE, build_block

NAMES = ["one.example", "two.example", "three.example"]
HOUR = Window(from_ts(0), from_ts(HOUR_MS))


def collect(*rows: tuple[int, int, int, int], seen_ts: int = 0) -> list[Block]:
    """A block of samples of (ping server, pong server, one-way, round trip) each."""
    samples = np.zeros(len(rows), SAMPLE)
    fields = ["ping_server", "pong_server", "one_way_ms", "round_trip_ms"]
    for field, column in zip(fields, np.array(rows, np.int32).reshape(-1, 4).T, strict=True):
        samples[field] = column
    samples["is_ours"] = samples["round_trip_ms"] >= 0
    samples["seen_ts"] = seen_ts
    return [build_block(samples)]


def list_samples(
    blocks: list[Block], board: BoardName, window: Window = HOUR
) -> list[tuple[int, int]]:
    return sorted(
        sample
        for servers, ms, _ in select_samples(blocks, board, window)
        for sample in zip(servers.tolist(), ms.tolist(), strict=True)
    )


def test_response_takes_round_trips_for_the_pong_server() -> None:
    blocks = collect((0, 1, 100, 250), (0, 2, 110, -1), (0, 1, -5, 0))
    assert list_samples(blocks, BoardName.RESPONSE) == [(1, 0), (1, 250)]


def test_delivery_takes_one_way_for_the_ping_server() -> None:
    assert list_samples(collect((0, 1, 100, 250), (2, 1, 110, -1)), BoardName.DELIVERY) == [
        (0, 100),
        (2, 110),
    ]


def test_reception_takes_one_way_for_the_pong_server() -> None:
    assert list_samples(collect((0, 1, 100, 250), (2, 1, 110, -1)), BoardName.RECEPTION) == [
        (1, 100),
        (1, 110),
    ]


def test_a_pair_is_of_ping_and_pong_server() -> None:
    [columns] = select_pairs(collect((0, 1, 100, 250), (2, 1, 9, -1)), HOUR)
    assert [column.tolist() for column in columns] == [[0], [1], [100]]


@pytest.mark.parametrize(
    ("board", "server", "expected"),
    [
        (BoardName.RESPONSE, 1, [240]),
        (BoardName.RECEPTION, 1, [110, 120]),
        (BoardName.DELIVERY, 0, [110]),
        (BoardName.DELIVERY, 1, []),
    ],
)
def test_the_samples_of_one_server_are_those_that_the_board_takes(
    board: BoardName, server: int, expected: list[int]
) -> None:
    rows = [(0, 1, 110, -1), (2, 1, 120, 240), (0, 1, 5, -1), (0, 1, 600_001, -1)]
    blocks = [*collect(*rows[:2], seen_ts=7), *collect(*rows[2:])]
    seen_ts, ms = select_server(blocks, board, HOUR, server)
    assert ms.tolist() == expected
    assert seen_ts.tolist() == [7] * len(expected)
    before = Window(from_ts(8), from_ts(9))
    assert not len(select_server(blocks, board, before, server)[1])


@pytest.mark.parametrize("board", [BoardName.DELIVERY, BoardName.RECEPTION])
def test_one_way_counts_from_10_ms_to_10_minutes_both_inclusive(board: BoardName) -> None:
    claims = [-(2**31), -1, 0, 9, 10, 11, 599_999, 600_000, 600_001, 2**31 - 1]
    blocks = collect(*((1, 1, claim, -1) for claim in claims))
    assert [ms for _, ms in list_samples(blocks, board)] == [10, 11, 599_999, 600_000]


@pytest.mark.parametrize("board", BoardName)
def test_a_window_is_half_open(board: BoardName) -> None:
    blocks = [collect((1, 1, ts, ts), seen_ts=ts)[0] for ts in (19, 20, 29, 30)]
    window = Window(from_ts(20), from_ts(30))
    assert [ms for _, ms in list_samples(blocks, board, window)] == [20, 29]


@pytest.mark.parametrize("board", BoardName)
def test_standings_count_all_samples_of_the_board_also_those_left_out(board: BoardName) -> None:
    blocks = collect(
        *[(0, 0, 20, 20), (0, 0, 30, 30), (1, 1, 10, 10)],
        *[(2, 2, 40, 40), (2, 2, 40, 40), (0, 0, 9, -1)],
    )
    ranked, count = rank_board(blocks, NAMES, board, HOUR, now_ts=HOUR_MS, min_samples=2, limit=1)
    assert [(each.rank, each.homeserver, each.median_ms) for each in ranked] == [
        (1, "one.example", 25.0)
    ]
    assert count == 5


@pytest.mark.parametrize("board", BoardName)
def test_without_samples_there_are_no_standings(board: BoardName) -> None:
    for blocks in ([], collect(), collect((0, 1, 5, -1))):
        assert rank_board(blocks, NAMES, board, HOUR, now_ts=HOUR_MS) == ([], 0)
