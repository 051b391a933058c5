"""The worker in a real room: what happened is recorded, once, and lies are not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import select

from pingboard.lab import Lab
from pingboard.matrix.session import Account, Session
from pingboard.matrix.worker import Worker
from pingboard.matrix.writer import Writer
from pingboard.model import AccountLostError, Batch, Gap, Pending, Pong, Provenance
from pingboard.store.engine import Engine, migrate, open_engine
from pingboard.store.ingest import Ingest
from pingboard.store.tables import (
    gap,
    pending,
    ping,
    rejection,
    room,
    sample,
    server,
    session,
    unanswered,
    worker,
)
from tests.matrix.room_client import Member, new_member, until


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as http:
        yield http


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    engine = open_engine(f"sqlite:///{tmp_path}/pingboard.db")
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture
async def owner(lab: Lab, http: aiohttp.ClientSession) -> Member:
    """Makes rooms; sends pings and pongs of its own."""
    return await new_member(http, lab)


@asynccontextmanager
async def listening(
    lab: Lab, engine: Engine, account: Any, rooms: list[str], **options: Any
) -> AsyncIterator[asyncio.Task[None]]:
    """A worker while it runs, pinging once an hour unless told otherwise."""

    async def nothing() -> None:
        pass

    writer = Writer(engine, Ingest(engine, account.user_id))
    timing = {"interval": timedelta(hours=1), "backfill": timedelta(days=7), **options}
    credentials = Account(
        account.homeserver_url,
        account.user_id,
        timing.pop("access_token", account.access_token),
        timing.pop("password", None),
    )
    running = Worker(writer, credentials, rooms, vantage="test", on_alive=nothing, **timing)
    await running.start()
    task = asyncio.create_task(running.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
        await running.close()
        writer.close()


def rows(engine: Engine, *columns: Any) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(*columns)).all())


def count(engine: Engine, table: Any) -> int:
    return len(rows(engine, *table.primary_key.columns))


def synced(engine: Engine) -> bool:
    """Whether the worker has stored a first sync."""
    return bool([row for row in rows(engine, session.c.next_batch) if row[0]])


def ping_servers(engine: Engine) -> set[str]:
    joined = select(server.c.name).join(ping, ping.c.server == server.c.id)
    with engine.connect() as connection:
        return set(connection.execute(joined).scalars())


def rejections(engine: Engine) -> dict[str, int]:
    found: dict[str, int] = {}
    for reason, number in rows(engine, rejection.c.reason, rejection.c.count):
        found[reason] = found.get(reason, 0) + number
    return found


async def test_history_before_the_first_start_is_imported_and_nothing_in_it_is_pinged_twice(
    lab: Lab, http: aiohttp.ClientSession, engine: Engine, owner: Member
) -> None:
    room_id = await owner.create_room()
    bot = await new_member(http, lab, lab.homeservers[1])
    await bot.join(f"{room_id}?via={owner.server}")
    pings = [await owner.ping(room_id) for _ in range(3)]
    for one in pings:
        await bot.pong(room_id, one, **{"from": owner.server})
        await owner.pong(room_id, one)
    account = await lab.register(lab.homeservers[0], "historian")
    async with listening(lab, engine, account, [room_id]):
        await until(lambda: count(engine, sample) == 6)
        await until(lambda: all(row[0] for row in rows(engine, gap.c.closed_ts)))
    assert {row[0] for row in rows(engine, sample.c.provenance)} == {Provenance.GAP_FILL}
    assert {row[0] for row in rows(engine, sample.c.round_trip_ms)} == {None}
    assert count(engine, pending) == 0
    assert rejections(engine) == {}


async def test_what_happens_while_the_worker_is_down_is_filled_in_once(
    lab: Lab, engine: Engine, owner: Member
) -> None:
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "sleeper")
    async with listening(lab, engine, account, [room_id]):
        first = await owner.ping(room_id)
        await owner.pong(room_id, first)
        await until(lambda: count(engine, sample) == 1)
    # More than a sync gives at once, so that its timeline is limited.
    for _ in range(40):
        for one in [await owner.ping(room_id)]:
            await asyncio.gather(*(owner.pong(room_id, one, ms) for ms in (100, 200)))
    async with listening(lab, engine, account, [room_id]):
        await until(lambda: count(engine, sample) == 41)
        await until(lambda: all(row[0] for row in rows(engine, gap.c.closed_ts)))
    assert count(engine, sample) == 41
    assert rejections(engine) == {"duplicate": 40}
    assert count(engine, pending) == 0


async def test_lies_are_rejected_and_counted(lab: Lab, engine: Engine, owner: Member) -> None:
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "judge")
    async with listening(lab, engine, account, [room_id]):
        await until(lambda: synced(engine))
        question = await owner.ping(room_id)
        no_ping = await owner.send(room_id, {"msgtype": "m.text", "body": "hello"})
        await owner.pong(room_id, question, **{"from": "winner.example"})
        await owner.pong(room_id, question, ms=True)
        await owner.pong(room_id, no_ping)
        await owner.pong(room_id, "$invented")
        await owner.pong(room_id, question, ms=120)
        await owner.pong(room_id, question, ms=1)
        await until(lambda: count(engine, sample) == 1 and len(rejections(engine)) >= 4)
    assert rows(engine, sample.c.one_way_ms) == [(120,)]
    assert rejections(engine) == {
        "forged_from": 1,
        "invalid_ms": 1,
        "duplicate": 1,
        "not_a_ping": 1,
    }
    assert {row[0] for row in rows(engine, pending.c.ping_event)} == {"$invented"}
    assert ping_servers(engine) == {owner.server}


async def test_a_redacted_pong_is_gone_and_stays_gone(
    lab: Lab, engine: Engine, owner: Member
) -> None:
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "forgetting")
    async with listening(lab, engine, account, [room_id]):
        question = await owner.ping(room_id)
        answer = await owner.pong(room_id, question)
        await until(lambda: count(engine, sample) == 1)
        await owner.redact(room_id, answer)
        await until(lambda: count(engine, sample) == 0)
    second = await owner.ping(room_id)
    taken_back = await owner.pong(room_id, second)
    await owner.redact(room_id, taken_back)
    last = await owner.ping(room_id)
    await owner.pong(room_id, last)
    async with listening(lab, engine, account, [room_id]):
        await until(lambda: count(engine, sample) == 1)
    theirs = [event for event, vantage in rows(engine, ping.c.event, ping.c.vantage) if not vantage]
    assert sorted(theirs) == sorted([question, second, last])


async def test_an_upgrade_is_followed_and_a_false_tombstone_is_not(
    lab: Lab, engine: Engine, owner: Member
) -> None:
    room_id = await owner.create_room()
    stranger = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "follower")
    async with listening(lab, engine, account, [room_id], interval=timedelta(seconds=1)):
        await until(lambda: count(engine, ping) >= 1)
        await owner.state(room_id, "m.room.tombstone", body="moved", replacement_room=stranger)
        upgraded = await owner.call("POST", f"rooms/{room_id}/upgrade", new_version="12")
        successor = str(upgraded["replacement_room"])
        known = select(room.c.room_id).join(ping, ping.c.room == room.c.id)

        def pinged() -> set[str]:
            with engine.connect() as connection:
                return set(connection.execute(known).scalars())

        await until(lambda: successor in pinged())
    assert {row[0] for row in rows(engine, room.c.room_id)} == {room_id, successor}
    ids = dict(rows(engine, room.c.room_id, room.c.id))
    assert dict(rows(engine, room.c.room_id, room.c.predecessor))[successor] == ids[room_id]
    states = dict(rows(engine, room.c.room_id, room.c.state))
    assert states == {room_id: "upgraded", successor: "joined"}


@pytest.mark.parametrize("version", ["5", "10", "11", "12"])
async def test_rooms_of_every_version_are_measured(
    lab: Lab, engine: Engine, owner: Member, version: str
) -> None:
    room_id = await owner.create_room(room_version=version)
    account = await lab.register(lab.homeservers[1], f"version{version}")
    alias = f"#v{version}:{owner.server}"
    await owner.call("PUT", f"directory/room/{alias.replace('#', '%23')}", room_id=room_id)
    async with listening(lab, engine, account, [alias]):
        await until(lambda: synced(engine))
        kept = await owner.ping(room_id)
        taken_back = await owner.pong(room_id, kept)
        await owner.pong(room_id, await owner.ping(room_id))
        await until(lambda: count(engine, sample) == 2)
        await owner.redact(room_id, taken_back)
        await until(lambda: count(engine, sample) == 1)
    assert rows(engine, room.c.room_id, room.c.alias) == [(room_id, alias)]


async def test_pinging_stops_while_kicked_and_while_denied(
    lab: Lab, engine: Engine, owner: Member
) -> None:
    kicks, denies = await owner.create_room(), await owner.create_room()
    account = await lab.register(lab.homeservers[0], "unwanted")
    second = {"interval": timedelta(seconds=1)}
    async with listening(lab, engine, account, [kicks, denies], **second):
        await until(lambda: count(engine, ping) >= 2)
        await owner.call("POST", f"rooms/{kicks}/kick", user_id=account.user_id)
        powers = await owner.call("GET", f"rooms/{denies}/state/m.room.power_levels/")
        await owner.state(denies, "m.room.power_levels", **{**powers, "events_default": 50})

        def states() -> dict[str, str]:
            return dict(rows(engine, room.c.room_id, room.c.state))

        await until(lambda: states() == {kicks: "left", denies: "denied"})
        number = count(engine, ping)
        await asyncio.sleep(2.5)
        assert count(engine, ping) == number


async def test_invites_are_not_accepted(lab: Lab, engine: Engine, owner: Member) -> None:
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "popular")
    async with listening(lab, engine, account, [room_id]):
        for _ in range(3):
            await owner.create_room(invite=[account.user_id])
        await owner.pong(room_id, await owner.ping(room_id))
        await until(lambda: count(engine, sample) == 1)
    joined = await Member(owner._http, account).call("GET", "joined_rooms")
    assert joined["joined_rooms"] == [room_id]


async def test_a_server_that_answered_before_is_expected_to_answer_again(
    lab: Lab, engine: Engine
) -> None:
    account = await lab.register(lab.homeservers[0], "expecting")
    second = {"interval": timedelta(seconds=1), "backfill": timedelta(0)}
    hs2 = lab.homeservers[1].name
    try:
        async with listening(lab, engine, account, [lab.room_alias], **second):
            await until(lambda: count(engine, sample) >= 6)
            lab.network.hold(hs2, lab.homeservers[0].name)

            def missing() -> int:
                return count(engine, unanswered)

            await until(lambda: missing() >= 2)
            lab.network.release(hs2, lab.homeservers[0].name)
            held = missing()
            await until(lambda: missing() < held)
    finally:
        lab.network.release(hs2, lab.homeservers[0].name)
    assert rows(engine, worker.c.vantage, worker.c.state) == [("test", "stopped")]


async def test_a_token_that_is_revoked_ends_the_worker_with_a_reason(
    lab: Lab, engine: Engine, owner: Member
) -> None:
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "revoked")
    async with listening(lab, engine, account, [room_id]) as task:
        await until(lambda: synced(engine))
        await Member(owner._http, account).call("POST", "logout")
        await asyncio.wait([task], timeout=40)
        with pytest.raises(AccountLostError, match="PINGBOARD_ACCESS_TOKEN"):
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


async def test_where_history_can_not_be_had_pongs_are_found_by_their_relation(
    lab: Lab, engine: Engine, owner: Member
) -> None:
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "relating")
    async with listening(lab, engine, account, [room_id]):
        question = await owner.ping(room_id)
        await until(lambda: owner.server in ping_servers(engine) and count(engine, ping) == 2)
    claims = {"event_id": question, "ms": 70, "from": owner.server}
    relation = {"rel_type": "xyz.maubot.pong", **claims}
    await owner.send(room_id, {"msgtype": "m.notice", "body": "x", "m.relates_to": relation})
    # A gap whose token our homeserver does not understand, and no other way to that pong.
    gone = Gap(room_id, "no-such-token", "no-such-token", None, time.time_ns() // 1_000_000)
    position = Ingest(engine, account.user_id)
    credentials = Account(account.homeserver_url, account.user_id, account.access_token)
    session_now = await Session.open(credentials)
    position.record(Batch(gaps=[gone]), await session_now.position())
    await session_now.aclose()
    async with listening(lab, engine, account, [room_id]):
        await until(lambda: count(engine, sample) == 1)
    assert rows(engine, sample.c.one_way_ms) == [(70,)]
    faults = [fault for (fault,) in rows(engine, gap.c.fault) if fault]
    assert len(faults) == 1
    assert "M_" in faults[0]


async def test_a_pong_that_waits_since_an_earlier_run_is_decided_without_a_gap(
    lab: Lab, engine: Engine, owner: Member
) -> None:
    room_id = await owner.create_room()
    question = await owner.ping(room_id)
    account = await lab.register(lab.homeservers[0], "waiting")
    async with listening(lab, engine, account, [room_id], backfill=timedelta(0)):
        await until(lambda: all(row[0] for row in rows(engine, gap.c.closed_ts)) and synced(engine))
    # Its ping is older than what is imported, and the run ended before it was looked up.
    now_ts = time.time_ns() // 1_000_000
    answer = Pong("$kept", room_id, "bot.example", question, None, 40, now_ts, now_ts)
    position = Ingest(engine, account.user_id)
    position.record(Batch(pending=[Pending(answer, Provenance.LIVE)]))
    async with listening(lab, engine, account, [room_id]):
        await until(lambda: (40,) in rows(engine, sample.c.one_way_ms))
    assert count(engine, pending) == 0
