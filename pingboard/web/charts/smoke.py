"""One homeserver over time, as SmokePing draws it: bands of percentiles as smoke around the median,
and what was lost coloured on the median and as bars below."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby

from pingboard.model import BoardName, Window, from_ts
from pingboard.ranking.boards import Ranked, get_rule
from pingboard.ranking.history import STEPS, Band, Bucket, count_buckets
from pingboard.web.charts.scale import HEIGHT, WIDTH, Mark, Scale, TimeMark, mark_time

LEVELS = (0.0, 0.05, 0.2)
"""The loss above which a bucket is of the first, second and third level."""

MAX_BUCKETS = 400
MIN_BUCKETS = 12
MIN_SAMPLES = 8
"""In a bucket, on average: percentiles of fewer say little."""
MIN_BAND = 5
"""Samples of a bucket that has bands and a part in the line; of fewer the median is a dot."""

USUAL_PEAKS = 90
"""Per cent of the outer band's upper ends that the drawing always has."""


@dataclass(frozen=True, slots=True)
class Smoke:
    """A drawing; each text is the `d` of a path in the plane of `scale`."""

    outer: str
    """5th to 95th percentile"""
    inner: str
    """25th to 75th"""
    median: str
    dots: Sequence[tuple[float, float]]
    """medians of few samples, or without neighbours: per cent from left and above"""
    has_few: bool
    """some bucket has less than `MIN_BAND` samples"""
    lossy: Sequence[str]
    """the median where the loss is of each level, by level from 1"""
    bars: Sequence[str]
    """the loss itself, by level from 1: a full bar is all lost"""
    marks: Sequence[Mark]
    """per cent from below"""
    times: Sequence[TimeMark]
    samples: int
    sent: int
    lost: int
    lowest_ms: float
    """of the medians"""
    highest_ms: float
    is_cut: bool
    """some of the outer band is above the drawing"""


@dataclass(frozen=True, slots=True)
class _Point:
    left: int
    middle: int
    right: int
    band: Band
    level: int
    is_few: bool


def choose_step(window: Window, samples: int) -> str:
    """The finest step whose buckets have enough samples to have percentiles, and are few enough."""
    names = list(STEPS)
    few = [name for name in names if count_buckets(window, STEPS[name]) <= MAX_BUCKETS]
    many = [name for name in few if count_buckets(window, STEPS[name]) >= MIN_BUCKETS]
    for name in many:
        if samples >= MIN_SAMPLES * count_buckets(window, STEPS[name]):
            return name
    # Of a span that is too short for so many buckets the finest there is.
    return (many or few[:1] or names)[-1]


def find_span(buckets: Sequence[Bucket], window: Window, step: timedelta) -> Window:
    """The part of a window that has data, where that is less than half; else all of it."""
    starts = [bucket.start_ts for bucket in buckets if bucket.samples or bucket.sent]
    if not starts:
        return window
    start = max(from_ts(starts[0]), window.start)
    end = min(from_ts(starts[-1]) + step, window.end)
    is_short = end - start < (window.end - window.start) / 2
    return Window(start, end) if is_short else window


