"""Which timestamps an event can have."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pingboard.model import is_possible_time, to_ts

NOW_TS = to_ts(datetime(2026, 10, 12, tzinfo=UTC))


@pytest.mark.parametrize(
    ("ts", "is_possible"),
    [
        (0, False),
        (to_ts(datetime(2014, 9, 1, tzinfo=UTC)) - 1, False),
        (to_ts(datetime(2014, 9, 1, tzinfo=UTC)), True),
        (NOW_TS, True),
        (NOW_TS + 600_000, True),
        (NOW_TS + 600_001, False),
        (2**53, False),
    ],
)
def test_an_event_is_no_older_than_matrix_and_no_more_than_ten_minutes_ahead(
    ts: int, is_possible: bool
) -> None:
    assert is_possible_time(ts, NOW_TS) is is_possible
