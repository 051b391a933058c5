"""Times, durations and windows; which timestamps an event can have."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

WINDOWS = {
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "90d": timedelta(days=90),
    "365d": timedelta(days=365),
}
"""The windows that can be asked for by name, all ending now."""

DEFAULT_WINDOW = "7d"

FIRST_EVENT_TS = 1_409_529_600_000
"""2014-09-01, before which there was no Matrix."""

MAX_AHEAD_MS = 600_000
"""How far an event's time may be ahead of our clock."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def to_ts(at: datetime) -> int:
    """An aware datetime as a Matrix timestamp: ms since the epoch, rounded up.

    Up, so that `ts >= to_ts(start)` selects no millisecond before a `start` between two.
    """
    since = at - _EPOCH
    return since.days * 86_400_000 + since.seconds * 1000 - -since.microseconds // 1000


def from_ts(ts: int) -> datetime:
    """A Matrix timestamp as an aware UTC datetime; OverflowError beyond the year 9999."""
    return _EPOCH + timedelta(milliseconds=ts)


def write_instant(at: datetime) -> str:
    """Return an aware datetime as RFC 3339, UTC, always with milliseconds and `Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def is_possible_time(ts: int, now_ts: int) -> bool:
    """Whether an event can have this timestamp: not before Matrix was, nor far ahead of us."""
    return FIRST_EVENT_TS <= ts <= now_ts + MAX_AHEAD_MS


def parse_duration(text: str) -> timedelta:
    """Return `5m`, `1s`, `150ms`, `1.5h` or `0` as a duration; ValueError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?", text.strip(), re.ASCII)
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 150ms, 30s, 5m or 1h")
    number, unit = match.groups()
    if unit is None and float(number):
        raise ValueError(f"{text!r} has no unit; write {number}s, {number}m or {number}h")
    try:
        return timedelta(seconds=float(number) * _UNITS[unit or "s"])
    except OverflowError:
        raise ValueError(f"{text!r} is longer than any duration") from None


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open interval [start, end) of pong times, aware UTC datetimes."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("a window has aware datetimes")
        if self.start > self.end:
            raise ValueError("a window starts before it ends")

    @classmethod
    def named(cls, name: str, end: datetime) -> Window:
        """The window of a name in `WINDOWS` that ends at `end`; KeyError for any other name."""
        return cls(end - WINDOWS[name], end)

    @property
    def start_ts(self) -> int:
        """The first timestamp inside, ms since the epoch."""
        return to_ts(self.start)

    @property
    def end_ts(self) -> int:
        """The first timestamp after it, ms since the epoch."""
        return to_ts(self.end)
