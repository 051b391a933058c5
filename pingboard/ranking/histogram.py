"""A column of latencies -> how many lie in each of a few bins with round edges.

Latencies have long tails: with bins over all of them, nearly every sample would lie in the first.
So the bins are over all but the fastest and the slowest fortieth, and what is beyond lies in one
more at either end. Where these bins too are many times as wide as the fastest, they are on a
logarithmic scale: each is the same times as wide as the one before.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pingboard.sample_blocks import Column

MAX_BINS = 40
"""Besides the two at the ends."""

LINEAR_RATIO = 4
"""Up to so many times the fastest, the slowest still fits on a linear scale."""

_BEYOND = (2.5, 97.5)
"""Per cent: what is below and above lies in the bins at the ends."""

_PER_DECADE = (80, 40, 20, 10, 5, 2, 1)


class Bin(NamedTuple):
    """The samples in [low_ms, high_ms)."""

    low_ms: int
    high_ms: int
    samples: int
    is_rest: bool
    """all that is beyond the others, however far"""


class Histogram(NamedTuple):
    """Every sample in exactly one bin; the bins follow each other without a gap."""

    bins: list[Bin]
    is_log: bool
    """each bin is wider than the one before"""


def count_bins(ms: Column) -> Histogram | None:
    """The histogram of (n,) latencies in ms; None without samples."""
    if not len(ms):
        return None
    low, high = (int(bound) for bound in np.percentile(ms, _BEYOND, method="nearest"))
    is_log = low >= 0 and high > LINEAR_RATIO * max(low, 1)
    edges = _cut_log(low, high) if is_log else _cut_linear(low, high)
    least, most = int(ms.min()), int(ms.max())
    has_below, has_above = bool(least < edges[0]), bool(most >= edges[-1])
    edges = np.concatenate([[least] * has_below, edges, [most + 1] * has_above]).astype(np.int64)
    counts = np.bincount(np.searchsorted(edges, ms, side="right") - 1, minlength=len(edges) - 1)
    is_rest = [False] * len(counts)
    is_rest[0], is_rest[-1] = is_rest[0] or has_below, is_rest[-1] or has_above
    whole = edges.tolist()
    return Histogram(list(map(Bin, whole[:-1], whole[1:], counts.tolist(), is_rest)), is_log)


def _cut_linear(low: int, high: int) -> NDArray[np.int64]:
    """Multiples of 1, 2 or 5 times a power of ten, from at most `low` to more than `high`."""
    width = 1
    while high // width - low // width >= MAX_BINS:
        # 1, 2, 5, 10, 20, ...
        width = width * 5 // 2 if str(width).startswith("2") else width * 2
    return np.arange(low // width, high // width + 2) * width


def _cut_log(low: int, high: int) -> NDArray[np.int64]:
    """Powers of ten and as many numbers between them as there may be, rounded to whole ones."""
    for per_decade in _PER_DECADE:
        first = math.floor(math.log10(max(low, 1)) * per_decade)
        last = math.floor(math.log10(high) * per_decade) + 1
        if last - first <= MAX_BINS:
            break
    edges = np.round(10.0 ** (np.arange(first, last + 1) / per_decade)).astype(np.int64)
    return np.unique(edges)
