"""How late the event loop is."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from pingboard.matrix import clock
from pingboard.matrix.clock import LoopLateness


async def test_the_longest_lateness_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks_ms = [(0, 0), (10, 35), (40, 1_240), (1_240, 1_250)]
    readings_ns = itertools.chain(
        (ms * 1_000_000 for tick in ticks_ms for ms in tick), itertools.repeat(1_250_000_000)
    )
    monkeypatch.setattr(clock, "TICK_S", 0)
    monkeypatch.setattr(clock, "now_ns", lambda: next(readings_ns))
    lateness = LoopLateness()
    ticking = asyncio.create_task(lateness.run())
    for _ in range(10):
        await asyncio.sleep(0)
    ticking.cancel()
    assert lateness.take_ms() == 1_200
    assert lateness.take_ms() == 0
