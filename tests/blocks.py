"""Blocks of columns for the tests of ranking, from rows in any order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pingboard.model import ONE_WAY_MIN_MS, PONG_TIMEOUT_MS
from pingboard.sample_blocks import EMPTY, Answers, Block, Claims, Offsets, narrow, sort

SAMPLE = np.dtype(
    [
        ("ping_seen_ts", "i8"),
        ("seen_ts", "i8"),
        ("ping_server", "i4"),
        ("pong_server", "i4"),
        ("one_way_ms", "i4"),
        ("round_trip_ms", "i4"),
        ("offset_x2_ms", "i8"),
        ("is_ours", "?"),
    ]
)


def build_block(samples: NDArray[np.void]) -> Block:
    """Return the block of (n,) `SAMPLE`; nothing is lost in it."""
    one_way_ms = samples["one_way_ms"]
    claims = samples[(one_way_ms >= ONE_WAY_MIN_MS) & (one_way_ms <= PONG_TIMEOUT_MS)]
    answers = samples[samples["is_ours"]]
    pinged_ts, seen_ts = (Offsets.of(answers[name]) for name in ("ping_seen_ts", "seen_ts"))
    names = ("pong_server", "round_trip_ms", "offset_x2_ms")
    own = sort(Answers(pinged_ts, seen_ts, *(narrow(answers[name]) for name in names)))
    names = ("ping_server", "pong_server", "one_way_ms")
    block_claims = Claims(Offsets.of(claims["seen_ts"]), *(narrow(claims[name]) for name in names))
    return Block(sort(block_claims), lambda: (own, EMPTY.losses))
