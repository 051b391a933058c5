"""Synthetic samples: as many as asked for, the same for the same arguments."""

from __future__ import annotations

import numpy as np

from pingboard.model import ONE_WAY_MIN_MS, PONG_TIMEOUT_MS
from pingboard.ranking.samples import Samples

PONG_SERVERS = 100
ANSWERED = 0.88
"""The share of pong servers that answer a ping: about 88 pongs each."""


def synthesize(samples: int, ping_servers: int = 200, seed: int = 1) -> Samples:
    """`samples` pongs to pings of `ping_servers` servers, in the order of their pings.

    One-way is log-normal around a median of each ping server's own, cut to what a board takes.
    The first server is ours: its pings have round trips.
    """
    rng = np.random.default_rng(seed)
    pings = round(samples / PONG_SERVERS / ANSWERED * 1.05) + 100
    answered = rng.random((pings, PONG_SERVERS)) < ANSWERED
    ping, pong_server = (index[:samples] for index in np.nonzero(answered))
    ping_server = rng.integers(0, ping_servers, pings)[ping]
    log_median = rng.normal(6.5, 0.5, ping_servers)
    one_way = rng.lognormal(log_median[ping_server], 0.7)
    one_way_ms = one_way.clip(ONE_WAY_MIN_MS, PONG_TIMEOUT_MS).astype(np.int32)
    return Samples(
        ping_server.astype(np.int32),
        pong_server.astype(np.int32),
        one_way_ms,
        np.where(ping_server == 0, one_way_ms + 40, -1).astype(np.int32),
        [f"server{number}.example" for number in range(max(ping_servers, PONG_SERVERS))],
    )
