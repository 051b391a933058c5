"""Medians over time, as the plain reference has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from statistics import median

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pingboard.model import BoardName, Window, to_ts
from pingboard.ranking.trends import find_trends
from tests.blocks import SAMPLE, build_block

END = datetime(2026, 10, 12, tzinfo=UTC)
WINDOW = Window(END - timedelta(hours=1), END)
PARTS = 4
NAMES = {2: "two.example", 5: "five.example"}

_ROWS = st.lists(
    st.tuples(st.sampled_from([0, 2, 5]), st.integers(0, 3_600_000 - 1), st.integers(10, 600_000)),
    max_size=60,
)


@given(_ROWS, st.sampled_from(BoardName))
def test_each_part_has_the_median_of_its_samples(
    rows: list[tuple[int, int, int]], board: BoardName
) -> None:
    start_ts = to_ts(WINDOW.start)
    samples = np.array(
        [
            (number, start_ts + at, server, server, ms, ms, 0, True)
            for number, (server, at, ms) in enumerate(rows)
        ],
        SAMPLE,
    )
    blocks = [build_block(samples)]
    expected = {}
    for number, name in NAMES.items():
        parts = [
            [ms for server, at, ms in rows if server == number and at * PARTS // 3_600_000 == part]
            for part in range(PARTS)
        ]
        if any(parts):
            expected[name] = [float(median(part)) if part else None for part in parts]
    assert find_trends(blocks, board, WINDOW, NAMES, PARTS) == expected


def test_an_empty_room_has_no_trends() -> None:
    assert find_trends([], BoardName.DELIVERY, WINDOW, NAMES, PARTS) == {}
    assert find_trends([], BoardName.RESPONSE, WINDOW, {}, PARTS) == {}
