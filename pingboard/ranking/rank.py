"""The rank kernel: a column of servers and one of latencies -> the standings of a board.

Each sample becomes one unsigned key, its server in the high bits and its latency in the low ones.
One sort of the keys puts each server's latencies, in order, into one run; all that a standing
shows is then read from the run by position. The arithmetic is in integers up to one last
division, so each number is the exact one, rounded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pingboard.model import Standing
from pingboard.ranking.intervals import find_low_positions
from pingboard.sample_blocks import Column, Integers, Unsigned, unsigned

ServerLatencies = tuple[Column, Column]
"""Servers and latencies of some samples."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a key holds its latency: in the low `ms_bits`, shifted up by `bias`."""

    dtype: type[np.uint32 | np.uint64]
    ms_bits: int
    bias: int


# Eight bytes take any two int32; the bias makes a negative latency sort before a positive one.
# Four sort about twice as fast, and nearly every board fits into them: 4,096 servers with
# latencies up to 17 minutes, 8,192 with up to 8, and so on.
_WIDE = _Layout(np.uint64, 32, 1 << 31)
_NARROW_BITS = 32
_MAX_MS_BITS = 22
"""In four bytes; the more bits, the shorter the stretches that are added up at once."""

_PERCENTS = np.array([50, 5, 25, 75, 95])


def rank(
    parts: Sequence[ServerLatencies],
    names: Sequence[str],
    *,
    min_samples: int = 1,
    limit: int | None = None,
) -> list[Standing]:
    """Return the standings of the samples, best first; [] without samples.

    They may lie in several pairs of columns, which are not joined. Servers (n,) are indices into
    `names`; latencies (n,) are in ms, and may be negative; both are unsigned, or int32. None is
    changed. Order: by median, then more samples, then name. Ranks run 1, 2, 3, ... also through
    equal medians. Servers with fewer than `min_samples` are left out before ranks are given;
    `limit` cuts afterwards. IndexError where a server has no name.

    Percentiles interpolate linearly between order statistics (Hyndman and Fan 1996, type 7, as
    numpy does by default); the median is the 50th: of an even count the mean of the middle two.
    What is not in the samples (sent, lost, clocks) stays None.
    """
    parts = [part for part in parts if len(part[0])]
    if not parts:
        return []
    layout = _choose_layout(parts)
    keys = _build_keys(parts, layout)
    keys.sort()
    codes, starts, counts = _find_runs(keys, layout, len(names))
    percentiles = _read_percentiles(keys, starts, counts, layout)
    order = _order(percentiles[0], counts, codes, names)
    order = order[counts[order] >= min_samples][:limit]
    sums = _sum_runs(keys, starts, counts, layout)[order].tolist()
    sizes = counts[order].tolist()
    median, p5, p25, p75, p95 = percentiles[:, order].tolist()
    ci95, tied = _read_intervals(keys, starts[order], counts[order], layout)
    # Python divides integers of any size with one rounding; a float64 holds them up to 2**53 only.
    mean = [total / size for total, size in zip(sums, sizes, strict=True)]
    homeservers = [names[code] for code in codes[order].tolist()]
    ranks = range(1, len(sizes) + 1)
    columns = (ranks, homeservers, median, mean, p5, p25, p75, p95, sizes, ci95, tied)
    return list(map(Standing, *columns))


def _choose_layout(parts: Sequence[ServerLatencies]) -> _Layout:
    # What any value of a narrow column takes often fits; only else its values are looked at.
    for unseen_bytes in (2, 0):
        server_bits = max(_count_bits(servers, unseen_bytes) for servers, _ in parts)
        ms_bits = max(_count_bits(ms, unseen_bytes) for _, ms in parts)
        if ms_bits <= _MAX_MS_BITS and ms_bits + server_bits <= _NARROW_BITS:
            return _Layout(np.uint32, ms_bits, 0)
    return _WIDE


def _count_bits(column: Column, unseen_bytes: int) -> int:
    """Return how many bits its values take; one of so few bytes may take all of them."""
    if column.itemsize <= unseen_bytes:
        return 8 * column.itemsize
    # The OR of a column has every bit that one of its values has, the sign bit among them.
    return int(np.bitwise_or.reduce(unsigned(column))).bit_length()


