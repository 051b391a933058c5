"""The rank kernel

From columns in memory to standings with median, mean, four percentiles and interval, without a
limit; against its own lower bound, one `np.sort` of the same keys.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench.pairs import Pair
from bench.pongs import Pongs, synthesize
from pingboard.ranking.rank import rank

SAMPLES = 1_000_000


def pairs() -> Iterator[Pair]:
    """The figures."""
    for servers, target in [(200, 1.2), (2_000, 1.5)]:
        yield against_sort(synthesize(SAMPLES, servers), target)


def against_sort(pongs: Pongs, target: float) -> Pair:
    """The kernel by ping server, and the sort that it can't do without."""
    servers, ms = pongs.ping_server.astype(np.int32), pongs.one_way_ms.astype(np.int32)
    keys = servers.astype(np.uint32) << 20 | ms.astype(np.uint32)
    return Pair(
        f"rank kernel, {len(ms):,} samples, {len(pongs.names):,} servers / np.sort of the keys",
        lambda: rank([(servers, ms)], pongs.names),
        lambda: np.sort(keys),
        target,
        turns=15,
    )
