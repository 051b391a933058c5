"""A history as a drawing: what it shows, and that it stays within itself."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pingboard.model import WINDOWS, BoardName, Window, to_ts
from pingboard.ranking.history import STEPS, Band, Bucket, count_buckets
from pingboard.web.charts.scale import HEIGHT, WIDTH
from pingboard.web.charts.smoke import MAX_BUCKETS, MIN_BAND, Smoke, choose_step, draw, grade

HOUR = timedelta(hours=1)
START = datetime(2026, 10, 11, 12, tzinfo=UTC)


def fill(
    *hours: tuple[list[float] | None, int, int],
    samples: int = 9,
    board: BoardName = BoardName.RESPONSE,
) -> Smoke | None:
    """The drawing of hours: their five percentiles, what was sent and what was lost."""
    window = Window(START, START + HOUR * len(hours))
    buckets = [
        Bucket(to_ts(START + HOUR * number), samples, Band(*ms) if ms else None, sent, lost)
        for number, (ms, sent, lost) in enumerate(hours)
    ]
    return draw(board, buckets, window, HOUR)


def points_of(path: str) -> list[tuple[int, int]]:
    numbers = [int(number) for number in re.findall(r"-?\d+", path)]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


HOURS = st.tuples(
    st.none() | st.lists(st.floats(0, 600_000), min_size=5, max_size=5).map(sorted),
    st.integers(1, 60),
    st.integers(0, 1),
)


@given(st.lists(HOURS, min_size=1, max_size=30))
def test_every_curve_lies_within_the_drawing(
    hours: list[tuple[list[float] | None, int, int]],
) -> None:
    drawn = fill(*hours)
    if drawn is None:
        assert not any(ms or lost for ms, _, lost in hours)
        return
    for path in (drawn.outer, drawn.inner, drawn.median, *drawn.lossy):
        for x, y in points_of(path):
            assert 0 <= x <= WIDTH
            assert 0 <= y <= HEIGHT


def test_what_was_lost_is_drawn_where_pongs_are_ranked_with_no_axis_of_nothing() -> None:
    hour = (None, 4, 1)
    drawn = fill(hour)
    assert drawn is not None
    assert any(drawn.bars)
    assert drawn.marks == []
    assert fill(hour, board=BoardName.DELIVERY) is None
    heard = fill(([100, 150, 200, 250, 300], 4, 1), board=BoardName.DELIVERY)
    assert heard is not None
    assert not any(heard.bars)


def test_slower_is_higher_and_later_is_to_the_right() -> None:
    drawn = fill(([100, 150, 200, 250, 300], 9, 0), ([200, 300, 400, 500, 600], 9, 0))
    assert drawn is not None
    xs, ys = zip(*points_of(drawn.median), strict=True)
    assert list(xs) == [0, WIDTH // 4, WIDTH * 3 // 4, WIDTH]
    assert ys[0] == ys[1] > ys[2] == ys[3]


def test_a_line_is_not_drawn_through_hours_without_samples() -> None:
    hour = [100.0, 150.0, 200.0, 250.0, 300.0]
    drawn = fill((hour, 9, 0), (None, 9, 9), (hour, 9, 0))
    assert drawn is not None
    assert drawn.median.count("M") == drawn.inner.count("M") == drawn.outer.count("M") == 2
    assert drawn.bars[2].count("M") == 1


def test_hours_of_few_samples_are_dots_and_no_line() -> None:
    hours = [([100.0, 150.0, 200.0, 250.0, 300.0], 9, 0)] * 3
    few, enough = fill(*hours, samples=MIN_BAND - 1), fill(*hours, samples=MIN_BAND)
    assert few is not None
    assert enough is not None
    assert (few.outer, few.inner, few.median, few.has_few) == ("", "", "", True)
    assert [round(x) for x, _ in few.dots] == [17, 50, 83]
    assert (enough.median.count("M"), enough.dots, enough.has_few) == (1, [], False)


def test_loss_colours_the_median_by_its_level() -> None:
    hour = [100.0, 150.0, 200.0, 250.0, 300.0]
    drawn = fill((hour, 100, 0), (hour, 100, 5), (hour, 100, 20), (hour, 100, 21))
    assert drawn is not None
    assert [path.count("M") for path in drawn.lossy] == [1, 1, 1]
    assert points_of(drawn.lossy[0])[0][0] == WIDTH // 4
    assert points_of(drawn.lossy[2])[-1][0] == WIDTH
    assert (drawn.sent, drawn.lost) == (400, 46)


def test_the_level_is_that_of_the_share_lost() -> None:
    levels = [grade(Bucket(0, 0, None, 100, lost)) for lost in (0, 1, 5, 6, 20, 21, 100)]
    assert levels == [0, 1, 1, 2, 2, 3, 3]
    assert grade(Bucket(0, 0, None, 0, 0)) == 0


def test_one_bad_hour_does_not_press_the_others_into_a_line() -> None:
    usual = ([380.0, 390.0, 400.0, 410.0, 420.0], 9, 0)
    bad = ([380.0, 390.0, 400.0, 410.0, 60_000.0], 9, 0)
    drawn = fill(*[usual] * 20, bad)
    assert drawn is not None
    assert drawn.is_cut
    assert max(mark.ms for mark in drawn.marks) < 1000


def test_nothing_heard_and_nothing_lost_is_no_drawing() -> None:
    assert fill((None, 0, 0), (None, 5, 0)) is None


def test_a_step_has_enough_samples_and_not_too_many_buckets() -> None:
    for length in WINDOWS.values():
        window = Window(START - length, START)
        for samples in (0, 10, 1000, 100_000):
            assert count_buckets(window, STEPS[choose_step(window, samples)]) <= MAX_BUCKETS
    week = Window(START - timedelta(days=7), START)
    assert [choose_step(week, samples) for samples in (10, 300, 2000)] == ["6h", "6h", "1h"]
    quarter = Window(START - timedelta(days=90), START)
    assert [choose_step(quarter, samples) for samples in (10, 300, 2000)] == ["7d", "7d", "1d"]


def test_a_span_of_minutes_has_the_finest_step() -> None:
    minutes = Window(START - timedelta(minutes=2), START)
    assert choose_step(minutes, 3) == "1m"
