"""What a response tells of how it came, from a real homeserver behind a proxy that misbehaves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from pingboard.lab import Lab
from pingboard.lab.faultproxy import FaultProxy, answer, delayed
from pingboard.matrix import clock
from pingboard.matrix.session import Account, Session
from pingboard.matrix.stream import STALL_S, SyncBatch, batches


@pytest.fixture
async def proxy(lab: Lab) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(lab.homeservers[0].url) as proxy:
        yield proxy


@pytest.fixture
async def stream(lab: Lab, proxy: FaultProxy) -> AsyncIterator[AsyncIterator[SyncBatch]]:
    """Held open for a tenth of a second, past its first response."""
    account = await lab.register(lab.homeservers[0], f"streaming-{uuid4().hex[:8]}")
    session = await Session.open(Account(proxy.url, account.user_id, account.access_token))
    stream = batches(session, None, [], lambda: 100)
    assert not (await anext(stream)).stalled
    yield stream
    await session.aclose()


async def test_a_response_in_time_is_not_late(stream: AsyncIterator[SyncBatch]) -> None:
    assert not (await anext(stream)).stalled


async def test_a_response_held_up_is_late(
    stream: AsyncIterator[SyncBatch], proxy: FaultProxy
) -> None:
    proxy.inject("/sync", delayed(STALL_S + 0.2), times=1)
    assert (await anext(stream)).stalled


async def test_a_response_to_the_second_question_is_late(
    stream: AsyncIterator[SyncBatch], proxy: FaultProxy
) -> None:
    # However soon it comes: what happened in between waited for it at our homeserver.
    proxy.inject("/sync", answer(502), times=1)
    assert (await anext(stream)).stalled


async def test_a_response_asked_for_late_is_late(
    stream: AsyncIterator[SyncBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The store was locked, or the machine suspended: what happened since waited for us.
    real = clock.now_ns
    monkeypatch.setattr(clock, "now_ns", lambda: real() + int((STALL_S + 0.2) * 1e9))
    assert (await anext(stream)).stalled
    assert not (await anext(stream)).stalled
