"""When pings are sent, and when they are better not."""

from __future__ import annotations

import asyncio
import dataclasses
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from faults.claims import until
from faults.faultproxy import Answer, FaultProxy, Forward, answer, lost_answer, reset
from pingboard.lab import Lab
from pingboard.matrix import clock, pings
from pingboard.matrix.pings import WATCH_HOLD_MS, WATCH_S, SentPing, SentPings
from pingboard.matrix.sync import HOLD_MS, SyncBatch
from pingboard.model import VoidReason
from pingboard.store.schema import ping, sample, void_round
from tests.databases import count_rows
from tests.matrix.listening import listening, never_stall, rows
from tests.matrix.room_client import Member


@asynccontextmanager
async def pinging(
    lab: Lab, engine: Any, owner: Member, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[str, FaultProxy]]:
    """A room that a worker pings without pause, and the proxy before its homeserver."""
    monkeypatch.setattr(pings, "REPEATS_S", (0.01, 0.01, 0.01))
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], f"pinging-{uuid.uuid4().hex[:8]}")
    async with FaultProxy(account.homeserver_url) as proxy:
        behind = dataclasses.replace(account, homeserver_url=proxy.url)
        interval = timedelta(milliseconds=50)
        async with listening(lab, engine, behind, [room_id], interval=interval):
            await until(lambda: proxy.count("send") > 1)
            yield room_id, proxy


