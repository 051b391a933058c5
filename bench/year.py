"""A year

The board of 365 days and 52 million samples of 200 homeservers, with an open file and nothing in
memory, streamed from its hours; against one `np.sort` of all its keys. Its standings have to equal
those of all samples, ranked at once. Then the peak of memory of a whole process that does it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.pairs import Pair, Size
from bench.pongs import END, HOUR_MS, WEEK, Pongs, synthesize, write_closed_hours
from bench.scale import measure_peak
from bench.store import read_board
from pingboard.model import Standing, Window
from pingboard.ranking.rank import rank
from pingboard.store.engine import migrate, open_engine

WEEKS = 52
SAMPLES_A_WEEK = 1_000_000
YEAR = Window(END - timedelta(days=365), END)
MAX_MEMORY_MIB = 600


def pairs() -> Iterator[Pair | Size]:
    """The figures."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "year"
        engine = open_engine(f"sqlite:///{path}")
        migrate(engine)
        columns = _Columns()
        write_closed_hours(engine, columns.gather())
        engine.dispose()
        servers, ms = (np.concatenate(parts) for parts in (columns.servers, columns.ms))
        keys = servers.astype(np.uint32) << 20 | ms.astype(np.uint32)
        yield Pair(
            f"a board of a year, {len(keys):,} samples / np.sort of all its keys",
            lambda: read_board(path, YEAR, with_matrix=False),
            lambda: np.sort(keys),
            6,
            lambda ours, _: _count_differences(ours, rank([(servers, ms)], columns.names)),
            turns=5,
        )
        yield Size(
            "peak memory of a process that ranks a year, MiB / an allowance",
            measure_peak(path, "bench.year"),
            MAX_MEMORY_MIB,
            1,
        )


class _Columns:
    """What is written, kept in memory to be ranked at once."""

    def __init__(self) -> None:
        self.servers: list[NDArray[np.int32]] = []
        self.ms: list[NDArray[np.int32]] = []
        self.names: list[str] = []

    def gather(self) -> Iterator[Pongs]:
        """Yield the weeks of the year, the latest first."""
        seen: set[int] = set()
        for ago in range(WEEKS):
            back = timedelta(days=7 * ago)
            week = Window(WEEK.start - back, WEEK.end - back)
            pongs = synthesize(SAMPLES_A_WEEK, window=week, seed=ago + 1)
            # Two weeks share the hour in between, and the store has that of the later one.
            hours = pongs.ping_seen_ts // HOUR_MS
            is_kept = ~np.isin(hours, [*seen])[pongs.ping]
            seen |= {*hours.tolist()}
            self.servers.append(pongs.ping_server[is_kept].astype(np.int32))
            self.ms.append(pongs.one_way_ms[is_kept].astype(np.int32))
            self.names = pongs.names
            yield pongs


def _count_differences(ours: list[Standing], plain: list[Standing]) -> int:
    return sum(row != other for row, other in zip(ours, plain, strict=True))


if __name__ == "__main__":
    read_board(Path(sys.argv[1]), YEAR, with_matrix=False)
