"""The proxy between a client and its homeserver: it passes everything, or misbehaves as told."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from faults.claims import until
from faults.faultproxy import (
    FaultProxy,
    answer,
    changed,
    changed_json,
    cut,
    delayed,
    held,
    lost_answer,
    never,
    reset,
)
from pingboard.lab import Lab

WHOAMI = "/_matrix/client/v3/account/whoami"


class Caller:
    """The room's owner, who asks the homeserver through the proxy."""

    def __init__(self, http: aiohttp.ClientSession, lab: Lab, proxy: FaultProxy) -> None:
        self._http, self._lab, self._proxy = http, lab, proxy

    async def ask(self, path: str = WHOAMI, method: str = "GET", **options: Any) -> Any:
        """Status and JSON."""
        headers = {"Authorization": f"Bearer {self._lab.owner.access_token}"}
        url = f"{self._proxy.url}{path}"
        async with self._http.request(method, url, headers=headers, **options) as response:
            return response.status, await response.json()


@pytest.fixture
def owner(http: aiohttp.ClientSession, lab: Lab, proxy: FaultProxy) -> Caller:
    return Caller(http, lab, proxy)


async def test_without_a_fault_everything_passes_and_is_counted(
    lab: Lab, owner: Caller, proxy: FaultProxy
) -> None:
    assert await owner.ask() == (200, (await owner.ask())[1])
    alias = quote(lab.room_alias)
    assert (await owner.ask(f"/_matrix/client/v3/join/{alias}", "POST", json={}))[0] == 200
    sent = f"/_matrix/client/v3/rooms/{quote(lab.room_id)}/send/m.room.message/passes"
    assert (await owner.ask(sent, "PUT", json={"msgtype": "m.notice", "body": "x"}))[0] == 200
    assert [proxy.count(endpoint) for endpoint in ("whoami", "join", "send", "sync")] == [
        2,
        1,
        1,
        0,
    ]
    assert lab.owner.access_token not in str(proxy.seen)


async def test_a_given_answer_replaces_so_many(owner: Caller, proxy: FaultProxy) -> None:
    limited = {"errcode": "M_LIMIT_EXCEEDED", "error": "slower"}
    injection = proxy.inject("/whoami", answer(429, limited, Retry_After="7"), times=1)
    assert await owner.ask() == (429, limited)
    assert (await owner.ask())[0] == 200
    assert injection.hits == 1


async def test_a_delay_delays_and_a_removed_fault_is_gone(owner: Caller, proxy: FaultProxy) -> None:
    injection = proxy.inject("/whoami", delayed(0.3))
    clock = asyncio.get_running_loop().time
    begin = clock()
    assert (await owner.ask())[0] == 200
    assert clock() - begin >= 0.3
    injection.remove()
    proxy.inject("/nothing", never())
    assert (await owner.ask())[0] == 200


async def test_a_held_request_is_answered_once_it_is_released(
    owner: Caller, proxy: FaultProxy
) -> None:
    release = asyncio.Event()
    injection = proxy.inject("/whoami", held(release))
    asked = asyncio.create_task(owner.ask())
    await until(lambda: injection.hits == 1)
    await asyncio.sleep(0.3)
    assert not asked.done()
    release.set()
    assert (await asked)[0] == 200


async def test_a_cut_body_ends_early(owner: Caller, proxy: FaultProxy) -> None:
    proxy.inject("/whoami", cut(0.5))
    with pytest.raises(aiohttp.ClientPayloadError):
        await owner.ask()


async def test_a_reset_connection_is_an_error(owner: Caller, proxy: FaultProxy) -> None:
    proxy.inject("/whoami", reset())
    with pytest.raises((aiohttp.ClientConnectionError, ConnectionError)):
        await owner.ask()
    proxy.clear()
    proxy.inject("/whoami", reset(0.0, then=answer(500, {})))
    assert (await owner.ask())[0] == 500


async def test_a_body_can_be_changed(owner: Caller, proxy: FaultProxy) -> None:
    proxy.inject("/whoami", changed_json(lambda body: body.update(user_id="@else:where")))
    assert (await owner.ask())[1]["user_id"] == "@else:where"
    proxy.inject("/whoami", changed(lambda _body: b'{"a": "\xff"}'))
    with pytest.raises(UnicodeDecodeError):
        await owner.ask()


async def test_an_answer_can_be_lost_after_the_homeserver_has_acted(
    lab: Lab, owner: Caller, proxy: FaultProxy
) -> None:
    path = f"/_matrix/client/v3/rooms/{quote(lab.room_id)}/send/m.room.message/lost"
    content = {"msgtype": "m.notice", "body": "answer lost"}
    # Twice, because aiohttp repeats a PUT by itself once when it loses the connection.
    proxy.inject("/send/", lost_answer(), times=2)
    with pytest.raises((aiohttp.ClientConnectionError, ConnectionError)):
        await owner.ask(path, "PUT", json=content)
    _, first = await owner.ask(path, "PUT", json=content)
    _, messages = await owner.ask(
        f"/_matrix/client/v3/rooms/{quote(lab.room_id)}/messages?dir=b&limit=10"
    )
    same = [event for event in messages["chunk"] if event["content"].get("body") == "answer lost"]
    assert [event["event_id"] for event in same] == [first["event_id"]]


async def test_a_homeserver_that_is_down_resets_the_connection(http: aiohttp.ClientSession) -> None:
    async with FaultProxy("http://127.0.0.1:9") as proxy:
        with pytest.raises((aiohttp.ClientConnectionError, ConnectionError)):
            async with http.get(f"{proxy.url}{WHOAMI}"):
                pass
