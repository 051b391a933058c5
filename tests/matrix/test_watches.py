"""`!pingboard watch`, and what a room is sent."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from faults.claims import now_ts
from faults.user import make_event
from pingboard.boards import Boards
from pingboard.matrix.bot import CommandBot, WatchBot
from pingboard.matrix.store_writer import Writer
from pingboard.model import to_ts
from pingboard.store.ingest import Ingest
from pingboard.store.watches import (
    MAX_WATCHES,
    Watch,
    add_watch,
    move_watches,
    read_watches,
)
from tests.matrix.kept_messages import KeptMessages
from tests.web.site import NOW, ROOM, make_answers, make_hourly, open_store, record


async def test_a_room_watches_and_unwatches(tmp_path: Path) -> None:
    engine = open_store(tmp_path)
    writer, session = Writer(engine, Ingest(engine, "test")), KeptMessages()
    now = 0.0
    bot = CommandBot(Boards(engine), writer, monotonic=lambda: now)
    task = asyncio.create_task(bot.run(session))  # type: ignore[arg-type]

    async def say(body: str) -> str:
        nonlocal now
        now += 60
        content = {"msgtype": "m.text", "body": body}
        event = make_event(f"${now}", "@a:one.example", content, now_ts())
        bot.hear(event, ROOM, "@pingboard:one.example")
        await bot._queue.join()
        return str(session.sent[-1][1]["body"])

    for name in ("two.example", "more.example:8448", "xn--mnchen-3ya.example"):
        record(engine, make_answers(name, [100]))
    assert "will be told when two.example falls silent" in await say("!pingboard watch two.example")
    assert [watch.homeserver for watch in read_watches(engine)] == ["two.example"]
    assert "no longer watched" in await say("!pingboard UNWATCH two.example")
    assert "was not watched" in await say("!pingboard unwatch two.example")
    assert "!pingboard watch one.example tells" in await say("!pingboard watch <b>")
    assert "For example !pingboard watch one.example" in await say("!pingboard watch")
    assert "No homeserver no.example was ever seen" in await say("!pingboard watch no.example")
    assert "Did you mean two.example?" in await say("!pingboard watch Two.example")
    assert "or more.example:8448?" in await say("!pingboard watch more.example")
    assert "when xn--mnchen-3ya.example falls" in await say("!pingboard watch münchen.example")
    assert "when two.example falls" in await say("!pingboard watch @bot:two.example")
    assert "two.example has no pings" in await say("!pingboard @bot:two.example")
    for number in range(MAX_WATCHES):
        add_watch(engine, Watch(ROOM, f"hs{number}.example", 1))
    assert "watches 20 homeservers already" in await say("!pingboard watch more.example:8448")
    task.cancel()
    writer.close()
    engine.dispose()


def test_the_room_that_replaces_a_room_has_its_watches(tmp_path: Path) -> None:
    engine = open_store(tmp_path)
    for watch in (Watch(ROOM, "one.example", 1), Watch(ROOM, "two.example", 1)):
        add_watch(engine, watch)
    kept = Watch("!new:one.example", "two.example", 2)
    add_watch(engine, kept)
    for _ in range(2):
        move_watches(engine, ROOM, kept.room_id)
    assert read_watches(engine) == [Watch(kept.room_id, "one.example", 1), kept]
    engine.dispose()


async def test_a_room_is_sent_once_a_day_what_is_new(tmp_path: Path) -> None:
    engine = open_store(tmp_path)
    for number in range(4):
        record(engine, make_hourly(f"hs{number}.example", lambda _: 400))
    # From two days before its end on it takes twice as long.
    record(engine, make_hourly("slow.example", lambda hour: 400 if hour < 5 * 24 else 800))
    writer, session = Writer(engine, Ingest(engine, "test")), KeptMessages()
    bot = WatchBot(Boards(engine), writer)
    asked_ts = to_ts(NOW - timedelta(days=6))
    for name in ("hs1.example", "slow.example", "nobody.example"):
        add_watch(engine, Watch(ROOM, name, asked_ts))
    for _ in range(2):
        await bot.tell_due(session, NOW)  # type: ignore[arg-type]
    await bot.tell_due(session, NOW + timedelta(days=1, minutes=1))  # type: ignore[arg-type]
    assert [content["body"] for _, content in session.sent] == [
        "slow.example: twice as slow since 10 Oct, 00:00 UTC."
    ]
    writer.close()
    engine.dispose()
