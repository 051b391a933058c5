"""When editions close."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from pingboard.edition_schedule import Schedule, parse_schedule

BERLIN = Schedule(0, time(2, 30), ZoneInfo("Europe/Berlin"))


def test_fridays_at_noon_have_the_name_of_their_iso_week() -> None:
    after, until = datetime(2026, 9, 30, tzinfo=UTC), datetime(2026, 10, 16, 12, tzinfo=UTC)
    weeks = Schedule().weeks(after, until)
    assert [(week.name, week.end) for week in weeks] == [
        ("2026-W40", datetime(2026, 10, 2, 12, tzinfo=UTC)),
        ("2026-W41", datetime(2026, 10, 9, 12, tzinfo=UTC)),
        ("2026-W42", datetime(2026, 10, 16, 12, tzinfo=UTC)),
    ]


def test_the_last_week_of_a_year_can_close_in_the_next() -> None:
    after = datetime(2026, 12, 28, tzinfo=UTC)
    names = [week.name for week in Schedule().weeks(after, after + timedelta(days=8))]
    assert names == ["2026-W53"]


def test_local_time_stays_when_the_clocks_change() -> None:
    after = datetime(2026, 10, 18, tzinfo=UTC)
    closes = [week.end for week in BERLIN.weeks(after, after + timedelta(days=10))]
    assert closes == [
        datetime(2026, 10, 19, 0, 30, tzinfo=UTC),
        datetime(2026, 10, 26, 1, 30, tzinfo=UTC),
    ]


def test_weeks_follow_one_another_without_gap_or_overlap_over_a_year_of_clock_changes() -> None:
    after = datetime(2026, 1, 1, tzinfo=UTC)
    weeks = list(BERLIN.weeks(after, after + timedelta(days=366)))
    assert len(weeks) == 52
    assert [week.start for week in weeks[1:]] == [week.end for week in weeks[:-1]]
    hours = {(week.end - week.start) // timedelta(hours=1) for week in weeks}
    assert hours == {167, 168, 169}


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("Friday 12:00 UTC", Schedule()),
        ("fri 12:00", Schedule()),
        ("mon 2:30 Europe/Berlin", BERLIN),
        ("off", None),
    ],
)
def test_a_schedule_is_read(text: str, schedule: Schedule | None) -> None:
    assert parse_schedule(text) == schedule


@pytest.mark.parametrize(
    "text", ["", "12:00", "Freitag 12:00", "Friday 24:00", "Friday 12:00 Mars/Base", "fri 1:60"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as"):
        parse_schedule(text)
