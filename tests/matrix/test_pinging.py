"""When pings are sent, and when they are better not."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from pingboard.lab import Lab
from pingboard.lab.faultproxy import FaultProxy, answer
from pingboard.matrix import pinger
from tests.matrix.listening import listening
from tests.matrix.room_client import Member, until


async def test_a_homeserver_that_is_away_is_not_pinged_through(
    lab: Lab, engine: Any, owner: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pinger, "REPEATS_S", (0.01, 0.01, 0.01))
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "knocking")
    clock = asyncio.get_running_loop().time
    async with FaultProxy(account.homeserver_url) as proxy:
        behind = dataclasses.replace(account, homeserver_url=proxy.url)
        interval = timedelta(milliseconds=50)
        async with listening(lab, engine, behind, [room_id], interval=interval):
            await until(lambda: proxy.count("send") > 1)
            proxy.inject("/", answer(502))
            begun = clock()
            await until(lambda: proxy.count("sync", begun) >= 3)
            # One ping, repeated, and one more if a sync was still under way; then the sync knocks.
            tried_once = 1 + len(pinger.REPEATS_S)
            assert 0 < proxy.count("send", begun) <= 1 + 2 * tried_once
            proxy.clear()
            mended = clock()
            await until(lambda: proxy.count("send", mended) > 1)
