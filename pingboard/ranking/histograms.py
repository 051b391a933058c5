"""The rank kernel for what is counted already: `Counted` -> the standings of a board.

The same numbers as `rank` gives of the samples themselves: it reads them by their position in
order, and where each position is follows from the counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pingboard.columns.counts import MS_BITS, Counted
from pingboard.columns.narrow import Integers
from pingboard.model import Standing
from pingboard.ranking.intervals import find_low_positions

_PERCENTS = np.array([50, 5, 25, 75, 95])


def rank_counted(
    counted: Counted, names: Sequence[str], *, min_samples: int = 1, limit: int | None = None
) -> tuple[list[Standing], int]:
    """The standings, best first, as `rank` gives them, and how many samples there are in all.

    `names` is the server of each number in the keys; `min_samples` and `limit` as for `rank`.
    """
    keys, counts = counted
    if not len(keys):
        return [], 0
    servers = keys >> MS_BITS
    starts = np.flatnonzero(np.diff(servers, prepend=-1))
    ms = keys & ((1 << MS_BITS) - 1)
    ends = np.cumsum(counts)
    sizes = np.add.reduceat(counts, starts)
    runs = _Runs(ms, ends, ends[starts] - counts[starts], sizes)
    below, weight = np.divmod((sizes - 1) * _PERCENTS[:, None], 100)
    low, high = runs.read(below), runs.read(below + (weight > 0))
    percentiles = (low * (100 - weight) + high * weight) / 100
    of_run = [names[server] for server in servers[starts].tolist()]
    order = _order(percentiles[0], sizes, of_run)
    order = order[sizes[order] >= min_samples][:limit]
    sums = np.add.reduceat(ms * counts, starts)[order].tolist()
    ci95, tied = _read_intervals(runs, order)
    mean = [total / size for total, size in zip(sums, sizes[order].tolist(), strict=True)]
    homeservers = [of_run[run] for run in order.tolist()]
    median, p5, p25, p75, p95 = percentiles[:, order].tolist()
    ranks = range(1, len(homeservers) + 1)
    columns = (ranks, homeservers, median, mean, p5, p25, p75, p95, sizes[order].tolist())
    return list(map(Standing, *columns, ci95, tied)), int(ends[-1])


class _Runs:
    """Each server's latencies in order, by their positions."""

    def __init__(self, ms: Integers, ends: Integers, starts: Integers, sizes: Integers) -> None:
        self._ms, self._ends, self._starts, self.sizes = ms, ends, starts, sizes

    def read(self, positions: Integers, runs: NDArray[np.intp] | slice = slice(None)) -> Integers:
        """The latency at a position of each run."""
        found: Integers = self._ms[
            np.searchsorted(self._ends, self._starts[runs] + positions, side="right")
        ]
        return found


def _read_intervals(
    runs: _Runs, order: NDArray[np.intp]
) -> tuple[list[tuple[float, float] | None], list[bool]]:
    """As `rank` reads them: of each ranked run's median, and whether it overlaps the one before."""
    sizes = runs.sizes[order]
    positions = find_low_positions(sizes)
    known = positions >= 0
    low = runs.read(positions.clip(0), order)
    high = runs.read(sizes - 1 - positions.clip(0), order)
    overlaps = np.zeros(len(order), bool)
    overlaps[1:] = (low[1:] <= high[:-1]) & (low[:-1] <= high[1:]) & known[1:] & known[:-1]
    both = zip(low.astype(float).tolist(), high.astype(float).tolist(), strict=True)
    intervals = [ci95 if is_known else None for ci95, is_known in zip(both, known, strict=True)]
    return intervals, overlaps.tolist()


def _order(medians: NDArray[np.float64], sizes: Integers, names: Sequence[str]) -> NDArray[np.intp]:
    by_name = np.array(sorted(range(len(names)), key=names.__getitem__))
    return by_name[np.lexsort((-sizes[by_name], medians[by_name]))]
