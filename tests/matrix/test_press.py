"""An edition that closes is announced in its room, once, if the operator wants it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from pingboard.boards import Boards
from pingboard.lab import Lab
from pingboard.matrix.press import Press
from pingboard.matrix.session import Account, Session
from pingboard.matrix.writer import Writer
from pingboard.model import Batch, Sample
from pingboard.schedule import parse_schedule
from pingboard.store.engine import migrate, open_engine
from pingboard.store.ingest import Ingest
from tests.matrix.room_client import new_member
from tests.samples import make_ping, make_pong

FRIDAY = datetime(2026, 5, 29, 12, 15, tzinfo=UTC)
"""A quarter of an hour after an edition closed, and the day after `START_TS`."""


@pytest.mark.parametrize("announces", [True, False])
async def test_an_edition_is_announced_once_and_only_if_wanted(
    lab: Lab, tmp_path: Path, announces: bool
) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/pingboard.db")
    migrate(engine)
    ingest = Ingest(engine, "press")
    schedule = parse_schedule("Fri 12:00 UTC")
    assert schedule is not None
    async with aiohttp.ClientSession() as http:
        owner = await new_member(http, lab)
        room_id = await owner.create_room()
        ping = make_ping(1, room_id=room_id, vantage="main")
        ingest.record_room(room_id)
        ingest.record(Batch(samples=[Sample(ping, make_pong(ping, "fast.example"), 120)]))
        account = owner.account
        credentials = Account(account.homeserver_url, account.user_id, account.access_token)
        session, writer = await Session.open(credentials), Writer(engine, ingest)
        press = Press(Boards(engine), writer, schedule, announces=announces)
        for _ in range(2):
            await press.make_due(session, FRIDAY)
        path = f"rooms/{room_id}/messages?dir=b&limit=10"
        chunk = (await owner.call("GET", path))["chunk"]
        await session.aclose()
        writer.close()
    said = [event["content"] for event in chunk if event["type"] == "m.room.message"]
    assert len(said) == (1 if announces else 0)
    if announces:
        assert said[0]["msgtype"] == "m.notice"
        assert "1. fast.example: 120 ms" in said[0]["body"]
    engine.dispose()
