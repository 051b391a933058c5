"""Ranking: from samples in memory to standings

The rank kernel is measured against its own lower bound, `np.sort` of the same keys. `rank` builds
the keys, sorts them, and gives a `Standing` with median, mean, four percentiles and count for
each server, without a limit. Then a `delivery` board, filter included, is measured against
pingstat's algorithm over the same samples as rows in memory, which computes median and mean
alone; servers, medians and means have to be equal.

On AMD's Zen 4 (CPU family 25) pingboard turns numpy's AVX-512 off, whose sort takes six times as
long as with AVX2 there (see `pingboard/simd.py`). With `NPY_DISABLE_CPU_FEATURES=` (empty) it can
be measured all the same: the first two targets are easy then, and everything else is slower.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench import peer
from bench.pairs import Pair
from bench.pongs import WEEK, Pongs, synthesize
from pingboard.model import BoardName
from pingboard.ranking.rank import rank
from pingboard.ranking.standings import rank_board

SAMPLES = 1_000_000


def pairs(quick: bool) -> Iterator[Pair]:
    """The figures; `quick` leaves out the peer's largest."""
    for servers, target in [(200, 1.2), (2_000, 1.5), (5_000, 2)]:
        yield against_sort(synthesize(SAMPLES, servers), target)
    for samples in [SAMPLES // 10] if quick else [SAMPLES // 10, SAMPLES]:
        yield against_peer(synthesize(samples), target=0.25)


def against_sort(samples: Pongs, target: float) -> Pair:
    """The kernel by ping server, and the sort that it can't do without."""
    servers, ms, names = samples.ping_server, samples.one_way_ms, samples.names
    keys = servers.astype(np.uint32) << 20 | ms.astype(np.uint32)
    return Pair(
        f"rank {len(ms):,} samples of {len(names):,} servers / np.sort of the keys",
        lambda: rank(servers, ms, names),
        lambda: np.sort(keys),
        target,
    )


def against_peer(samples: Pongs, target: float) -> Pair:
    """A `delivery` board from columns, and pingstat's from rows."""
    names = [samples.names[server] for server in samples.ping_server.tolist()]
    rows = list(zip(names, samples.one_way_ms.tolist(), strict=True))
    blocks = samples.blocks()

    def count_differences() -> int:
        ranked, _ = rank_board(blocks, samples.names, BoardName.DELIVERY, WEEK, now_ts=WEEK.end_ts)
        ours = {(each.homeserver, each.median_ms, each.mean_ms) for each in ranked}
        theirs = {(server, *numbers) for server, numbers in peer.rank(rows).items()}
        return len(ours ^ theirs)

    return Pair(
        f"delivery board of {len(rows):,} samples / pingstat's algorithm",
        lambda: rank_board(blocks, samples.names, BoardName.DELIVERY, WEEK, now_ts=WEEK.end_ts),
        lambda: peer.rank(rows),
        target,
        count_differences,
    )