async def test_no_ping_is_sent_while_the_homeserver_is_away(
    lab: Lab, engine: Any, owner: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = asyncio.get_running_loop().time
    async with pinging(lab, engine, owner, monkeypatch) as (_, proxy):
        proxy.inject("/", answer(502))
        begun = clock()
        await until(lambda: proxy.count("sync", begun) >= 3 and proxy.count("whoami", begun))
        # One ping, repeated if it was under way, and one more if a sync was; then the sync
        # knocks. Before each ping our homeserver is asked who we are.
        tried_once = 1 + len(pings.REPEATS_S)
        assert proxy.count("send", begun) <= tried_once
        assert 0 < proxy.count("whoami", begun) <= 1 + tried_once
        proxy.clear()
        mended = clock()
        await until(lambda: proxy.count("send", mended) > 1)


async def test_sends_that_fail_though_syncs_work_are_one_warning(
    lab: Lab, engine: Any, owner: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    with capture_logs() as lines:
        async with pinging(lab, engine, owner, monkeypatch) as (_, proxy):
            failing = proxy.inject("/send/", reset())
            await until(lambda: failing.hits > 40)
            proxy.clear()
            await until(lambda: lines[-1]["event"] == "pings are answered again")
    told = [line["event"] for line in lines if line["log_level"] != "debug"]
    assert told[-2:] == ["pings are not answered, though syncs are", "pings are answered again"]
    assert told.count("pings are not answered, though syncs are") == 1


async def test_outages_one_after_the_other_are_none_of_sends_alone(
    lab: Lab, engine: Any, owner: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    with capture_logs() as lines:
        async with pinging(lab, engine, owner, monkeypatch) as (room_id, proxy):
            failing, seen = proxy.inject("/send/", reset()), [0]

            async def fails_after_a_send(forward: Forward) -> Answer | None:
                await owner.ping(room_id)  # so that it is not held
                told = await forward()
                fails, seen[0] = failing.hits > seen[0], failing.hits
                return await answer(502)(forward) if fails else told

            proxy.inject("/sync", fails_after_a_send)
            unsent = {"event": "ping not sent", "room_id": room_id, "log_level": "debug"}
            await until(lambda: sum(unsent.items() <= line.items() for line in lines) >= 4)
    assert "though syncs are" not in str(lines)


async def test_void_rounds_are_counted_by_what_went_wrong(
    lab: Lab, engine: Any, owner: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_stall(monkeypatch)
    forbidden = {"errcode": "M_UNKNOWN", "error": "not now"}
    async with pinging(lab, engine, owner, monkeypatch) as (_, proxy):
        for path, fault, times in (
            ("/send/", answer(429, {"errcode": "M_LIMIT_EXCEEDED"}, Retry_After="0"), 1),
            ("/send/", answer(400, forbidden), 1),
            ("/send/", lost_answer(), 2),  # an HTTP client may repeat a PUT by itself once
        ):
            injected = proxy.inject(path, fault, times)
            await until(lambda: injected.hits == times)  # noqa: B023 (awaited at once)
        await until(lambda: ("retried",) in rows(engine, void_round.c.reason))
    counts = dict(rows(engine, void_round.c.reason, void_round.c.count))
    assert counts == {"limited": 1, "refused": 1, "retried": 1}


async def test_the_first_ping_of_a_start_is_measured(
    lab: Lab, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_stall(monkeypatch)
    account = await lab.register(lab.homeservers[0], "beginning")
    async with listening(lab, engine, account, [lab.room_alias], backfill=timedelta(0)):
        await until(lambda: count_rows(engine, sample) == len(lab.homeservers))
    assert all(round_trip_ms for (round_trip_ms,) in rows(engine, sample.c.round_trip_ms))


async def test_no_round_trip_is_measured_over_a_suspend_of_the_machine(
    lab: Lab, engine: Any, owner: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_id = await owner.create_room()
    account = await lab.register(lab.homeservers[0], "suspended")
    real = time.clock_gettime_ns
    async with listening(lab, engine, account, [room_id]):
        [(event_id,)] = await until(lambda: rows(engine, ping.c.event))
        # The clocks for timers stand still then; what counts on is asked for by name.
        monkeypatch.setattr(time, "clock_gettime_ns", lambda clock: real(clock) + 300 * 10**9)
        await owner.pong(room_id, event_id)
        await until(lambda: count_rows(engine, sample) == 1)
    assert rows(engine, sample.c.round_trip_ms) == [(None,)]


class Time:
    """A clock that stands still until it is told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = 1_000 * 10**9
        monkeypatch.setattr(clock, "now_ns", lambda: self.now_ns)

    def go_on(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


class Syncs:
    """A worker's syncs, without the homeserver."""

    def __init__(self, sent: SentPings, time: Time) -> None:
        self._sent = sent
        self._time = time
        self.requests = 0

    def answer(self, after_s: float = 0.0) -> int:
        """Answer a sync; return when that arrives."""
        self.requests += 1
        self._sent.hold_ms()
        self._time.go_on(after_s)
        now_ns = self._time.now_ns
        self._sent.hear(SyncBatch("s1", "s2", frozenset(), now_ns, 0, False, [], []))
        return now_ns

    def pass_by(self, seconds: float) -> None:
        """Answer syncs in which nothing happens, each when it has been held for its time."""
        end_ns = self._time.now_ns + round(seconds * 1e9)
        while self._time.now_ns < end_ns:
            self.answer(min(self._sent.hold_ms() / 1000, (end_ns - self._time.now_ns) / 1e9))


@pytest.fixture
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


@pytest.fixture
def sent() -> SentPings:
    return SentPings()


@pytest.fixture
def syncs(sent: SentPings, stopped_clock: Time) -> Syncs:
    syncs = Syncs(sent, stopped_clock)
    syncs.answer()
    return syncs


def begin(sent: SentPings, tx_id: str) -> SentPing:
    ping = sent.begin("!a", tx_id)
    ping.stamp()
    return ping


def test_a_pong_is_measured_from_the_send_to_its_arrival(sent: SentPings, syncs: Syncs) -> None:
    ping = begin(sent, "tx")
    assert ping.round_trip_ms(syncs.answer(after_s=0.3)) == 300
    assert ping.round_trip_ms(syncs.answer(after_s=0.9)) == 1200


@pytest.mark.parametrize("phase_s", [0.0, 0.4, 3.0, 9.0])
def test_no_round_trip_is_measured_from_a_stall_of_one_second_on(
    sent: SentPings, syncs: Syncs, phase_s: float
) -> None:
    ping = begin(sent, "tx")
    syncs.pass_by(phase_s)
    before = syncs.answer(after_s=0.1)
    during = syncs.answer(after_s=1.0)
    after = syncs.answer(after_s=0.1)
    assert ping.round_trip_ms(before) == round(phase_s * 1000) + 100
    assert ping.round_trip_ms(during) is None
    assert ping.round_trip_ms(after) is None
    assert sent.take_void() == {VoidReason.STALLED: 1}
    assert sent.take_void() == {}


@pytest.mark.parametrize("silent_min", [9, 11, 60])
def test_a_silence_after_a_ping_makes_it_void_however_long_it_lasts(
    sent: SentPings, stopped_clock: Time, syncs: Syncs, silent_min: int
) -> None:
    silent = begin(sent, "tx")
    syncs.answer(after_s=0.1)
    stopped_clock.go_on(silent_min * 60)
    begin(sent, "next")  # by a timer that was due first, after a suspend of the machine
    syncs.answer()
    assert silent.void is VoidReason.STALLED


def test_a_silence_after_a_ping_timed_out_does_not_make_it_void(
    sent: SentPings, syncs: Syncs
) -> None:
    timed_out = begin(sent, "tx")
    syncs.pass_by(601)
    syncs.answer(after_s=700)
    assert timed_out.void is None


def test_a_ping_sent_while_a_sync_is_held_for_long_is_measured(
    sent: SentPings, stopped_clock: Time, syncs: Syncs
) -> None:
    assert sent.hold_ms() == HOLD_MS
    stopped_clock.go_on(20)
    ping = begin(sent, "tx")
    assert ping.round_trip_ms(syncs.answer(after_s=0.2)) == 200


def test_a_ping_shown_more_than_a_second_after_its_send_is_void(
    sent: SentPings, stopped_clock: Time, syncs: Syncs
) -> None:
    stopped_clock.go_on(20)
    ping = begin(sent, "tx")
    assert ping.round_trip_ms(syncs.answer(after_s=1.1)) is None
    assert ping.void is VoidReason.STALLED


def test_a_pong_after_ten_seconds_is_not_measured_of_a_server_that_has_not_answered_lately(
    sent: SentPings, syncs: Syncs
) -> None:
    ping = begin(sent, "tx")
    syncs.pass_by(WATCH_S)
    assert sent.hold_ms() == HOLD_MS
    assert ping.round_trip_ms(syncs.answer(after_s=0.1)) is None
    assert sent.take_void() == {}


def test_a_server_that_answered_lately_is_awaited_until_it_answers(
    sent: SentPings, syncs: Syncs
) -> None:
    begin(sent, "first").answer("slow.example")
    syncs.pass_by(300)
    ping = begin(sent, "second")
    syncs.pass_by(70)
    assert ping.round_trip_ms(syncs.answer(after_s=0.2)) == 70_200
    ping.answer("slow.example")
    assert sent.hold_ms() == HOLD_MS


def test_a_server_that_fell_silent_is_awaited_for_a_few_pings_only(
    sent: SentPings, syncs: Syncs
) -> None:
    begin(sent, "0").answer("gone.example")
    held = []
    for number in range(1, 6):
        syncs.pass_by(700)
        begin(sent, str(number))
        syncs.pass_by(60)
        held.append(sent.hold_ms())
    assert held == [WATCH_HOLD_MS] * 3 + [HOLD_MS] * 2


def test_an_hour_in_which_everybody_answers_takes_few_requests(
    sent: SentPings, syncs: Syncs
) -> None:
    for number in range(12):
        ping = begin(sent, str(number))
        for server in ("one.example", "two.example", "three.example"):
            syncs.answer(after_s=0.2)
            ping.answer(server)
        syncs.pass_by(299.4)
    assert 350 < syncs.requests < 420


async def test_a_sync_that_comes_before_the_answer_to_a_send_waits_for_that_answer(
    sent: SentPings, stopped_clock: Time
) -> None:
    ping = begin(sent, "tx")
    waiting = asyncio.create_task(sent.wait_for_sends("!a"))
    await sent.wait_for_sends("!b")
    await asyncio.sleep(0)
    assert not waiting.done()
    sent.name(ping, "$own")
    ping.send_ended.set()
    await waiting
    assert sent.find("$own") is ping


async def test_a_sync_waits_for_no_send_that_takes_too_long(
    sent: SentPings, stopped_clock: Time
) -> None:
    ping = begin(sent, "tx")
    stopped_clock.go_on(1.0)
    await sent.wait_for_sends("!a")
    assert ping.void is VoidReason.SLOW
