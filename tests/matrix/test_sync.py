"""What a response tells of how it came, from a real homeserver behind a proxy that misbehaves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from faults.faultproxy import FaultProxy, delayed
from pingboard.lab import Lab
from pingboard.matrix import clock
from pingboard.matrix.session import Account, Session
from pingboard.matrix.sync import MAX_STALL_S, SyncBatch, sync_batches
from tests.matrix.listening import never_stall

HOLD_MS = 100


@pytest.fixture
async def stream(lab: Lab, proxy: FaultProxy) -> AsyncIterator[AsyncIterator[SyncBatch]]:
    """Held open for a tenth of a second, past its first response."""
    account = await lab.register(lab.homeservers[0], f"streaming-{uuid4().hex[:8]}")
    session = await Session.open(Account(proxy.url, account.user_id, account.access_token))
    stream = sync_batches(session, None, [], lambda: HOLD_MS)
    first = await anext(stream)
    assert first.is_past
    yield stream
    await session.aclose()


async def test_a_response_in_time_tells_what_just_happened(
    stream: AsyncIterator[SyncBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    never_stall(monkeypatch)
    assert not (await anext(stream)).is_past


async def test_a_response_held_up_tells_of_the_past(
    stream: AsyncIterator[SyncBatch], proxy: FaultProxy
) -> None:
    proxy.inject("/sync", delayed(MAX_STALL_S + 0.2), times=1)
    assert (await anext(stream)).is_past


async def test_a_response_asked_for_late_tells_of_the_past(
    stream: AsyncIterator[SyncBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The machine was suspended: what happened since waited for us.
    never_stall(monkeypatch)
    real = clock.now_ns
    monkeypatch.setattr(clock, "now_ns", lambda: real() + 3600 * 10**9)
    assert (await anext(stream)).is_past
    assert not (await anext(stream)).is_past


async def test_the_filter_of_many_rooms_is_uploaded_once(lab: Lab, proxy: FaultProxy) -> None:
    account = await lab.register(lab.homeservers[0], f"many-{uuid4().hex[:8]}")
    session = await Session.open(Account(proxy.url, account.user_id, account.access_token))
    rooms = [f"!room{number}:one.example" for number in range(300)]
    stream = sync_batches(session, None, rooms, lambda: HOLD_MS)
    for _ in range(4):
        await anext(stream)
    await session.aclose()
    syncs = [seen.path for seen in proxy.seen if seen.endpoint == "sync"]
    assert len(syncs) == 4
    assert max(map(len, syncs)) < 1_000
    # The first sync asks for one event of each room only, so it has a filter of its own.
    assert sum(seen.path.endswith("/filter") for seen in proxy.seen) == 2