def _build_keys(parts: Sequence[ServerLatencies], layout: _Layout) -> Unsigned:
    keys: Unsigned = np.empty(sum(len(ms) for _, ms in parts), layout.dtype)
    first = 0
    for servers, ms in parts:
        part = keys[first : first + len(ms)]
        low = unsigned(ms)
        if layout.bias:
            low = low ^ np.uint32(layout.bias)
        part[:] = unsigned(servers)
        part <<= layout.ms_bits
        part |= low
        first += len(ms)
    return keys


def _find_runs(keys: Unsigned, layout: _Layout, names: int) -> tuple[Integers, Integers, Integers]:
    """Find server, first position and length of each run in the sorted keys, by server."""
    last = int(keys[-1]) >> layout.ms_bits
    if last >= names:
        raise IndexError(f"a sample's server is {np.uint32(last).view(np.int32)} of {names} names")
    # Needles of another type than the keys would make numpy convert all keys.
    needles = np.arange(last + 1).astype(keys.dtype) << layout.ms_bits
    starts = keys.searchsorted(needles)
    counts = np.diff(starts, append=len(keys))
    codes = np.flatnonzero(counts)
    return codes, starts[codes], counts[codes]


def _read_percentiles(
    keys: Unsigned, starts: Integers, counts: Integers, layout: _Layout
) -> NDArray[np.float64]:
    """Return a row for each of `_PERCENTS`, a column for each run, in ms."""
    below, weight = np.divmod((counts - 1) * _PERCENTS[:, None], 100)
    low = _read_ms(keys, starts + below, layout)
    high = _read_ms(keys, starts + below + (weight > 0), layout)
    interpolated: NDArray[np.float64] = (low * (100 - weight) + high * weight) / 100
    return interpolated


def _read_intervals(
    keys: Unsigned, starts: Integers, counts: Integers, layout: _Layout
) -> tuple[list[tuple[float, float] | None], list[bool]]:
    """Return each median's interval, and whether it overlaps that of the run before."""
    positions = find_low_positions(counts)
    is_known = positions >= 0
    low = _read_ms(keys, starts + positions.clip(0), layout)
    high = _read_ms(keys, starts + counts - 1 - positions.clip(0), layout)
    overlaps = np.zeros(len(counts), bool)
    overlaps[1:] = (low[1:] <= high[:-1]) & (low[:-1] <= high[1:]) & is_known[1:] & is_known[:-1]
    both = zip(low.astype(float).tolist(), high.astype(float).tolist(), strict=True)
    if is_known.all():
        return list(both), overlaps.tolist()
    intervals = [ends if known else None for ends, known in zip(both, is_known, strict=True)]
    return intervals, overlaps.tolist()


def _read_ms(keys: Unsigned, positions: Integers, layout: _Layout) -> Integers:
    low = keys[positions] & ((1 << layout.ms_bits) - 1)
    return low.astype(np.int64) - layout.bias


def _sum_runs(keys: Unsigned, starts: Integers, counts: Integers, layout: _Layout) -> Integers:
    """Return the exact sum of each run's latencies.

    Adding without a conversion to 64 bits is six times as fast, but wraps around. So runs are cut
    into chunks whose latencies can't add up to what wraps: modulo that, the sum of a chunk's keys
    less its servers' share is then the sum of its latencies itself.
    """
    chunk = 1 << (8 * keys.itemsize - layout.ms_bits)
    cuts = starts
    is_cut = int(counts.max()) > chunk
    if is_cut:
        # As np.union1d, which would load numpy.ma to ask whether anything is masked.
        cuts = np.sort(np.concatenate([starts, np.arange(0, len(keys), chunk)]))
        cuts = cuts[np.diff(cuts, prepend=-1) > 0]
    lengths = np.diff(cuts, append=len(keys)).astype(keys.dtype)
    sums = np.add.reduceat(keys, cuts, dtype=keys.dtype)
    sums -= (keys[cuts] >> layout.ms_bits << layout.ms_bits) * lengths
    runs = sums.astype(np.int64)
    if is_cut:
        runs = np.add.reduceat(runs, np.searchsorted(cuts, starts))
    return runs - counts * layout.bias


def _order(
    medians: NDArray[np.float64], counts: Integers, codes: Integers, names: Sequence[str]
) -> NDArray[np.intp]:
    order = np.lexsort((-counts, medians))
    median, count = medians[order], counts[order]
    is_same = (median[1:] == median[:-1]) & (count[1:] == count[:-1])
    edges = np.flatnonzero(np.diff(is_same, prepend=False, append=False)).tolist()
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        equal = order[first : last + 1].tolist()
        order[first : last + 1] = sorted(equal, key=lambda run: names[int(codes[run])])
    return order
