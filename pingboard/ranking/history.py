"""One homeserver's samples over time -> buckets with a count, a percentile band and the loss.

Buckets are aligned to whole steps since the Unix epoch, UTC: a day begins at midnight, and the
same bucket means the same in every answer. The first and the last may lie partly outside of the
window, and hold what is inside.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

import numpy as np

from pingboard.model import Window
from pingboard.ranking.rank import rank
from pingboard.sample_blocks import Column, Integers

STEPS = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "1d": timedelta(days=1),
    "7d": timedelta(days=7),
}
"""The steps that can be asked for by name."""

AUTOMATIC_BUCKETS = 400
"""At most so many where the step is ours to choose: a year has its days, a week its hours."""


class Band(NamedTuple):
    """The percentiles of a bucket's latencies in ms, linear between ranks."""

    p5_ms: float
    p25_ms: float
    median_ms: float
    p75_ms: float
    p95_ms: float


class Bucket(NamedTuple):
    """What happened in [start_ts, start_ts + step)."""

    start_ts: int
    samples: int
    band: Band | None
    """None without samples"""
    sent: int
    """pings of ours that an answer was expected to, by the time of the ping"""
    lost: int


def choose_step(window: Window) -> str:
    """The finest step that cuts the window into no more than `AUTOMATIC_BUCKETS`."""
    for name, step in STEPS.items():
        if count_buckets(window, step) <= AUTOMATIC_BUCKETS:
            return name
    return list(STEPS)[-1]


def count_buckets(window: Window, step: timedelta) -> int:
    """How many buckets a window has."""
    step_ms = step // timedelta(milliseconds=1)
    return -(-window.end_ts // step_ms) - window.start_ts // step_ms


def cut(
    window: Window,
    step: timedelta,
    seen_ts: Integers,
    ms: Column,
    answered_ts: Integers,
    lost_ts: Integers,
) -> list[Bucket]:
    """Every bucket of the window in order, also the empty ones.

    `seen_ts` and `ms` (n,) are pongs, ms since the Unix epoch, and their latencies in ms;
    `answered_ts` and `lost_ts` are pings of ours that were answered and that were not. All of them
    lie inside the window.
    """
    step_ms = step // timedelta(milliseconds=1)
    first, count = window.start_ts // step_ms, count_buckets(window, step)

    def place(ts: Integers) -> Integers:
        return ts // step_ms - first

    # The kernel ranks servers; it does not mind that these are hours.
    names = [str(number) for number in range(count)]
    bands = {
        int(row.homeserver): Band(row.p5_ms, row.p25_ms, row.median_ms, row.p75_ms, row.p95_ms)
        for row in rank([(place(seen_ts).astype(np.int32), ms)], names)
    }
    samples, answered, lost = (
        np.bincount(place(ts), minlength=count).tolist() for ts in (seen_ts, answered_ts, lost_ts)
    )
    return [
        Bucket(
            (first + number) * step_ms,
            samples[number],
            bands.get(number),
            answered[number] + lost[number],
            lost[number],
        )
        for number in range(count)
    ]
