"""What happens in a real room is recorded, once, and lies are not."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from datetime import timedelta
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from sqlalchemy import update

from faults.claims import until
from faults.faultproxy import FaultProxy, answer, changed_json, never
from pingboard.lab import Lab
from pingboard.matrix import backfill, record
from pingboard.matrix.record import (
    FULL_TIMELINE,
    GAP_MARGIN_MS,
    MISSED_EVENTS_MS,
    BackfillSchedule,
)
from pingboard.matrix.session import Account, Session
from pingboard.matrix.sync import Timeline, read_position
from pingboard.model import PONG_TIMEOUT_MS, Batch, Gap, Pending, Pong, Provenance, Sample
from pingboard.sample_blocks import HOUR_MS
from pingboard.store.engine import Engine
from pingboard.store.hours import close_hours
from pingboard.store.ingest import Ingest
from pingboard.store.schema import (
    gap,
    hour,
    pending,
    ping,
    redacted,
    room,
    sample,
)
from tests.databases import count_rows
from tests.matrix.listening import listening, never_stall, ping_servers, rejections, rows, synced
from tests.matrix.reading import (
    PREDECESSOR,
    ROOM,
    US,
    Reading,
    membership_event,
    ping_event,
    pong_event,
)
from tests.matrix.room_client import Member
from tests.samples import START_TS, make_ping, make_pong

MINUTE_NS = 60_000_000_000
MONTH_S = 30 * 86_400


async def test_history_before_the_first_start_is_imported_and_nothing_in_it_is_pinged_twice(
    lab: Lab, http: aiohttp.ClientSession, engine: Engine, owner: Member
) -> None:
    room_id = await owner.create_room()
    bot = Member(http, await lab.register(lab.homeservers[1], "record-bot"))
    await bot.join(room_id, via=owner.server)
    pings = [await owner.ping(room_id) for _ in range(3)]
    for question in pings:
        await bot.pong(room_id, question, ping_server=owner.server)
        await owner.pong(room_id, question)
    account = await lab.register(lab.homeservers[0], "historian")
    async with listening(lab, engine, account, [room_id]):
        await until(lambda: count_rows(engine, sample) == 6)
        await until(lambda: all(row[0] for row in rows(engine, gap.c.closed_ts)))
    assert {row[0] for row in rows(engine, sample.c.provenance)} == {Provenance.GAP_FILL}
    assert {row[0] for row in rows(engine, sample.c.round_trip_ms)} == {None}
    assert count_rows(engine, pending) == 0
    assert rejections(engine) == {}


async def test_behind_a_short_limited_timeline_one_day_is_backfilled_once(
    lab: Lab, engine: Engine, owner: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "SHORTEST_PAUSE_NS", 3_600 * 10**9)  # however slow this machine is
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "awaited")

    def leave_a_hole(body: dict[str, Any]) -> None:
        for joined in body.get("rooms", {}).get("join", {}).values():
            joined["timeline"]["limited"] = True

    async with FaultProxy(account.homeserver_url) as proxy:
        behind = dataclasses.replace(account, homeserver_url=proxy.url)
        async with listening(lab, engine, behind, [room_id]):
            await until(lambda: synced(engine) and count_rows(engine, ping) == 1)
            proxy.inject("/sync", changed_json(leave_a_hole))
            for number in range(2, 6):
                await owner.ping(room_id)
                await until(lambda: count_rows(engine, ping) == number)  # noqa: B023 (awaited at once)
            await until(lambda: all(row[0] for row in rows(engine, gap.c.closed_ts)))
    gaps = rows(engine, gap.c.until, gap.c.opened_ts - gap.c.oldest_ts)
    # The import of the beginning, and what may have been missed: once a minute at most.
    assert [back_ms for end, back_ms in gaps if end is None] == [
        7 * MISSED_EVENTS_MS,
        MISSED_EVENTS_MS,
    ]
    assert len(gaps) > 3


async def test_what_happens_while_the_worker_is_down_is_filled_in_once(
    lab: Lab, engine: Engine, owner: Member
) -> None:
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "sleeper")
    async with listening(lab, engine, account, [room_id]):
        first = await owner.ping(room_id)
        await owner.pong(room_id, first)
        await until(lambda: count_rows(engine, sample) == 1)
    # More than a sync gives at once, so that its timeline is limited.
    for _ in range(40):
        for question in [await owner.ping(room_id)]:
            await asyncio.gather(*(owner.pong(room_id, question, ms) for ms in (100, 200)))
    async with listening(lab, engine, account, [room_id]):
        await until(lambda: count_rows(engine, sample) == 41)
        await until(lambda: all(row[0] for row in rows(engine, gap.c.closed_ts)))
    assert count_rows(engine, sample) == 41
    assert rejections(engine) == {"duplicate": 40}
    assert count_rows(engine, pending) == 0


@pytest.mark.parametrize("is_known", [True, False])
async def test_what_happened_in_a_room_that_is_joined_late_is_not_lost(
    lab: Lab, engine: Engine, owner: Member, is_known: bool
) -> None:
    """The first syncs are of the other room; this one is found by an alias, maybe of a new name."""
    prompt, late = await owner.create_room(), await owner.create_room()
    alias = f"#late-{is_known}:{owner.server}"
    await owner.call("PUT", f"directory/room/{quote(alias)}", {"room_id": late})
    account = await lab.register(lab.homeservers[0], f"latecomer-{is_known}".lower())
    async with FaultProxy(account.homeserver_url) as proxy:
        behind = dataclasses.replace(account, homeserver_url=proxy.url)
        async with listening(lab, engine, behind, [prompt, alias if is_known else late]):
            await until(lambda: len(rows(engine, room.c.room_id)) == 2 and synced(engine))
            await owner.pong(late, await owner.ping(late), 1)
            await until(lambda: (1,) in rows(engine, sample.c.one_way_ms))
        await owner.pong(late, await owner.ping(late), 2)
        away = proxy.inject(f"/join/.*late-{is_known}", answer(504))
        async with listening(lab, engine, behind, [prompt, alias]):
            await owner.pong(prompt, await owner.ping(prompt), 3)
            await until(lambda: (3,) in rows(engine, sample.c.one_way_ms))
            assert is_known or (2,) not in rows(engine, sample.c.one_way_ms)
            if not is_known:
                away.remove()
            await until(lambda: (2,) in rows(engine, sample.c.one_way_ms))
    assert away.hits


async def test_what_was_said_in_a_room_until_it_was_replaced_is_not_lost(
    lab: Lab, engine: Engine, owner: Member
) -> None:
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "mover")
    async with listening(lab, engine, account, [room_id]):
        redacted_pong = await owner.pong(room_id, await owner.ping(room_id), 1)
        await until(lambda: (1,) in rows(engine, sample.c.one_way_ms))
    await owner.pong(room_id, await owner.ping(room_id), 2)
    successor = await owner.upgrade(room_id)
    async with listening(lab, engine, account, [successor]):
        await until(lambda: (2,) in rows(engine, sample.c.one_way_ms))
    for _ in range(2):  # also when the upgrade is an old story
        await owner.redact(room_id, redacted_pong)
        async with listening(lab, engine, account, [successor]):
            await until(lambda: rows(engine, sample.c.one_way_ms) == [(2,)])
            redacted_pong = await owner.pong(room_id, await owner.ping(room_id), 3)
            await until(lambda: (3,) in rows(engine, sample.c.one_way_ms))


async def test_a_ping_that_a_proxy_refuses_to_look_up_delays_no_other(
    lab: Lab, engine: Engine, owner: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "LOOKUP_PAUSE_S", 0.1)
    room_id = await owner.create_room()
    question = await owner.ping(room_id)
    account = await lab.register(lab.homeservers[0], "proxied")
    async with FaultProxy(account.homeserver_url) as proxy:
        behind = dataclasses.replace(account, homeserver_url=proxy.url)
        # As Apache does where AllowEncodedSlashes is off.
        proxy.inject("/event/.*(%2F|%2f)", answer(404, b"<html>", **{"Content-Type": "text/html"}))
        async with listening(lab, engine, behind, [room_id], backfill=timedelta(0)):
            await until(lambda: synced(engine))
            await owner.pong(room_id, "$in/vented")
            await owner.pong(room_id, question, 7)
            await until(lambda: (7,) in rows(engine, sample.c.one_way_ms))


async def test_what_a_first_sync_brings_was_not_seen_to_arrive(
    lab: Lab, engine: Engine, owner: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_stall(monkeypatch)
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "napping")
    async with listening(lab, engine, account, [room_id]):
        await until(lambda: synced(engine))
    await owner.pong(room_id, await owner.ping(room_id), 100)
    async with listening(lab, engine, account, [room_id]):
        await until(lambda: count_rows(engine, sample) == 1)
        await owner.pong(room_id, await owner.ping(room_id), 200)
        await until(lambda: count_rows(engine, sample) == 2)
    came = dict(rows(engine, sample.c.one_way_ms, sample.c.provenance))
    assert came == {100: Provenance.GAP_FILL, 200: Provenance.LIVE}


async def test_lies_are_rejected_and_counted(lab: Lab, engine: Engine, owner: Member) -> None:
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "judge")
    async with listening(lab, engine, account, [room_id]):
        await until(lambda: synced(engine))
        question = await owner.ping(room_id)
        no_ping = await owner.send(room_id, {"msgtype": "m.text", "body": "hello"})
        await owner.pong(room_id, question, ping_server="winner.example")
        await owner.pong(room_id, question, ms=True)
        await owner.pong(room_id, no_ping)
        await owner.pong(room_id, "$invented")
        await owner.pong(room_id, question, ms=120)
        await owner.pong(room_id, question, ms=1)
        await until(lambda: count_rows(engine, sample) == 1 and len(rejections(engine)) >= 4)
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
        await until(lambda: count_rows(engine, sample) == 1)
        await owner.redact(room_id, answer)
        await until(lambda: count_rows(engine, sample) == 0)
    second = await owner.ping(room_id)
    redacted_pong = await owner.pong(room_id, second)
    await owner.redact(room_id, redacted_pong)
    last = await owner.ping(room_id)
    await owner.pong(room_id, last)
    async with listening(lab, engine, account, [room_id]):
        await until(lambda: count_rows(engine, sample) == 1)
    theirs = [event for event, vantage in rows(engine, ping.c.event, ping.c.vantage) if not vantage]
    assert sorted(theirs) == sorted([question, second, last])


async def test_a_past_hour_that_is_damaged_stops_nothing_and_is_named_once(
    lab: Lab, engine: Engine, owner: Member, capsys: pytest.CaptureFixture[str]
) -> None:
    room_id = await owner.create_room()
    now_ts = time.time_ns() // 1_000_000
    past = make_ping(1, room_id=room_id, seen_ts=now_ts - 5 * HOUR_MS, vantage="test")
    Ingest(engine, "test").record(Batch(samples=[Sample(past, make_pong(past), 100)]))
    assert close_hours(engine, now_ts) == 1
    with engine.begin() as connection:
        connection.execute(update(hour).values(hot=b"damaged!" * 9, cold=b"damaged!" * 9))
    account = await lab.register(lab.homeservers[0], "whole")
    async with listening(lab, engine, account, [room_id]):
        for number in range(1, 3):
            answer = await owner.pong(room_id, await owner.ping(room_id))
            await until(lambda: count_rows(engine, sample) == 1)
            await owner.redact(room_id, answer)
            await until(lambda: count_rows(engine, redacted) == number)  # noqa: B023 (awaited at once)
            assert count_rows(engine, sample) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if "damaged" in line]
    assert f"of {room_id} is damaged" in line
    assert "restore the last backup" in line


async def test_where_history_can_not_be_had_pongs_are_found_by_their_relation(
    lab: Lab, engine: Engine, owner: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "ATTEMPTS", 2)  # six take half a minute
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "relating")
    async with listening(lab, engine, account, [room_id]):
        question = await owner.ping(room_id)
        await until(lambda: owner.server in ping_servers(engine) and count_rows(engine, ping) == 2)
    claims = {"event_id": question, "ms": 70, "from": owner.server}
    relation = {"rel_type": "xyz.maubot.pong", **claims}
    await owner.send(room_id, {"msgtype": "m.notice", "body": "x", "m.relates_to": relation})
    # A gap whose token our homeserver does not understand, and no other way to that pong.
    gone = Gap(room_id, "no-such-token", "no-such-token", None, time.time_ns() // 1_000_000)
    ingest = Ingest(engine, account.user_id)
    credentials = Account(account.homeserver_url, account.user_id, account.access_token)
    session_now = await Session.open(credentials)
    ingest.record(Batch(gaps=[gone]), await read_position(session_now))
    await session_now.aclose()
    async with listening(lab, engine, account, [room_id]):
        await until(lambda: count_rows(engine, sample) == 1)
    assert rows(engine, sample.c.one_way_ms) == [(70,)]
    faults = [fault for (fault,) in rows(engine, gap.c.fault) if fault]
    assert len(faults) == 1
    assert "M_" in faults[0]


async def test_a_pong_pending_since_an_earlier_run_is_decided_without_a_gap(
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
    ingest = Ingest(engine, account.user_id)
    ingest.record(Batch(pending=[Pending(answer, Provenance.LIVE)]))
    async with listening(lab, engine, account, [room_id]):
        await until(lambda: (40,) in rows(engine, sample.c.one_way_ms))
    assert count_rows(engine, pending) == 0


async def test_another_account_imports_no_more_history_than_a_first_start(
    lab: Lab, engine: Engine, owner: Member
) -> None:
    room_id = await owner.create_room()
    await owner.pong(room_id, await owner.ping(room_id))
    before_ts = time.time_ns() // 1_000_000
    short = {"backfill": timedelta(seconds=5)}
    for number, name in enumerate(("former", "latter"), start=1):
        account = await lab.register(lab.homeservers[0], name)
        async with listening(lab, engine, account, [room_id], **short):
            await until(lambda: count_rows(engine, gap) == number)  # noqa: B023 (awaited at once)
            await until(lambda: all(row[0] for row in rows(engine, gap.c.closed_ts)))
    bounds = rows(engine, gap.c.until, gap.c.oldest_ts)
    assert len(bounds) == 2
    for end, oldest_ts in bounds:
        assert end is None
        assert oldest_ts > before_ts - 5_000


async def test_lookups_do_not_delay_what_is_known(lab: Lab, engine: Engine, owner: Member) -> None:
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "patient")
    async with FaultProxy(account.homeserver_url) as proxy:
        behind = dataclasses.replace(account, homeserver_url=proxy.url)
        async with listening(lab, engine, behind, [room_id]):
            await until(lambda: synced(engine))
            asked = proxy.inject("/event/", never())
            await owner.pong(room_id, "$invented")
            await until(lambda: asked.hits)
            await owner.pong(room_id, await owner.ping(room_id))
            await until(lambda: count_rows(engine, sample) == 1)


async def test_the_past_is_asked_for_since_the_room_was_left(engine: Engine) -> None:
    reading = Reading(engine)
    await reading.sync(ping_event("$a"), at_s=60)
    await reading.sync(at_s=MONTH_S, kicked=True)
    returned = membership_event(US, "join")
    [missed] = await reading.sync(returned, at_s=2 * MONTH_S)
    assert (missed.until, missed.oldest_ts) == (None, START_TS + 60_000 - PONG_TIMEOUT_MS)


async def test_the_past_is_asked_for_since_an_earlier_run_heard_nothing_of_the_room_any_more(
    engine: Engine,
) -> None:
    reading = Reading(engine, {ROOM: 60}, synced_s=MONTH_S)
    [missed] = await reading.sync(at_s=2 * MONTH_S)
    assert (missed.until, missed.oldest_ts) == (None, START_TS + 60_000 - PONG_TIMEOUT_MS)
    assert await reading.sync(at_s=2 * MONTH_S + 60) == []


async def test_a_gap_reaches_back_to_the_last_sync_though_later_pings_were_imported(
    engine: Engine,
) -> None:
    reading = Reading(engine, {ROOM: 2 * MONTH_S}, synced_s=60)
    [hole, _] = reversed(await reading.sync(at_s=2 * MONTH_S, limited=True))
    assert (hole.until, hole.oldest_ts) == ("s0", START_TS + 60_000 - GAP_MARGIN_MS)


@pytest.mark.parametrize(("known", "days"), [(PREDECESSOR, 30), ("!unrelated", 7)])
async def test_a_room_that_replaces_one_we_listened_in_is_read_since_then(
    engine: Engine, known: str, days: int
) -> None:
    reading = Reading(engine, {known: 0})
    [past] = await reading.sync(ping_event("$a"), at_s=MONTH_S)
    assert (past.until, past.oldest_ts) == (None, START_TS + (30 - days) * 86_400_000)


async def test_what_was_rejected_is_counted_once_however_often_history_has_it(
    engine: Engine,
) -> None:
    reading = Reading(engine)
    forged = pong_event("$forged", "$a", server="liar.example")
    forged["content"]["pong"]["from"] = "liar.example"
    events = [
        ping_event("$a"),
        forged,
        pong_event("$no-number", "$a", server="odd.example"),
        pong_event("$invented", "$nowhere"),
        pong_event("$first", "$a"),
        pong_event("$second", "$a"),
    ]
    events[2]["content"]["pong"]["ms"] = "fast"
    await reading.sync(*events, at_s=0)
    for number in range(1, 4):
        reading = Reading(engine)
        gaps = await reading.sync(at_s=number * 1000, limited=True)
        for missed in gaps:
            await reading.page(events, missed)
    assert rejections(engine) == {"forged_from": 1, "invalid_ms": 1, "duplicate": 1}
    assert count_rows(engine, pending) == 1
    assert reading.samples() == [("two.example", 100)]


async def test_a_pong_that_was_seen_to_come_too_late_stays_late_in_history(engine: Engine) -> None:
    reading = Reading(engine)
    question, late = ping_event("$a"), pong_event("$late", "$a")
    await reading.sync(question, at_s=0)
    await reading.sync(late, at_s=720)
    restarted = Reading(engine)
    [hole, _] = await restarted.sync(at_s=900, limited=True)
    await restarted.page([question, late], hole)
    assert reading.samples() == []
    assert rejections(engine) == {"late": 1}


async def test_a_pong_given_up_counts_once_history_has_its_ping(engine: Engine) -> None:
    reading = Reading(engine)
    answer = pong_event("$b", "$a")
    await reading.sync(answer, at_s=0)
    await reading.give_up(at_s=601)
    [hole, _] = await reading.sync(at_s=900, limited=True)
    await reading.page([ping_event("$a"), answer], hole)
    assert reading.samples() == [("two.example", 100)]


@pytest.mark.parametrize("is_closed", [False, True])
async def test_a_servers_first_pong_counts_though_a_gap_is_read_backwards(
    engine: Engine, is_closed: bool
) -> None:
    reading = Reading(engine)
    first, second = pong_event("$first", "$a", ms=300), pong_event("$second", "$a", ms=10)
    second["origin_server_ts"] = first["origin_server_ts"] + 60_000
    await reading.sync(ping_event("$a"), at_s=0)
    [_, missed] = await reading.sync(second, at_s=90, limited=True)
    assert reading.samples() == [("two.example", 10)]
    if is_closed:
        assert close_hours(engine, START_TS + 2 * HOUR_MS) == 1
    await reading.page([first], missed)
    assert reading.samples() == [("two.example", 300)]
    await reading.page([ping_event("$a"), first, second], missed)
    assert reading.samples() == [("two.example", 300)]
    assert rejections(engine) == {"duplicate": 1}


@pytest.mark.parametrize("is_closed", [False, True])
async def test_a_second_pong_to_a_ping_of_an_earlier_run_is_a_duplicate_once(
    engine: Engine, is_closed: bool
) -> None:
    first, second = pong_event("$first", "$a", ms=300), pong_event("$second", "$a", ms=10)
    second["origin_server_ts"] = first["origin_server_ts"] + 60_000
    await Reading(engine).sync(ping_event("$a"), first, at_s=0)
    if is_closed:
        assert close_hours(engine, START_TS + 2 * HOUR_MS) == 1
    for number in range(1, 4):
        restarted = Reading(engine)
        [hole, _] = await restarted.sync(at_s=number * 1000, limited=True)
        await restarted.page([second], hole)
        await restarted.page([first], hole)
        assert rejections(engine) == {"duplicate": 1}
    assert len(rows(engine, sample.c.ping)) == (0 if is_closed else 1)


async def test_a_servers_first_pong_counts_though_a_restart_cuts_its_gap_in_two(
    engine: Engine,
) -> None:
    first, second = pong_event("$first", "$a", ms=300), pong_event("$second", "$a", ms=10)
    second["origin_server_ts"] = first["origin_server_ts"] + 60_000
    reading = Reading(engine)
    await reading.sync(ping_event("$a"), at_s=0)
    [_, missed] = await reading.sync(second, at_s=90, limited=True)
    await Reading(engine).page([first], missed)
    assert reading.samples() == [("two.example", 300)]
    assert rejections(engine) == {"duplicate": 1}
    await Reading(engine).page([first, second], missed)
    assert reading.samples() == [("two.example", 300)]
    assert rejections(engine) == {"duplicate": 1}


async def test_a_pong_that_was_seen_to_arrive_keeps_its_place_whatever_history_claims(
    engine: Engine,
) -> None:
    reading = Reading(engine)
    seen, claimed = pong_event("$seen", "$a", ms=300), pong_event("$claimed", "$a", ms=10)
    await reading.sync(ping_event("$a"), seen, at_s=0)
    [hole, _] = await reading.sync(at_s=900, limited=True)
    await reading.page([claimed], hole)
    assert reading.samples() == [("two.example", 300)]
    # Nor does it after a restart, which forgets what was seen.
    restarted = Reading(engine)
    later = pong_event("$later", "$a", ms=400)
    await restarted.page([later], hole)
    await restarted.page([claimed], hole)
    assert restarted.samples() == [("two.example", 300)]
    assert rejections(engine) == {"duplicate": 2}


def timeline(events: int = 5, *, limited: bool = True, room_id: str = "!a") -> Timeline:
    return Timeline(room_id, [{}] * events, [], limited)


def test_a_timeline_that_is_full_or_not_limited_needs_no_backfill() -> None:
    schedule = BackfillSchedule()
    assert not schedule.is_due(timeline(FULL_TIMELINE), 0)
    assert not schedule.is_due(timeline(limited=False), 0)
    assert schedule.is_due(timeline(), 0)


def test_a_backfill_that_has_to_wait_is_made_later() -> None:
    schedule = BackfillSchedule()
    assert schedule.is_due(timeline(), 0)
    assert not schedule.is_due(timeline(), MINUTE_NS - 1)
    assert schedule.is_due(timeline(limited=False), MINUTE_NS)
    assert not schedule.is_due(timeline(limited=False), 10 * MINUTE_NS)


def test_a_homeserver_that_always_gives_short_timelines_is_asked_ever_more_rarely() -> None:
    schedule = BackfillSchedule()
    seconds = range(0, 6 * 3600, 20)
    looks = [at for at in seconds if schedule.is_due(timeline(), at * MINUTE_NS // 60)]
    pauses = [round((later - look) / 60) for look, later in pairwise(looks)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]


def test_after_a_quiet_while_a_backfill_is_made_at_once_again() -> None:
    schedule = BackfillSchedule()
    for minute in (0, 1, 3, 7):
        assert schedule.is_due(timeline(), minute * MINUTE_NS)
    assert schedule.is_due(timeline(), 60 * MINUTE_NS)
    assert schedule.is_due(timeline(), 61 * MINUTE_NS)
    assert schedule.is_due(timeline(room_id="!b"), 61 * MINUTE_NS)
