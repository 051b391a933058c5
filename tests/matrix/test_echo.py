"""`pingboard echo` in rooms that let it in late, remove it, or are encrypted."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from time import monotonic
from typing import Any

from pingboard.lab import Lab, LabAccount
from tests.commands import account_settings, end_of, read_until, running, start
from tests.matrix.room_client import Member


async def messages(owner: Member, room_id: str, sender: LabAccount) -> list[dict[str, Any]]:
    page = await owner.call("GET", f"rooms/{room_id}/messages?dir=b&limit=50")
    return [
        event
        for event in page["chunk"]
        if event["sender"] == sender.user_id and event["type"] == "m.room.message"
    ]


async def until_answered(owner: Member, room_id: str, bot: LabAccount, ping: str) -> dict[str, Any]:
    """The pong to a ping."""
    async with asyncio.timeout(120):
        while True:
            for event in await messages(owner, room_id, bot):
                if event["content"]["pong"]["ping"] == ping:
                    return event
            await asyncio.sleep(0.2)


async def test_an_encrypted_room_is_named_and_nothing_is_sent_there(
    lab: Lab, owner: Member, tmp_path: Path
) -> None:
    bot = await lab.register(lab.homeservers[0], "encrypted-echo")
    room_id = await owner.create_room()
    await owner.set_state(room_id, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})
    process = await start("echo", account_settings(bot, room_id), tmp_path)
    await owner.ping(room_id)
    ended = await end_of(process)
    assert ended.code == 1
    lines = ended.stderr.splitlines()
    assert len(lines) == 2, ended.stderr
    assert "the room is encrypted" in lines[0]
    assert lines[1] == "pingboard: no room of PINGBOARD_ROOMS is left to answer pings in"
    assert await messages(owner, room_id, bot) == []


async def test_a_bot_that_is_removed_from_a_room_says_so_and_goes_on_in_the_others(
    lab: Lab, owner: Member, tmp_path: Path
) -> None:
    bot = await lab.register(lab.homeservers[0], "kicked-echo")
    first, second = await owner.create_room(), await owner.create_room()
    process = await start("echo", account_settings(bot, f"{first} {second}"), tmp_path)
    said = await read_until(process, "answering pings")
    if said.count("answering pings") < 2:
        await read_until(process, "answering pings")
    await owner.call("POST", f"rooms/{first}/kick", {"user_id": bot.user_id})
    await read_until(process, "removed from the room")
    await until_answered(owner, second, bot, await owner.ping(second))
    await owner.call("POST", f"rooms/{second}/ban", {"user_id": bot.user_id})
    ended = await end_of(process)
    assert ended.code == 1
    assert "no room of PINGBOARD_ROOMS is left" in ended.stderr


async def test_a_room_that_lets_the_bot_in_late_is_answered_in_but_no_ping_from_before(
    lab: Lab, owner: Member, tmp_path: Path
) -> None:
    bot = await lab.register(lab.homeservers[0], "late-echo")
    there = await owner.create_room()
    late = await owner.create_room(room_alias_name=(name := f"late-{uuid.uuid4().hex[:8]}"))
    await owner.set_state(late, "m.room.join_rules", {"join_rule": "invite"})
    rooms = f"{there} #{name}:{owner.server}"
    async with running("echo", account_settings(bot, rooms), tmp_path) as process:
        said = await read_until(process, "waiting")
        assert f"to join #{name}" in said
        await until_answered(owner, there, bot, await owner.ping(there))
        before = await owner.ping(late)
        await owner.set_state(late, "m.room.join_rules", {"join_rule": "public"})
        await read_until(process, "no longer waiting")
        begin = monotonic()
        after = await owner.ping(late)
        pong = await until_answered(owner, late, bot, after)
        took_ms = (monotonic() - begin) * 1000
    assert pong["content"]["pong"]["ms"] <= took_ms
    answered = [message["content"]["pong"]["ping"] for message in await messages(owner, late, bot)]
    assert before not in answered
