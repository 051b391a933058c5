"""Logging in, what a homeserver can refuse, and what an answer can be."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from typing import Any

import aiohttp
import pytest

from faults.claims import until
from faults.faultproxy import Fault, FaultProxy, answer, changed_json
from pingboard.lab import Lab
from pingboard.matrix import session as session_module
from pingboard.matrix.protocol import ping_content
from pingboard.matrix.session import Account, Session
from pingboard.model import (
    AccountError,
    ConfigurationError,
    EncryptedRoomError,
    HomeserverError,
    PingboardError,
)
from pingboard.store.engine import Engine
from pingboard.store.ingest import SavedSession
from pingboard.store.schema import sample, session, worker
from tests.databases import count_rows
from tests.matrix.listening import listening, rows, synced
from tests.matrix.room_client import Member


async def test_a_token_that_is_revoked_ends_the_worker_with_a_reason(
    lab: Lab, engine: Engine, owner: Member, http: aiohttp.ClientSession
) -> None:
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "revoked")
    async with listening(lab, engine, account, [room_id]) as task:
        await until(lambda: synced(engine))
        await Member(http, account).call("POST", "logout", {})
        await asyncio.wait([task], timeout=240)
        with pytest.raises(AccountError, match="PINGBOARD_ACCESS_TOKEN"):
            task.result()
    assert rows(engine, worker.c.state) == [("auth",)]


async def test_with_a_password_a_revoked_token_costs_one_login_and_nothing_is_lost(
    lab: Lab, engine: Engine, owner: Member, http: aiohttp.ClientSession
) -> None:
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "returning")
    by_password = {"access_token": None, "password": account.password}
    async with listening(lab, engine, account, [room_id], **by_password):
        await until(lambda: synced(engine))
        [(device_id, token)] = rows(engine, session.c.device_id, session.c.access_token)
        elsewhere = Member(http, dataclasses.replace(account, access_token=token))
        await elsewhere.call("POST", "logout", {})
        await owner.pong(room_id, await owner.ping(room_id))
        await until(lambda: count_rows(engine, sample) == 1)
        [(same_device, new_token)] = rows(engine, session.c.device_id, session.c.access_token)
    assert same_device == device_id
    assert new_token != token


class Logins:
    """Keeps the last login in memory."""

    def __init__(self) -> None:
        self.device_id: str | None = None
        self.access_token: str | None = None

    async def saved_session(self) -> SavedSession:
        return SavedSession(self.device_id, self.access_token)

    async def save_login(self, device_id: str, access_token: str) -> None:
        self.device_id, self.access_token = device_id, access_token


async def fault_of(account: Account, logins: Logins | None = None) -> PingboardError:
    """What opening a session says."""
    with pytest.raises(PingboardError) as caught:
        await Session.open(account, logins)
    return caught.value


async def test_the_user_is_learned_from_the_token_and_can_then_log_in(
    lab: Lab, proxy: FaultProxy
) -> None:
    account = await lab.register(lab.homeservers[0], "nameless")
    nameless = Account(proxy.url, None, account.access_token, account.password)
    logins = Logins()
    async with contextlib.aclosing(await Session.open(nameless, logins)) as session:
        assert session.user_id == account.user_id
        proxy.inject("whoami|/sync", answer(401, {"errcode": "M_UNKNOWN_TOKEN", "error": ""}), 1)
        await session.sync(None, {"room": {"rooms": []}}, 0)
    assert logins.access_token not in (None, account.access_token)


async def test_a_renewed_token_survives_a_restart(lab: Lab, proxy: FaultProxy) -> None:
    account = await lab.register(lab.homeservers[0], "renewed")
    dead = Account(proxy.url, account.user_id, "syt_dead", account.password)
    logins = Logins()
    tokens = []
    for _ in range(2):
        async with contextlib.aclosing(await Session.open(dead, logins)):
            tokens.append(logins.access_token)
    assert tokens[0] == tokens[1]
    assert sum(seen.endpoint == "login" and seen.method == "POST" for seen in proxy.seen) == 1


async def test_a_homeserver_without_passwords_is_never_sent_one(
    lab: Lab, proxy: FaultProxy
) -> None:
    flows = {"flows": [{"type": "m.login.sso"}, {"type": "m.login.token"}]}
    proxy.inject("/login", answer(200, flows))
    fault = await fault_of(Account(proxy.url, "@a:b.example", password="secret"), Logins())
    assert isinstance(fault, ConfigurationError)
    assert str(fault).startswith(f"PINGBOARD_PASSWORD: {proxy.url} has no login with a password")
    assert "m.login.sso" in str(fault)
    assert "PINGBOARD_ACCESS_TOKEN" in str(fault)
    assert [seen.method for seen in proxy.seen] == ["GET"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"errcode": "M_USER_LOCKED", "error": "", "soft_logout": True}, "has locked the account"),
        ({"errcode": "M_USER_SUSPENDED", "error": ""}, "has suspended the account"),
        ({"errcode": "M_CONSENT_NOT_GIVEN", "error": ""}, "agree to the homeserver's terms"),
        ({"errcode": "M_RESOURCE_LIMIT_EXCEEDED", "error": ""}, "has reached a limit"),
    ],
)
async def test_an_account_that_is_locked_or_limited_is_reported_as_such_and_not_logged_in_again(
    lab: Lab, proxy: FaultProxy, body: dict[str, Any], words: str
) -> None:
    account = await lab.register(lab.homeservers[0], body["errcode"].lower())
    credentials = Account(proxy.url, account.user_id, account.access_token, account.password)
    refusal = proxy.inject("whoami", answer(401, body))
    fault = await fault_of(credentials, Logins())
    assert isinstance(fault, HomeserverError)
    assert words in str(fault)
    refusal.remove()
    async with contextlib.aclosing(await Session.open(credentials, Logins())) as session:
        proxy.inject("/sync", answer(401, body), 1)
        with pytest.raises(HomeserverError, match=words):
            await session.sync(None, {}, 0)
        await session.sync(None, {"room": {"rooms": []}}, 0)
    assert proxy.count("login") == 0


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (answer(200, {"user_id": None}), "but user_id is null, not string"),
        (answer(200, {}), "but 'user_id' is a required property"),
        (answer(200, []), "with an array instead of an object"),
        (answer(200, b"<html>hello</html>"), "with no JSON (text/html)"),
        (answer(502, b"<html>Bad Gateway</html>"), "answered 502, without a Matrix error code"),
        (answer(404, b"<html>Not Found</html>"), "answered 404, without a Matrix error code"),
        (
            answer(301, Location="https://matrix.example.org/_matrix/client/v3/account/whoami"),
            "redirects to https://matrix.example.org, so set that address",
        ),
    ],
)
async def test_a_broken_answer_is_named_by_what_is_wrong_in_it(
    proxy: FaultProxy, broken: Fault, words: str
) -> None:
    proxy.inject("whoami", broken)
    fault = await fault_of(Account(proxy.url, None, "syt_token"))
    assert isinstance(fault, HomeserverError)
    assert str(fault).startswith(f"PINGBOARD_HOMESERVER: {proxy.url} ")
    assert words in str(fault)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda sync: sync.update(rooms=None), "rooms is null"),
        (lambda sync: sync.update(rooms={"join": None}), "rooms.join is null"),
        (lambda sync: sync.pop("next_batch"), "'next_batch' is a required property"),
        (lambda sync: sync.update(next_batch=5), "next_batch is a number, not string"),
    ],
)
async def test_what_is_wrong_in_a_sync_is_named(
    lab: Lab, proxy: FaultProxy, owner: Member, change: Any, words: str
) -> None:
    account = Account(proxy.url, None, owner.account.access_token)
    async with contextlib.aclosing(await Session.open(account)) as session:
        proxy.inject("/sync", changed_json(change))
        with pytest.raises(HomeserverError) as caught:
            await session.sync(None, {}, 0)
    assert words in str(caught.value)


async def test_a_server_name_is_enough_to_find_its_homeserver(
    lab: Lab, proxy: FaultProxy, owner: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "DISCOVERY_URL", proxy.url)
    account = Account("one.example", None, owner.account.access_token)
    discovery = {"m.homeserver": {"base_url": f"{lab.homeservers[0].url}/"}}
    proxy.inject("/.well-known/matrix/client", answer(200, discovery))
    async with contextlib.aclosing(await Session.open(account)):
        assert proxy.count("whoami") == 0
    for unusable in (answer(404, b""), answer(200, {"m.homeserver": None}), answer(200, b"<html>")):
        proxy.inject("/.well-known/matrix/client", unusable)
        before = proxy.count("whoami")
        async with contextlib.aclosing(await Session.open(account)):
            assert proxy.count("whoami") == before + 1


async def test_a_proxy_of_the_environment_is_used(
    lab: Lab, owner: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FaultProxy(lab.homeservers[0].url) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        proxy.inject("whoami", answer(200, {"user_id": owner.account.user_id}))
        account = Account("http://matrix.one.example", None, owner.account.access_token)
        async with contextlib.aclosing(await Session.open(account)) as session:
            assert session.user_id == owner.account.user_id
        direct = Account(lab.homeservers[0].url, None, owner.account.access_token)
        asked = len(proxy.seen)
        async with contextlib.aclosing(await Session.open(direct)):
            assert len(proxy.seen) == asked
        monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1080")
        with pytest.raises(ConfigurationError, match="HTTP_PROXY"):
            await Session.open(account)


async def test_nothing_is_sent_into_an_encrypted_room(
    lab: Lab, proxy: FaultProxy, owner: Member
) -> None:
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "clear")
    credentials = Account(proxy.url, None, account.access_token)
    async with contextlib.aclosing(await Session.open(credentials)) as session:
        await session.join(room_id)
        since = str((await session.sync(None, {}, 0)).response.next_batch)
        await session.send(room_id, ping_content("nonce"), "tx-1")
        await owner.set_state(room_id, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})
        await session.sync(since, {}, 30_000)
        sends = proxy.count("send")
        with pytest.raises(EncryptedRoomError):
            await session.send(room_id, ping_content("nonce"), "tx-2")
        with pytest.raises(EncryptedRoomError):
            await session.send_ping(room_id, ping_content("nonce"), "tx-3", lambda: None)
    async with contextlib.aclosing(await Session.open(credentials)) as session:
        with pytest.raises(EncryptedRoomError):
            await session.send(room_id, ping_content("nonce"), "tx-4")
    assert proxy.count("send") == sends == 1


async def test_a_logout_during_a_ping_is_no_part_of_its_round_trip(
    lab: Lab, proxy: FaultProxy, owner: Member
) -> None:
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "logged-out")
    credentials = Account(proxy.url, None, account.access_token, account.password)
    gone = answer(401, {"errcode": "M_UNKNOWN_TOKEN", "error": "", "soft_logout": True})
    async with contextlib.aclosing(await Session.open(credentials, Logins())) as session:
        await session.join(room_id)

        async def send(tx_id: str) -> list[str]:
            """Which requests there were before and after the ping began."""
            seen = len(proxy.seen)
            begun: list[int] = []
            with contextlib.suppress(HomeserverError):
                await session.send_ping(
                    room_id, ping_content("nonce"), tx_id, lambda: begun.append(len(proxy.seen))
                )
            return [request.endpoint for request in proxy.seen[max(begun[0], seen) :]]

        proxy.inject("whoami", gone, 1)
        assert await send("tx-1") == ["send"]
        proxy.inject("/send/", gone, 1)
        with pytest.raises(HomeserverError, match="had ended our login"):
            await session.send_ping(room_id, ping_content("nonce"), "tx-2", lambda: None)
        assert await send("tx-3") == ["send"]
