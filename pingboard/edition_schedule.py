"""When an edition closes: a weekday, a time and a time zone -> instants. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Week:
    """What an edition covers: half-open, UTC."""

    name: str
    """`2026-W41`"""
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Schedule:
    """Once an ISO week, at a local time."""

    weekday: int = 4
    """Monday is 0"""
    at: time = time(12)
    zone: tzinfo = UTC

    def weeks(self, after: datetime, until: datetime) -> Iterator[Week]:
        """Yield each week that ends with `after < end <= until`.

        A week begins where the one before ends, also over a change of the clocks: then it has an
        hour more or less than seven days.
        """
        day = after.astimezone(self.zone).date()
        monday = day - timedelta(days=day.weekday())
        while (end := self._close(monday)) <= until:
            if end > after:
                year, number, _ = monday.isocalendar()
                yield Week(f"{year}-W{number:02}", self._close(monday - _WEEK), end)
            monday += _WEEK

    def _close(self, monday: date) -> datetime:
        day = monday + timedelta(days=self.weekday)
        return datetime.combine(day, self.at, self.zone).astimezone(UTC)


def parse_schedule(text: str) -> Schedule | None:
    """`Friday 12:00 UTC`, `mon 09:30 Europe/Berlin`; None for `off`; ValueError for the rest."""
    if text.strip().lower() == "off":
        return None
    match = re.fullmatch(r"([A-Za-z]{3,9}) +(\d\d?):(\d\d)(?: +(\S+))?", text.strip(), re.ASCII)
    days = [day for day in WEEKDAYS if match and day.startswith(match[1].lower())]
    if match is None or not days or int(match[2]) > 23 or int(match[3]) > 59:
        raise ValueError(f"{text!r} is not a weekday, time and time zone such as Friday 12:00 UTC")
    name = match[4] or "UTC"
    try:
        zone = UTC if name == "UTC" else ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise ValueError(f"{name!r} is not a time zone such as UTC or Europe/Berlin") from None
    return Schedule(WEEKDAYS.index(days[0]), time(int(match[2]), int(match[3])), zone)
