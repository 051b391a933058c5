"""Real rooms: of every version, upgraded, taken away from us."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta
from urllib.parse import quote

import aiohttp
import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from faults.claims import until
from faults.faultproxy import Answer, FaultProxy, Forward, answer, delayed
from pingboard.lab import Lab
from pingboard.matrix import rooms
from pingboard.store.engine import Engine
from pingboard.store.schema import (
    ping,
    room,
    sample,
    unanswered,
)
from tests.databases import count_rows
from tests.matrix.listening import listening, never_stall, rows, synced
from tests.matrix.room_client import Member


def moved_to(room_id: str) -> dict[str, str]:
    """The content of a tombstone."""
    return {"body": "moved", "replacement_room": room_id}


async def test_an_upgrade_is_followed_and_a_false_tombstone_is_not(
    lab: Lab, engine: Engine, owner: Member
) -> None:
    room_id = await owner.create_room()
    stranger = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "follower")
    async with listening(lab, engine, account, [room_id], interval=timedelta(seconds=1)):
        await until(lambda: count_rows(engine, ping) >= 1)
        await owner.set_state(room_id, "m.room.tombstone", moved_to(stranger))
        successor = await owner.upgrade(room_id)
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


async def test_a_tombstone_leads_out_of_no_room_that_is_measured_in(
    lab: Lab, engine: Engine, owner: Member
) -> None:
    first, second = await owner.create_room(), await owner.create_room()
    account = await lab.register(lab.homeservers[0], "steadfast")
    await owner.set_state(first, "m.room.tombstone", moved_to(second))
    with capture_logs() as lines:
        async with listening(lab, engine, account, [first, second]):
            await until(lambda: "tombstone ignored" in str(lines))
    joined = f"rooms/{quote(second)}/joined_members"
    assert account.user_id in (await owner.call("GET", joined))["joined"]


async def test_a_room_that_was_joined_again_meanwhile_is_pinged_on(
    lab: Lab, engine: Engine, owner: Member
) -> None:
    """The first sync says that the account was kicked, and comes after it has joined again."""
    other, room_id = await owner.create_room(), await owner.create_room()
    account = await lab.register(lab.homeservers[0], "readmitted")
    async with FaultProxy(account.homeserver_url) as proxy:
        behind = dataclasses.replace(account, homeserver_url=proxy.url)
        async with listening(lab, engine, behind, [other, room_id]):
            await until(lambda: count_rows(engine, room) == 2 and synced(engine))
            await owner.pong(room_id, await owner.ping(room_id), 0)
            await until(lambda: (0,) in rows(engine, sample.c.one_way_ms))
        await owner.pong(room_id, await owner.ping(room_id), 1)
        await owner.call("POST", f"rooms/{room_id}/kick", {"user_id": account.user_id})
        await owner.pong(room_id, await owner.ping(room_id), 2)

        async def is_told_late(forward: Forward) -> Answer:
            told = await forward()
            await until(lambda: room_id in joined_again)
            await asyncio.sleep(1)
            return told

        async def is_noted(forward: Forward) -> Answer:
            await until(lambda: first_sync.hits)
            await asyncio.sleep(1)  # until it has come to the homeserver
            told = await forward()
            joined_again.append(room_id)
            return told

        joined_again: list[str] = []
        proxy.inject(f"/join/.*{room_id[1:10]}", is_noted)
        first_sync = proxy.inject("/sync", is_told_late, times=1)
        second = {"interval": timedelta(seconds=1), "backfill": timedelta(0)}
        async with listening(lab, engine, behind, [other, room_id], **second):
            ids = dict(rows(engine, room.c.room_id, room.c.id))
            await until(lambda: rows(engine, ping.c.room).count((ids[room_id],)) > 5)
            # What happened before it was kicked, and until it was back.
            await until(lambda: {(1,), (2,)} <= set(rows(engine, sample.c.one_way_ms)))
    assert dict(rows(engine, room.c.room_id, room.c.state))[room_id] == "joined"


async def test_an_upgrade_that_was_found_when_joining_is_not_followed_again(
    lab: Lab, engine: Engine, owner: Member
) -> None:
    room_id = await owner.create_room()
    alias = f"#moving:{owner.server}"
    await owner.call("PUT", f"directory/room/{quote(alias)}", {"room_id": room_id})
    account = await lab.register(lab.homeservers[0], "told-twice")
    async with listening(lab, engine, account, [alias]):
        await until(lambda: synced(engine))
    successor = await owner.upgrade(room_id)
    powers = await owner.state(successor, "m.room.power_levels")
    await owner.set_state(successor, "m.room.power_levels", {**powers, "events_default": 50})
    with capture_logs() as lines:
        async with listening(lab, engine, account, [alias]):
            wanted = {room_id: "upgraded", successor: "denied"}
            await until(lambda: dict(rows(engine, room.c.room_id, room.c.state)) == wanted)
            asked = await owner.ping(room_id)
            await until(lambda: (asked,) in rows(engine, ping.c.event))
            assert dict(rows(engine, room.c.room_id, room.c.state)) == wanted
    assert "followed an upgrade" not in str(lines)


async def test_a_room_takes_over_the_one_it_names_only_once_that_has_a_tombstone(
    lab: Lab, engine: Engine, owner: Member
) -> None:
    popular = await owner.create_room()
    predecessor = {"room_id": popular, "event_id": "$last"}
    claimant = await owner.create_room(creation_content={"predecessor": predecessor})
    account = await lab.register(lab.homeservers[0], "watcher")
    async with listening(lab, engine, account, [popular]):
        await until(lambda: synced(engine))
    async with listening(lab, engine, account, [popular, claimant]):
        await until(lambda: len(rows(engine, room.c.room_id)) == 2)
        assert {row[0] for row in rows(engine, room.c.predecessor)} == {None}
        assert {row[0] for row in rows(engine, room.c.state)} == {"joined"}
        await owner.set_state(popular, "m.room.tombstone", moved_to(claimant))
        await until(lambda: (popular, "upgraded") in rows(engine, room.c.room_id, room.c.state))
    ids = dict(rows(engine, room.c.room_id, room.c.id))
    assert dict(rows(engine, room.c.room_id, room.c.predecessor))[claimant] == ids[popular]


async def test_a_room_that_replaced_ours_while_we_were_away_takes_it_over(
    lab: Lab, engine: Engine, owner: Member
) -> None:
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "rejoining")
    async with listening(lab, engine, account, [room_id]):
        await until(lambda: synced(engine))
    successor = await owner.upgrade(room_id)
    async with listening(lab, engine, account, [successor]):
        await until(lambda: (successor, "joined") in rows(engine, room.c.room_id, room.c.state))
    ids = dict(rows(engine, room.c.room_id, room.c.id))
    assert dict(rows(engine, room.c.room_id, room.c.predecessor))[successor] == ids[room_id]


@pytest.mark.parametrize("version", ["5", "10", "11", "12"])
async def test_pongs_and_redactions_are_recorded_in_old_and_new_room_versions(
    lab: Lab, engine: Engine, owner: Member, version: str
) -> None:
    room_id = await owner.create_room(room_version=version)
    account = await lab.register(lab.homeservers[1], f"version{version}")
    alias = f"#v{version}:{owner.server}"
    await owner.call("PUT", f"directory/room/{quote(alias)}", {"room_id": room_id})
    async with listening(lab, engine, account, [alias]):
        await until(lambda: synced(engine))
        kept = await owner.ping(room_id)
        redacted = await owner.pong(room_id, kept)
        await owner.pong(room_id, await owner.ping(room_id))
        await until(lambda: count_rows(engine, sample) == 2)
        await owner.redact(room_id, redacted)
        await until(lambda: count_rows(engine, sample) == 1)
    assert rows(engine, room.c.room_id, room.c.alias) == [(room_id, alias)]


async def test_pinging_stops_while_kicked_and_while_denied(
    lab: Lab, engine: Engine, owner: Member
) -> None:
    kicks, denies = await owner.create_room(), await owner.create_room()
    account = await lab.register(lab.homeservers[0], "unwanted")
    second = {"interval": timedelta(seconds=1)}
    async with FaultProxy(account.homeserver_url) as proxy:
        behind = dataclasses.replace(account, homeserver_url=proxy.url)
        async with listening(lab, engine, behind, [kicks, denies], **second):
            await until(lambda: count_rows(engine, ping) >= 2)
            await owner.call("POST", f"rooms/{kicks}/kick", {"user_id": account.user_id})
            powers = await owner.state(denies, "m.room.power_levels")
            await owner.set_state(denies, "m.room.power_levels", {**powers, "events_default": 50})

            def states() -> dict[str, str]:
                return dict(rows(engine, room.c.room_id, room.c.state))

            await until(lambda: states() == {kicks: "left", denies: "denied"})
            # Nor is one tried, to be refused.
            tried = proxy.count("send")
            await asyncio.sleep(2.5)
            assert proxy.count("send") == tried


async def test_invites_are_not_accepted(
    lab: Lab, engine: Engine, owner: Member, http: aiohttp.ClientSession
) -> None:
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "popular")
    async with listening(lab, engine, account, [room_id]):
        for _ in range(3):
            await owner.create_room(invite=[account.user_id])
        await owner.pong(room_id, await owner.ping(room_id))
        await until(lambda: count_rows(engine, sample) == 1)
    joined = await Member(http, account).call("GET", "joined_rooms")
    assert joined["joined_rooms"] == [room_id]


async def test_an_upgrade_whose_join_fails_is_followed_later(
    lab: Lab, engine: Engine, owner: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "RETRY_S", 0.1)
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "persistent")
    async with FaultProxy(account.homeserver_url) as proxy:
        behind = dataclasses.replace(account, homeserver_url=proxy.url)
        async with listening(lab, engine, behind, [room_id]):
            await until(lambda: synced(engine))
            refused = {"errcode": "M_FORBIDDEN", "error": "not yet"}
            joining = proxy.inject("/join/", answer(403, refused), times=2)
            successor = await owner.upgrade(room_id)
            await until(lambda: (successor,) in rows(engine, room.c.room_id))
    assert joining.hits == 2


async def test_members_that_can_not_be_asked_for_are_asked_for_later_and_losses_counted(
    lab: Lab, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_stall(monkeypatch)
    monkeypatch.setattr(rooms, "RETRY_S", 0.1)
    account = await lab.register(lab.homeservers[0], "unlisted")
    second = {"interval": timedelta(seconds=1), "backfill": timedelta(0)}
    hs2 = lab.homeservers[1].name
    async with FaultProxy(account.homeserver_url) as proxy:
        behind = dataclasses.replace(account, homeserver_url=proxy.url)
        asked = proxy.inject("/joined_members", answer(500))
        try:
            async with listening(lab, engine, behind, [lab.room_alias], **second):
                await until(lambda: count_rows(engine, sample) >= 6)
                lab.network.hold(hs2)
                await until(lambda: count_rows(engine, unanswered) >= 3)
                assert asked.hits > 1
                proxy.clear()
                answered = proxy.inject("/joined_members", delayed(0))
                await until(lambda: answered.hits)
        finally:
            lab.network.release(hs2)
