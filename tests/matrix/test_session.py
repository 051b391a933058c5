"""A real account whose token ends."""

from __future__ import annotations

import asyncio

import pytest

from pingboard.lab import Lab
from pingboard.model import AccountError
from pingboard.store.engine import Engine
from pingboard.store.tables import (
    sample,
    session,
    worker,
)
from tests.matrix.listening import count, listening, rows, synced
from tests.matrix.room_client import Member, until


async def test_a_token_that_is_revoked_ends_the_worker_with_a_reason(
    lab: Lab, engine: Engine, owner: Member
) -> None:
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "revoked")
    async with listening(lab, engine, account, [room_id]) as task:
        await until(lambda: synced(engine))
        await Member(owner._http, account).call("POST", "logout")
        await asyncio.wait([task], timeout=40)
        with pytest.raises(AccountError, match="PINGBOARD_ACCESS_TOKEN"):
            task.result()
    assert rows(engine, worker.c.state) == [("auth",)]


async def test_with_a_password_a_revoked_token_costs_one_login_and_nothing_is_lost(
    lab: Lab, engine: Engine, owner: Member
) -> None:
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "returning")
    by_password = {"access_token": None, "password": account.password}
    async with listening(lab, engine, account, [room_id], **by_password):
        await until(lambda: synced(engine))
        [(device_id, token)] = rows(engine, session.c.device_id, session.c.access_token)
        elsewhere = Member(owner._http, account)
        headers = {"Authorization": f"Bearer {token}"}
        url = f"{account.homeserver_url}/_matrix/client/v3/logout"
        async with elsewhere._http.post(url, headers=headers) as response:
            assert response.status == 200
        await owner.pong(room_id, await owner.ping(room_id))
        await until(lambda: count(engine, sample) == 1)
        [(same_device, new_token)] = rows(engine, session.c.device_id, session.c.access_token)
    assert same_device == device_id
    assert new_token != token