def draw(
    board: BoardName,
    buckets: Sequence[Bucket],
    window: Window,
    step: timedelta,
    scale: Scale | None = None,
) -> Smoke | None:
    """The drawing of a window's buckets; None where nothing was heard and nothing lost.

    What was lost are pongs, so a board of ping servers is drawn without.
    `scale` is one that several drawings share; left out, it is made for this one. It shows whole
    buckets, so that it stays the same while nothing happens.
    """
    if get_rule(board).ranked is Ranked.PING_SERVERS:
        buckets = [bucket._replace(sent=0, lost=0) for bucket in buckets]
    step_ms = step // timedelta(milliseconds=1)
    window = Window(
        from_ts(window.start_ts // step_ms * step_ms),
        from_ts(-(-window.end_ts // step_ms) * step_ms),
    )
    bands = [bucket.band for bucket in buckets if bucket.band]
    lost = sum(bucket.lost for bucket in buckets)
    if not bands and not lost:
        return None
    scale = scale or find_scale(bands)
    spans = [_span(bucket.start_ts, window, step) for bucket in buckets]
    points = [_point(bucket, span) for bucket, span in zip(buckets, spans, strict=True)]
    runs = list(_runs(points))
    few = [point for point in points if point and point.is_few]
    medians = [band.median_ms for band in bands]
    return Smoke(
        outer=_area(runs, scale, lambda band: (band.p5_ms, band.p95_ms)),
        inner=_area(runs, scale, lambda band: (band.p25_ms, band.p75_ms)),
        median=_line(runs, scale),
        dots=[
            (point.middle * 100 / WIDTH, round(100 - scale.percent(point.band.median_ms), 2))
            for point in [*few, *(run[0] for run in runs if len(run) == 1)]
        ],
        has_few=bool(few),
        lossy=[_pieces(runs, scale, level) for level in range(1, len(LEVELS) + 1)],
        bars=[_bars(buckets, spans, level) for level in range(1, len(LEVELS) + 1)],
        marks=scale.marks(5) if bands else [],
        times=mark_time(window.start, window.end),
        samples=sum(bucket.samples for bucket in buckets),
        sent=sum(bucket.sent for bucket in buckets),
        lost=lost,
        lowest_ms=min(medians, default=0.0),
        highest_ms=max(medians, default=0.0),
        is_cut=any(point.band.p95_ms > scale.high_ms for run in runs for point in run),
    )


def find_scale(bands: Sequence[Band]) -> Scale:
    """A scale for the medians and their middle halves, with what of the outer band leaves these
    their room: one bad hour would press all others into a line."""
    if not bands:
        return Scale.over([])
    peaks = sorted(band.p95_ms for band in bands)
    usual = peaks[(len(peaks) - 1) * USUAL_PEAKS // 100]
    quarters = [ms for band in bands for ms in (band.p25_ms, band.p75_ms)]
    return Scale.over([*quarters, *(band.p5_ms for band in bands), usual])


def grade(bucket: Bucket) -> int:
    """The level of a bucket's loss, 0 for none."""
    loss = bucket.lost / bucket.sent if bucket.sent else 0.0
    return sum(loss > least for least in LEVELS)


def _span(start_ts: int, window: Window, step: timedelta) -> tuple[int, int]:
    """Left and right end of a bucket, cut to the window."""
    length = window.end_ts - window.start_ts
    end_ts = start_ts + step // timedelta(milliseconds=1)
    left, right = (
        round(min(max(ts - window.start_ts, 0), length) / length * WIDTH)
        for ts in (start_ts, end_ts)
    )
    return left, right


def _point(bucket: Bucket, span: tuple[int, int]) -> _Point | None:
    if bucket.band is None:
        return None
    left, right = span
    is_few = bucket.samples < MIN_BAND
    return _Point(left, (left + right) // 2, right, bucket.band, grade(bucket), is_few)


def _runs(points: Sequence[_Point | None]) -> Iterator[list[_Point]]:
    """Neighbours with enough samples: a line through a bucket without any would be invented."""
    for has_band, run in groupby(points, key=lambda point: bool(point and not point.is_few)):
        if has_band:
            yield [point for point in run if point]


def _y(ms: float, scale: Scale) -> int:
    return round((1 - scale.share(ms)) * HEIGHT)


def _area(
    runs: Iterable[list[_Point]], scale: Scale, ends: Callable[[Band], tuple[float, float]]
) -> str:
    parts = []
    for run in runs:
        low, high = zip(*(ends(point.band) for point in run), strict=True)
        above = _trace(run, [_y(ms, scale) for ms in high])
        below = _trace(run, [_y(ms, scale) for ms in low])
        parts.append(f"M{_join(above)}L{_join(reversed(below))}z")
    return "".join(parts)


def _line(runs: Iterable[list[_Point]], scale: Scale) -> str:
    return "".join(f"M{_join(_trace_median(run, scale))}" for run in runs)


def _trace_median(run: list[_Point], scale: Scale) -> list[tuple[int, int]]:
    return _trace(run, [_y(point.band.median_ms, scale) for point in run])


def _trace(run: list[_Point], ys: list[int]) -> list[tuple[int, int]]:
    """Through the middle of each bucket, level to the ends of the first and the last."""
    middles = [(point.middle, y) for point, y in zip(run, ys, strict=True)]
    return [(run[0].left, ys[0]), *middles, (run[-1].right, ys[-1])]


def _pieces(runs: Iterable[list[_Point]], scale: Scale, level: int) -> str:
    """The median line within each bucket of a level, from halfway before to halfway after."""
    parts = []
    for run in runs:
        trace = _trace_median(run, scale)
        for number, point in enumerate(run, 1):
            if point.level == level:
                before, here, after = trace[number - 1 : number + 2]
                start = before if number == 1 else _halfway(before, here)
                end = after if number == len(run) else _halfway(here, after)
                parts.append(f"M{_join([start, here, end])}")
    return "".join(parts)


def _halfway(left: tuple[int, int], right: tuple[int, int]) -> tuple[int, int]:
    return (left[0] + right[0]) // 2, (left[1] + right[1]) // 2


def _bars(buckets: Sequence[Bucket], spans: Sequence[tuple[int, int]], level: int) -> str:
    parts = []
    for bucket, (left, right) in zip(buckets, spans, strict=True):
        if bucket.lost and grade(bucket) == level:
            # A bar of a pixel is there to be seen, however little was lost.
            height = max(round(bucket.lost / bucket.sent * HEIGHT), HEIGHT // 8)
            parts.append(f"M{left} {HEIGHT}V{HEIGHT - height}H{max(right, left + 1)}V{HEIGHT}z")
    return "".join(parts)


def _join(points: Iterable[tuple[int, int]]) -> str:
    return " ".join(f"{x} {y}" for x, y in points)
