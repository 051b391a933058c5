"""`!pingboard` and announcements: who is answered, how often, and what; also in a real room."""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine

from faults.user import make_event
from pingboard.boards import Boards
from pingboard.edition_schedule import parse_schedule
from pingboard.lab import Lab
from pingboard.matrix import bot as bot_module
from pingboard.matrix.bot import (
    BURST,
    REFILL_S,
    Command,
    CommandBot,
    EditionBot,
    describe_homeserver,
    describe_top,
    make_notice,
    read_command,
)
from pingboard.matrix.session import Account, Session
from pingboard.matrix.store_writer import Writer
from pingboard.model import Batch, Board, BoardName, Sample, Standing, Window, to_ts
from pingboard.store.editions import read_edition_names
from pingboard.store.engine import Engine
from pingboard.store.ingest import Ingest
from tests.commands import account_settings, running
from tests.matrix.kept_messages import KeptMessages
from tests.matrix.room_client import Member
from tests.samples import make_ping, make_pong

NOW = datetime(2026, 10, 12, tzinfo=UTC)
ROOM = "!room"


def event(body: str, **changes: Any) -> dict[str, Any]:
    content = {"msgtype": "m.text", "body": body} | changes.pop("content", {})
    return make_event("$event", "@a:one.example", content, 1000) | changes


@pytest.mark.parametrize(
    ("body", "argument"),
    [
        ("!pingboard", ""),
        (" !pingboard \n", ""),
        ("!pingboard help", "help"),
        ("!pingboard  [::1]:8448", "[::1]:8448"),
    ],
)
def test_pingboard_with_or_without_an_argument_is_a_command(body: str, argument: str) -> None:
    assert read_command(event(body), ROOM, 1000) == Command(ROOM, "$event", argument)


@pytest.mark.parametrize(
    "ignored",
    [
        event("!pingboards"),
        event("please !pingboard"),
        event("!pingboard", content={"msgtype": "m.notice"}),
        event("!pingboard", content={"pong": {"ms": 1}}),
        event("!pingboard", content={"m.relates_to": {"rel_type": "m.replace"}}),
        event("!pingboard", content={"body": 7}),
        event("!pingboard") | {"content": "!pingboard"},
        event("!pingboard", origin_server_ts=1000 - 60_001),
        event("!pingboard", origin_server_ts="now"),
        event("!pingboard", event_id=None),
        event("!pingboard", type="m.room.topic"),
    ],
)
def test_only_a_new_message_of_a_person_is_a_command(ignored: dict[str, Any]) -> None:
    assert read_command(ignored, ROOM, 1000) is None


async def test_answers_are_limited_and_never_go_to_ourselves(engine: Engine) -> None:
    now = 0.0
    writer = Writer(engine, Ingest(engine, "test"))
    commands, session = CommandBot(Boards(engine), writer, monotonic=lambda: now), KeptMessages()
    task = asyncio.create_task(commands.run(session))  # type: ignore[arg-type]

    async def answers(room_id: str, count: int, sender: str = "@a:one.example") -> int:
        session.sent.clear()
        for number in range(count):
            fresh = event("!pingboard help", sender=sender, event_id=f"${now}{number}")
            fresh["origin_server_ts"] = time.time_ns() // 1_000_000
            commands.hear(fresh, room_id, "@pingboard:one.example")
        await commands._queue.join()
        return len([message for message in session.sent if message[0] == room_id])

    assert await answers("!a", BURST + 5) == BURST
    assert await answers("!a", 2) == 0
    assert await answers("!b", 1, "@pingboard:one.example") == 0
    assert await answers("!b", 1) == 1
    now += REFILL_S
    assert await answers("!a", 2) == 1
    assert session.sent[0][1]["msgtype"] == "m.notice"
    task.cancel()
    writer.close()


def board(name: BoardName, *rows: tuple[str, float]) -> Board:
    standings = [
        Standing(rank, server, ms, 0, 0, 0, 0, 0, 7) for rank, (server, ms) in enumerate(rows, 1)
    ]
    return Board(ROOM, None, name, Window.named("7d", NOW), NOW, 1, standings)


def test_without_an_argument_the_first_five_of_the_first_board_with_samples_are_named() -> None:
    many = board(BoardName.DELIVERY, *[(f"s{i}.example", 100 + i / 2) for i in range(9)])
    body = describe_top([board(BoardName.RESPONSE), many])["body"]
    assert body.splitlines()[1:] == [
        "- 1. s0.example: 100 ms",
        "- 2. s1.example: 100.5 ms",
        "- 3. s2.example: 101 ms",
        "- 4. s3.example: 101.5 ms",
        "- 5. s4.example: 102 ms",
    ]


