"""Editions: made once, at their time, and never changed."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import delete

from pingboard.boards import Boards
from pingboard.edition_schedule import Schedule
from pingboard.editions import GRACE
from pingboard.matrix.bot import EditionBot
from pingboard.matrix.store_writer import Writer
from pingboard.model import Batch, BoardName, Gap, Sample, Window, WorkerState, to_ts
from pingboard.render.markdown import table
from pingboard.store import editions as store
from pingboard.store.engine import Engine
from pingboard.store.ingest import Ingest
from pingboard.store.schema import ping, sample
from pingboard.store.status import record_worker
from tests.samples import make_ping, make_pong
from tests.web.site import serve

ROOM, ALIAS = "!ping:one.example", "#ping:one.example"
CLOSE = datetime(2026, 10, 9, 12, tzinfo=UTC)
LATER = CLOSE + timedelta(minutes=12)
ATOM = "{http://www.w3.org/2005/Atom}"


def pongs(at: datetime, medians: dict[str, int], first: int = 0) -> list[Sample]:
    """A pong of each homeserver to a ping of ours at a time."""
    samples = []
    for number, (server, ms) in enumerate(medians.items(), first):
        ts = to_ts(at) + number
        sent = make_ping(
            number, "ours.example", room_id=ROOM, seen_ts=ts, origin_server_ts=ts, vantage="main"
        )
        samples.append(Sample(sent, make_pong(sent, server, ms), ms))
    return samples


@pytest.fixture
def ingest(engine: Engine) -> Ingest:
    ingest = Ingest(engine, "test")
    ingest.record_room(ROOM, ALIAS)
    return ingest


def make_due(engine: Engine, now: datetime, schedule: Schedule = Schedule()) -> list[str]:  # noqa: B008 (frozen)
    """Make what is due, as the worker does; the names of all there are, the newest first."""
    writer = Writer(engine, Ingest(engine, "test"))
    bot = EditionBot(Boards(engine), writer, schedule, announces=False)
    asyncio.run(bot.make_due(None, now))
    writer.close()
    return list(store.read_edition_names(engine))


def read(engine: Engine, name: str) -> store.Edition:
    edition = store.read_edition(engine, name)
    assert edition is not None
    return edition


def rows(edition: store.Edition, board: str = "response") -> list[dict[str, Any]]:
    (room,) = json.loads(edition.json)["rooms"]
    return list(room["boards"][board]["standings"])


def test_the_boards_of_the_past_week_are_frozen(engine: Engine, ingest: Ingest) -> None:
    ingest.record(Batch([], pongs(CLOSE - timedelta(days=8), {"old.example": 5})))
    week = {"b.example": 513, "a.example:8448": 403}
    ingest.record(Batch([], pongs(CLOSE - timedelta(days=1), week, 10)))
    ingest.record(Batch([], pongs(CLOSE, {"new.example": 5}, 20)))
    assert make_due(engine, LATER) == ["2026-W41", "2026-W40"]
    made = read(engine, "2026-W41")
    board = Boards(engine).board(
        BoardName.RESPONSE, Window(CLOSE - timedelta(days=7), CLOSE), now=LATER
    )
    assert [row["homeserver"] for row in rows(made)] == ["a.example:8448", "b.example"]
    assert made.markdown.startswith("# 2026-W41\n\n2026-10-02 12:00 to 2026-10-09 12:00 UTC\n")
    assert table(board.standings) in made.markdown + "\n"
    document = json.loads(made.json)
    assert document["window"] == {
        "from_at": "2026-10-02T12:00:00.000Z",
        "to_at": "2026-10-09T12:00:00.000Z",
    }
    assert '"median_ms": 403,' in made.json


def test_an_edition_shows_the_movement_since_the_one_before(engine: Engine, ingest: Ingest) -> None:
    before = {"a.example": 10, "b.example": 20}
    ingest.record(Batch([], pongs(CLOSE - timedelta(days=8), before)))
    after = {"a.example": 30, "b.example": 20, "c.example": 25}
    ingest.record(Batch([], pongs(CLOSE - timedelta(days=1), after, 10)))
    make_due(engine, LATER)
    moved = {row["homeserver"]: row["previous_rank"] for row in rows(read(engine, "2026-W41"))}
    assert moved == {"b.example": 2, "c.example": None, "a.example": 1}
    assert {row["previous_rank"] for row in rows(read(engine, "2026-W40"))} == {None}


def test_nothing_changes_a_byte_of_an_edition(engine: Engine, ingest: Ingest) -> None:
    week = {"a.example": 403, "b.example": 513}
    ingest.record(Batch([], pongs(CLOSE - timedelta(days=1), week)))
    make_due(engine, LATER)
    made = read(engine, "2026-W41")
    # A late sample, a redaction of everything, another alias, and an edition of the same name.
    ingest.record(Batch([], pongs(CLOSE - timedelta(days=2), {"late.example": 1}, 50)))
    with engine.begin() as connection:
        connection.execute(delete(sample))
        connection.execute(delete(ping))
    ingest.record_room(ROOM, "#other:one.example")
    store.insert_edition(engine, made._replace(json="{}", markdown=""))
    make_due(engine, LATER + timedelta(days=30))
    assert read(engine, "2026-W41") == made
    with serve(engine) as client:
        for form in ("json", "md"):
            answer = client.get(f"/editions/2026-W41.{form}")
            assert answer.text == (made.json if form == "json" else made.markdown)
            assert "immutable" in answer.headers["cache-control"]


def test_an_edition_waits_for_the_last_pongs_and_up_to_six_hours_for_a_gap(
    engine: Engine, ingest: Ingest
) -> None:
    ingest.record(Batch([], pongs(CLOSE - timedelta(days=1), {"a.example": 403})))
    assert make_due(engine, CLOSE + timedelta(minutes=10)) == []
    gap = Gap(ROOM, "t1", "t0", None, to_ts(CLOSE))
    ingest.record(Batch([], [], gaps=[gap]))
    assert make_due(engine, LATER) == []
    patience = timedelta(hours=6)
    assert make_due(engine, CLOSE + patience - timedelta(seconds=1)) == []
    assert make_due(engine, CLOSE + patience) == ["2026-W41"]


def test_an_edition_waits_up_to_six_hours_for_a_homeserver_that_is_away(
    engine: Engine, ingest: Ingest
) -> None:
    ingest.record(Batch([], pongs(CLOSE - timedelta(days=1), {"a.example": 403})))
    away_ts = to_ts(CLOSE - timedelta(minutes=5))
    record_worker(engine, "main", WorkerState.UNREACHABLE, away_ts, away_ts)
    assert make_due(engine, LATER) == []
    back = CLOSE + timedelta(hours=5)
    assert make_due(engine, back) == []
    # Its answer has come, and may not be stored yet.
    record_worker(engine, "main", WorkerState.RUNNING, to_ts(back), to_ts(CLOSE + GRACE))
    assert make_due(engine, back) == []
    record_worker(engine, "main", WorkerState.RUNNING, to_ts(back), to_ts(back))
    assert make_due(engine, back) == ["2026-W41"]


def test_an_edition_is_made_without_a_homeserver_that_stays_away(
    engine: Engine, ingest: Ingest
) -> None:
    ingest.record(Batch([], pongs(CLOSE - timedelta(days=1), {"a.example": 403})))
    heard_ts, away = to_ts(CLOSE - timedelta(minutes=6)), CLOSE - timedelta(minutes=5)
    record_worker(engine, "main", WorkerState.UNREACHABLE, to_ts(away), heard_ts)
    assert make_due(engine, away + timedelta(hours=6) - timedelta(seconds=1)) == []
    assert make_due(engine, away + timedelta(hours=6)) == ["2026-W41"]


def test_a_worker_that_was_down_for_long_waits_for_its_homeserver_first(
    engine: Engine, ingest: Ingest
) -> None:
    ingest.record(Batch([], pongs(CLOSE - timedelta(days=1), {"a.example": 403})))
    heard_ts, start = to_ts(CLOSE - timedelta(hours=1)), CLOSE + timedelta(hours=9)
    record_worker(engine, "main", WorkerState.STARTING, to_ts(start), heard_ts)
    assert make_due(engine, start + timedelta(minutes=1)) == []


def test_a_week_that_seemed_empty_is_looked_at_again(engine: Engine, ingest: Ingest) -> None:
    ingest.record(Batch([], pongs(CLOSE - timedelta(days=8), {"a.example": 403})))
    writer = Writer(engine, ingest)
    bot = EditionBot(Boards(engine), writer, Schedule(), announces=False)

    async def look() -> None:
        await bot.make_due(None, LATER)
        ingest.record(Batch([], pongs(CLOSE - timedelta(days=1), {"a.example": 403}, 10)))
        await bot.make_due(None, LATER + timedelta(hours=1))

    asyncio.run(look())
    writer.close()
    assert "2026-W41" in store.read_edition_names(engine)


def test_an_edition_knows_a_room_by_all_ids_of_its_lineage(engine: Engine) -> None:
    ingest = Ingest(engine, "test")
    ingest.record_room(ROOM)
    ingest.record(Batch([], pongs(CLOSE - timedelta(days=8), {"a.example": 10}, 10)))
    ingest.record_room("!new:one.example", None, ROOM)
    ingest.record(Batch([], pongs(CLOSE - timedelta(days=1), {"a.example": 20}, 20)))
    make_due(engine, LATER)
    (now,) = rows(read(engine, "2026-W41"))
    assert (now["rank"], now["previous_rank"]) == (1, 1)
    ingest.record(Batch([], pongs(LATER, {"a.example": 20}, 30)))
    with serve(engine, default_room=ROOM) as client:
        (row,) = client.get("/api/v1/rankings").json()["standings"]
        for room_id in (ROOM, "!new:one.example"):
            section = client.get("/section.md", params={"edition": "latest", "room": room_id})
            assert "|1|ours.example|20|" in section.text
    assert row["previous_rank"] == 1


def test_an_edition_keeps_two_rooms_of_what_has_become_one_lineage(engine: Engine) -> None:
    ingest = Ingest(engine, "test")
    other = "!new:one.example"
    for number, (room_id, server) in enumerate([(ROOM, "a.example"), (other, "b.example")]):
        ingest.record_room(room_id)
        samples = pongs(CLOSE - timedelta(days=1), {server: 10}, 10 * number)
        moved = [
            replace(
                of,
                ping=replace(of.ping, room_id=room_id),
                pong=replace(of.pong, room_id=room_id),
            )
            for of in samples
        ]
        ingest.record(Batch([], moved))
    make_due(engine, LATER)
    ingest.record_room(other, None, ROOM)
    with serve(engine) as client:
        for room_id, server in ((ROOM, "a.example"), (other, "b.example")):
            asked = {"edition": "latest", "room": room_id, "board": "response"}
            assert f"|1|{server}|" in client.get("/section.md", params=asked).text


def test_missed_editions_are_made_up_and_silent_weeks_have_none(
    engine: Engine, ingest: Ingest
) -> None:
    for weeks, server in ((5, "a.example"), (3, "b.example"), (0, "c.example")):
        at = CLOSE - timedelta(days=7 * weeks + 1)
        ingest.record(Batch([], pongs(at, {server: 50}, weeks * 10)))
    assert make_due(engine, LATER) == ["2026-W41", "2026-W38", "2026-W36"]
    assert [row["homeserver"] for row in rows(read(engine, "2026-W38"))] == ["b.example"]


@pytest.mark.parametrize(
    "changed",
    [Schedule(0, time(9)), Schedule(6, time(23)), Schedule(4, time(12), ZoneInfo("Asia/Tokyo"))],
)
def test_a_changed_schedule_leaves_no_gap_and_no_overlap(
    engine: Engine, ingest: Ingest, changed: Schedule
) -> None:
    for day in range(-20, 28):
        ingest.record(Batch([], pongs(CLOSE + timedelta(days=day), {"a.example": 50}, day)))
    make_due(engine, LATER)
    names = make_due(engine, LATER + timedelta(days=27), changed)
    windows = [json.loads(read(engine, name).json)["window"] for name in reversed(names)]
    assert len(windows) >= 6
    assert [window["from_at"] for window in windows[1:]] == [
        window["to_at"] for window in windows[:-1]
    ]


def test_a_board_shows_the_ranks_of_the_edition_before(engine: Engine, ingest: Ingest) -> None:
    ingest.record(Batch([], pongs(CLOSE - timedelta(days=1), {"a.example": 10, "b.example": 20})))
    make_due(engine, LATER)
    ingest.record(Batch([], pongs(LATER, {"b.example": 1}, 30)))
    with serve(engine) as client:
        standings = client.get("/api/v1/rankings").json()["standings"]
    ranks = {row["homeserver"]: (row["rank"], row["previous_rank"]) for row in standings}
    assert ranks == {"a.example": (1, 1), "b.example": (2, 2)}


def test_the_pages_and_the_feed_list_the_editions(engine: Engine, ingest: Ingest) -> None:
    with serve(engine) as client:
        assert ET.fromstring(client.get("/feed.atom").content).findall(f"{ATOM}entry") == []
    ingest.record_room(ROOM, "#<&>:one.example")
    for weeks in (1, 0):
        at = CLOSE - timedelta(days=7 * weeks + 1)
        ingest.record(Batch([], pongs(at, {"a.example": 403, "[::1]:8448": 512}, weeks * 10)))
    make_due(engine, LATER)
    with serve(engine) as client:
        page = client.get("/editions").text
        answer = client.get("/feed.atom")
        base = str(client.base_url)
        for path in ("/editions/2026-W99.md", "/editions/2026-W01.json"):
            assert client.get(path).status_code == 404
        assert client.get("/editions/latest.json").status_code == 422
    assert page.index("2026-W41") < page.index("2026-W40")
    assert answer.headers["content-type"].startswith("application/atom+xml")
    feed = ET.fromstring(answer.content)
    for required in ("id", "title", "updated"):
        assert feed.findtext(f"{ATOM}{required}")
    entries = feed.findall(f"{ATOM}entry")
    assert [entry.findtext(f"{ATOM}title") for entry in entries] == ["2026-W41", "2026-W40"]
    assert len({entry.findtext(f"{ATOM}id") for entry in entries}) == 2
    for entry in entries:
        (link,) = [link for link in entry.findall(f"{ATOM}link") if link.get("rel") == "alternate"]
        assert str(link.get("href")).startswith(base)
        text = "".join(entry.itertext())
        assert "#<&>:one.example" in text
        assert "[::1]:8448" in text
