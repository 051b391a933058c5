"""Clock offsets against the method in plain Python."""

from __future__ import annotations

from collections import defaultdict
from statistics import median

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pingboard.ranking.clocks import Clock, estimate_clocks
from pingboard.sample_blocks import NO_OFFSET

Rows = list[tuple[int, int, int]]
"""(server, round trip or -1, doubled offset) an answer"""

offsets = st.just(int(NO_OFFSET)) | st.integers(-(2**44), 2**44)
answers = st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 9), offsets), max_size=40)


def estimate(rows: Rows) -> dict[int, Clock]:
    table = np.array(rows, np.int64).reshape(-1, 3)
    return estimate_clocks(
        table[:, 0].astype(np.int32), table[:, 1].astype(np.int32), table[:, 2].copy()
    )


@given(answers)
def test_the_samples_of_the_lowest_round_trip_tell_the_offset(rows: Rows) -> None:
    by_server: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for server, round_trip, offset_x2 in rows:
        if round_trip >= 0 and offset_x2 != NO_OFFSET:
            by_server[server].append((round_trip, offset_x2))
    expected: dict[int, Clock] = {}
    for server, told in by_server.items():
        lowest = min(round_trip for round_trip, _ in told)
        halved = median(float(offset) / 2 for round_trip, offset in told if round_trip == lowest)
        expected[server] = Clock(halved, lowest / 2)
    assert estimate(rows) == expected


def test_a_clock_is_wrong_only_beyond_half_the_round_trip() -> None:
    clocks = estimate([(0, 200, 200), (1, 200, -202)])
    assert not clocks[0].is_wrong
    assert clocks[1].is_wrong
