"""Where a gap goes on, and when it ends."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from faults.claims import until
from pingboard.lab import Lab
from pingboard.matrix import backfill, sync
from pingboard.matrix.backfill import _advance
from pingboard.matrix.record import events_since
from pingboard.matrix.session import Page
from pingboard.model import Gap
from pingboard.store.engine import Engine
from pingboard.store.schema import ping, sample
from tests.databases import count_rows
from tests.matrix.listening import listening
from tests.matrix.room_client import Member

GAP = Gap("!room", "t5", "s1", None, 1_000)
NEW: list[dict[str, object]] = [{"origin_server_ts": 900}]


def advance(page: Page, gap: Gap = GAP, before: set[str] | None = None) -> Gap:
    return _advance(gap, page, {gap.position} if before is None else before, 2)


def test_a_page_leads_to_the_next() -> None:
    gap = advance(Page(NEW, "t4"))
    assert (gap.position, gap.pongs, gap.closed_ts, gap.fault) == ("t4", 2, None, None)


def test_a_page_may_be_empty_and_lead_on() -> None:
    assert advance(Page([], "t4")).closed_ts is None


def test_a_page_without_an_end_is_the_last() -> None:
    gap = advance(Page(NEW, None))
    assert gap.closed_ts is not None
    assert gap.fault is None


def test_a_page_that_reaches_the_token_before_the_gap_is_the_last() -> None:
    assert advance(Page(NEW, "s1")).closed_ts is not None


def test_backfill_stops_where_pages_lead_in_a_circle_and_says_so() -> None:
    before = {"t5"}
    gap = advance(Page(NEW, "t4"), before=before)
    gap = advance(Page(NEW, "t5"), gap, before)
    assert gap.closed_ts is not None
    assert gap.fault == "our homeserver leads in a circle"


def test_history_ends_where_most_of_a_page_is_older_than_wanted() -> None:
    bounded = Gap("!room", "t5", None, 500, 1_000)
    old, new, broken = {"origin_server_ts": 1}, NEW[0], {"origin_server_ts": "then"}
    assert advance(Page([new, new, old], "t4"), bounded).closed_ts is None
    assert advance(Page([new, old, broken], "t4"), bounded).closed_ts is not None
    assert events_since([new, old], 500) == [new]


def test_a_gap_ends_where_history_is_far_too_old_on_a_homeserver_that_ignores_its_end() -> None:
    bounded = Gap("!room", "t5", "s1", 500, 1_000)
    old = {"origin_server_ts": 1}
    assert advance(Page([NEW[0], old], "t4"), bounded).closed_ts is None
    assert advance(Page([NEW[0], old, old], "t4"), bounded).closed_ts is not None


async def test_what_comes_late_is_found_where_a_page_ends_with_the_first_event_of_the_gap(
    lab: Lab,
    engine: Engine,
    http: aiohttp.ClientSession,
    owner: Member,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sync, "TIMELINE_LIMIT", 1)
    monkeypatch.setattr(backfill, "PAGE_LIMIT", 2)
    monkeypatch.setattr(backfill, "MIN_PAGE", 1)
    room_id = await owner.create_room()
    bot = Member(http, await lab.register(lab.homeservers[1], "backfill-bot"))
    await bot.join(room_id, via=owner.server)
    account = await lab.register(lab.homeservers[0], "latecomer")
    there = lab.homeservers[1].name
    try:
        async with listening(lab, engine, account, [room_id]):
            answered = await owner.ping(room_id)
            await until(lambda: count_rows(engine, ping) == 2)  # and the worker's own
            await _until_known(bot, room_id, answered)
            lab.network.hold(there)
            late = await bot.pong(room_id, answered, ping_server=owner.server)
            # What is said here meanwhile is deeper in the room.
            for number in range(3, 6):
                await owner.ping(room_id)
                await until(lambda: count_rows(engine, ping) == number)  # noqa: B023 (awaited at once)
        await owner.ping(room_id)  # the first of the gap
    finally:
        lab.network.release(there)
    await _until_known(owner, room_id, late)
    await owner.ping(room_id)
    async with listening(lab, engine, account, [room_id]):
        await until(lambda: count_rows(engine, sample) == 1)


async def _until_known(member: Member, room_id: str, event_id: str) -> None:
    """Wait until a member's homeserver has an event."""
    known: list[Any] = []
    while event_id not in known:
        page = await member.call("GET", f"rooms/{room_id}/messages?dir=b&limit=50")
        known = [event["event_id"] for event in page["chunk"]]
