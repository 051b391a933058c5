"""What is a ping, in a real room: as maubot reads a message, live and filled in."""

from __future__ import annotations

from typing import Any

from faults.claims import until
from pingboard.lab import Lab
from pingboard.store.engine import Engine
from pingboard.store.schema import sample
from tests.databases import count_rows
from tests.matrix.listening import listening, rejections, synced
from tests.matrix.room_client import Member


def text(body: str, **more: Any) -> dict[str, Any]:
    return {"msgtype": "m.text", "body": body, **more}


async def say_what_maubot_answers(owner: Member, room_id: str) -> list[str]:
    """Events that maubot takes for pings; the last one is redacted."""
    first = await owner.send(room_id, text("!PING"))
    edit = {"rel_type": "m.replace", "event_id": first}
    reply = {"m.in_reply_to": {"event_id": first}}
    return [
        first,
        await owner.send(room_id, text("!Ping hello")),
        await owner.send(
            room_id, text("* edited", **{"m.relates_to": edit, "m.new_content": text("!ping")})
        ),
        await owner.send(room_id, text("> <@a:b> hello\n\n!ping", **{"m.relates_to": reply})),
        await owner.ping(room_id),
    ]


async def test_what_maubot_answers_is_a_ping_when_heard_live(
    lab: Lab, engine: Engine, owner: Member
) -> None:
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "as-maubot")
    async with listening(lab, engine, account, [room_id]):
        await until(lambda: synced(engine))
        pings = await say_what_maubot_answers(owner, room_id)
        for event_id in pings[:-1]:
            await owner.pong(room_id, event_id)
        await until(lambda: count_rows(engine, sample) == len(pings) - 1)
        await owner.redact(room_id, pings[-1])
        await owner.pong(room_id, pings[-1])
        await until(lambda: count_rows(engine, sample) == len(pings))
        await owner.pong(room_id, await owner.send(room_id, text("!ping\nhello")))
        await until(lambda: rejections(engine) == {"not_a_ping": 1})


async def test_a_redacted_ping_is_still_a_ping_when_read_in_history(
    lab: Lab, engine: Engine, owner: Member
) -> None:
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "filling-in")
    pings = await say_what_maubot_answers(owner, room_id)
    for event_id in pings:
        await owner.pong(room_id, event_id)
    await owner.redact(room_id, pings[-1])
    async with listening(lab, engine, account, [room_id]):
        await until(lambda: count_rows(engine, sample) == len(pings))
    assert rejections(engine) == {}