def test_a_standing_names_each_board_and_html_is_escaped() -> None:
    boards = [board(BoardName.RESPONSE, ("a.example", 5), ("b.example", 512.5))]
    assert (
        "response: 2 of 2, 512.5 ms over 7 pongs"
        in describe_homeserver("b.example", boards)["body"]
    )
    assert "no pings or pongs" in describe_homeserver("c.example", boards)["body"]
    assert "<b>" not in make_notice("<b>", ["<b>"])["formatted_body"]


async def test_a_real_room_gets_an_answer(lab: Lab, owner: Member, tmp_path: Path) -> None:
    account = await lab.register(lab.homeservers[0], "commanded")
    name = lab.homeservers[1].server_name
    settings = account_settings(account, lab.room_alias) | {"INTERVAL": "1s"}
    async with running("worker", settings, tmp_path):
        await owner.join(lab.room_id)
        said: list[str] = []
        # Not until a round trip is kept: those that this machine is too busy for are void.
        async with asyncio.timeout(240):
            while "response: " not in "".join(said):
                await owner.send(lab.room_id, {"msgtype": "m.text", "body": f"!pingboard {name}"})
                await asyncio.sleep(2)
                page = await owner.call("GET", f"rooms/{lab.room_id}/messages?dir=b&limit=50")
                said = [
                    event["content"]["body"]
                    for event in page["chunk"]
                    if event["sender"] == account.user_id
                    and event["content"].get("msgtype") == "m.notice"
                ]
    assert any(text.startswith(f"{name} in the past week") for text in said)


FRIDAY = datetime(2026, 5, 29, 12, 15, tzinfo=UTC)
"""A quarter of an hour after an edition closed, and the day after `START_TS`."""


@pytest.mark.parametrize("announces", [True, False])
async def test_an_edition_is_announced_once_and_only_if_wanted(
    engine: Engine, owner: Member, announces: bool
) -> None:
    ingest = Ingest(engine, "bot")
    schedule = parse_schedule("Fri 12:00 UTC")
    assert schedule is not None
    room_id = await owner.create_room()
    ping = make_ping(1, room_id=room_id, vantage="main")
    ingest.record_room(room_id)
    ingest.record(Batch(samples=[Sample(ping, make_pong(ping, "fast.example"), 120)]))
    account = owner.account
    credentials = Account(account.homeserver_url, account.user_id, account.access_token)
    session, writer = await Session.open(credentials), Writer(engine, ingest)
    bot = EditionBot(Boards(engine), writer, schedule, announces=announces)
    for _ in range(2):
        await bot.make_due(session, FRIDAY)
    path = f"rooms/{room_id}/messages?dir=b&limit=10"
    chunk = (await owner.call("GET", path))["chunk"]
    await session.aclose()
    writer.close()
    said = [event["content"] for event in chunk if event["type"] == "m.room.message"]
    assert len(said) == (1 if announces else 0)
    if announces:
        assert said[0]["msgtype"] == "m.notice"
        assert "1. fast.example: 120 ms" in said[0]["body"]


class CountedEditionBot(EditionBot):
    """One that says when it has looked."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.has_looked = asyncio.Event()

    async def make_due(self, session: Session | None, now: datetime) -> None:
        await super().make_due(session, now)
        self.has_looked.set()


@pytest.mark.parametrize(("is_over", "editions"), [(False, 0), (True, 1)])
async def test_a_clock_that_is_set_ahead_closes_no_week_that_is_not_over(
    lab: Lab, engine: Engine, monkeypatch: pytest.MonkeyPatch, is_over: bool, editions: int
) -> None:
    monkeypatch.setattr(bot_module, "EDITION_CHECK_S", 0.0)
    now = datetime.now(UTC)
    close = now + timedelta(hours=-1 if is_over else 1)
    heard_ts = to_ts(close - timedelta(hours=2))
    ping = make_ping(1, seen_ts=heard_ts, origin_server_ts=heard_ts, vantage="main")
    ingest = Ingest(engine, "bot")
    ingest.record(Batch(samples=[Sample(ping, make_pong(ping), 120)]))
    schedule = parse_schedule(f"{close:%A %H:%M} UTC")
    assert schedule is not None
    account = await lab.register(lab.homeservers[0], f"clock-{uuid.uuid4().hex[:8]}")
    credentials = Account(account.homeserver_url, account.user_id, account.access_token)
    session, writer = await Session.open(credentials), Writer(engine, ingest)
    await session.sync(None, {}, 0)
    bot = CountedEditionBot(Boards(engine), writer, schedule, announces=False)
    with time_machine.travel(now + timedelta(days=1)):
        running = asyncio.create_task(bot.run(session))
        await bot.has_looked.wait()
        running.cancel()
    await session.aclose()
    writer.close()
    assert len(read_edition_names(engine)) == editions
