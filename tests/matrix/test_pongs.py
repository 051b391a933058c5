"""What becomes of events: samples, rejections, and pongs that wait for their ping."""

from __future__ import annotations

from typing import Any

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from pingboard.matrix import clock
from pingboard.matrix import pongs as pongs_module
from pingboard.matrix.pings import SentPing, SentPings
from pingboard.matrix.pongs import MAX_PENDING, MAX_PINGS, PongMatcher
from pingboard.matrix.rooms import EXPECTED_WITHIN_MS, Members
from pingboard.model import PONG_TIMEOUT_MS, Batch, Ping, Provenance, Rejection, VoidReason
from tests.matrix.reading import ROOM, US, ping_event, pong_event
from tests.samples import START_TS

SECOND_NS = 1_000_000_000


def live(pongs: PongMatcher, *events: dict[str, Any], after_s: int = 0, **more: Any) -> Batch:
    arrived_ts = START_TS + after_s * 1000
    arrived = pongs.read_live(events, ROOM, after_s * SECOND_NS, arrived_ts)
    return pongs.judge(arrived, **more)


def history(pongs: PongMatcher, *events: dict[str, Any]) -> Batch:
    return pongs.judge(pongs.read_history(events, ROOM, START_TS + 10**9))


def reasons(batch: Batch) -> list[Rejection]:
    return [pong.reason for pong in batch.rejected]


@pytest.fixture
def sent_pings() -> SentPings:
    return SentPings()


@pytest.fixture
def sent(sent_pings: SentPings) -> SentPing:
    """The ping of ours with transaction ID `tx`, sent half a second before time 1 s."""
    ping = sent_pings.begin(ROOM, "tx")
    ping.stamp()
    ping.sent_ns = SECOND_NS // 2
    return ping


@pytest.fixture
def pongs(sent_pings: SentPings, sent: SentPing) -> PongMatcher:
    return PongMatcher(US, "main", sent_pings)


def members_of(user_ids: list[str], answered: dict[str, int]) -> Members:
    members = Members(answered)
    members.replace(user_ids)
    return members


def own_ping() -> dict[str, Any]:
    return ping_event("$own", US, unsigned={"transaction_id": "tx"})


def test_a_pong_to_a_ping_of_somebody_else_counts_without_a_round_trip(pongs: PongMatcher) -> None:
    batch = live(pongs, ping_event("$a"), pong_event("$b", "$a"))
    assert [sample.pong.event_id for sample in batch.samples] == ["$b"]
    assert batch.samples[0].round_trip_ms is None


def test_our_own_ping_gives_a_round_trip_from_send_to_arrival(pongs: PongMatcher) -> None:
    [ping] = live(pongs, own_ping(), after_s=1).pings
    assert (ping.vantage, ping.sent_ts) == ("main", START_TS + 500)
    batch = live(pongs, pong_event("$b", "$own"), after_s=3)
    assert [sample.round_trip_ms for sample in batch.samples] == [2500]


def test_our_own_ping_is_known_by_the_answer_to_the_send_alone(
    pongs: PongMatcher, sent_pings: SentPings, sent: SentPing
) -> None:
    sent_pings.name(sent, "$own")
    live(pongs, ping_event("$own", US), after_s=1)
    batch = live(pongs, pong_event("$b", "$own"), after_s=3)
    assert [sample.round_trip_ms for sample in batch.samples] == [2500]


@pytest.mark.parametrize("later_s", [2, 4])
def test_our_own_ping_shown_twice_is_neither_void_nor_expected_twice(
    pongs: PongMatcher, sent: SentPing, later_s: int
) -> None:
    members = members_of(["@bot:two.example"], {"two.example": START_TS})
    live(pongs, own_ping(), after_s=1, members=members)
    live(pongs, pong_event("$b", "$own"), after_s=1, members=members)
    again = live(pongs, own_ping(), after_s=1 + later_s, members=members)
    assert sent.void is None
    assert again.expected == []
    batch = live(pongs, pong_event("$c", "$own", "three.example"), after_s=6)
    assert [sample.round_trip_ms for sample in batch.samples] == [5500]


def test_a_void_ping_gives_no_round_trip_but_its_claims_count(
    pongs: PongMatcher, sent: SentPing
) -> None:
    live(pongs, own_ping(), after_s=1)
    sent.give_up(VoidReason.RETRIED)
    [sample] = live(pongs, pong_event("$b", "$own"), after_s=3).samples
    assert (sample.round_trip_ms, sample.pong.one_way_ms) == (None, 100)


def test_an_implausible_pong_still_counts_and_is_reported_as_implausible(
    pongs: PongMatcher,
) -> None:
    live(pongs, own_ping(), after_s=1)
    batch = live(pongs, pong_event("$b", "$own", ms=5000), after_s=3)
    assert [sample.pong.one_way_ms for sample in batch.samples] == [5000]
    assert reasons(batch) == [Rejection.IMPLAUSIBLE]


def test_a_ping_that_our_homeserver_shows_us_late_is_void(
    pongs: PongMatcher, sent: SentPing
) -> None:
    live(pongs, own_ping(), after_s=4)
    assert sent.void is VoidReason.SLOW


def test_a_ping_of_ours_from_another_process_has_our_vantage_and_no_round_trip(
    pongs: PongMatcher,
) -> None:
    live(pongs, ping_event("$old", US, unsigned={"transaction_id": "earlier"}))
    [sample] = live(pongs, pong_event("$b", "$old"), after_s=3).samples
    assert sample.ping.vantage == "main"
    assert sample.round_trip_ms is None


def test_a_pong_before_its_ping_is_pending_and_then_counts(pongs: PongMatcher) -> None:
    first = live(pongs, pong_event("$b", "$a"))
    assert first.samples == []
    assert [pending.pong.event_id for pending in first.pending] == ["$b"]
    second = live(pongs, ping_event("$a"), after_s=1)
    assert [sample.pong.event_id for sample in second.samples] == ["$b"]
    assert [pong.event_id for pong in second.no_longer_pending] == ["$b"]


def test_a_pending_pong_counts_once_its_ping_is_looked_up(pongs: PongMatcher) -> None:
    live(pongs, pong_event("$b", "$a"))
    pongs.learn([Ping("$a", ROOM, "one.example", START_TS, START_TS)])
    batch = live(pongs)
    assert [sample.pong.event_id for sample in batch.samples] == ["$b"]
    assert [pong.event_id for pong in batch.no_longer_pending] == ["$b"]


def test_a_pending_pong_is_rejected_once_its_ping_turns_out_to_be_none(
    pongs: PongMatcher,
) -> None:
    live(pongs, pong_event("$b", "$a"))
    pongs.learn_no_ping(ROOM, "$a")
    assert reasons(live(pongs)) == [Rejection.NOT_A_PING]


def test_a_ping_is_looked_up_until_history_has_it(pongs: PongMatcher) -> None:
    live(pongs, pong_event("$b", "$a"))
    assert pongs.pending.pings(ROOM) == ["$a"]
    history(pongs, ping_event("$a"))
    assert pongs.pending.pings(ROOM) == []


def test_the_pings_that_most_servers_answered_are_looked_up_first(pongs: PongMatcher) -> None:
    invented = [pong_event(f"$i{n}", f"${n}", server="liar.example") for n in range(20)]
    answers = [pong_event(f"$b{n}", "$real", server=f"s{n}.example") for n in range(2)]
    live(pongs, *invented, *answers)
    assert pongs.pending.pings(ROOM)[0] == "$real"


def test_a_pong_that_was_pending_has_no_round_trip(pongs: PongMatcher) -> None:
    live(pongs, pong_event("$b", "$own"), after_s=1)
    [sample] = live(pongs, own_ping(), after_s=1).samples
    assert sample.round_trip_ms is None


def test_a_pong_is_rejected_after_ten_minutes_without_its_ping(
    pongs: PongMatcher,
) -> None:
    begun_ns = clock.now_ns()
    live(pongs, pong_event("$b", "$a"))
    kept_ns, gone_ns = (begun_ns + seconds * SECOND_NS for seconds in (600, 660))
    assert pongs.expire(kept_ns, lambda _: False) == Batch(
        rejected=[], no_longer_pending=[], voided=[]
    )
    assert reasons(pongs.expire(gone_ns, lambda _: True)) == []
    gone = pongs.expire(gone_ns, lambda _: False)
    assert reasons(gone) == [Rejection.UNKNOWN_PING]
    assert live(pongs, ping_event("$a"), after_s=601).samples == []


def test_a_second_pong_is_a_duplicate_and_the_same_one_again_is_ignored(pongs: PongMatcher) -> None:
    batch = live(
        pongs,
        ping_event("$a"),
        pong_event("$b", "$a"),
        pong_event("$c", "$a", ms=1),
        pong_event("$d", "$a", server="three.example"),
    )
    assert [sample.pong.event_id for sample in batch.samples] == ["$b", "$d"]
    assert reasons(batch) == [Rejection.DUPLICATE]
    again = live(pongs, pong_event("$b", "$a"))
    assert reasons(again) == []


def test_history_is_judged_by_the_times_it_claims_and_has_no_round_trip(pongs: PongMatcher) -> None:
    late = pong_event("$late", "$a", server="late.example", ms=PONG_TIMEOUT_MS + 1)
    batch = history(pongs, ping_event("$a"), pong_event("$b", "$a"), late)
    [sample] = batch.samples
    assert (sample.provenance, sample.round_trip_ms) == (Provenance.GAP_FILL, None)
    assert reasons(batch) == [Rejection.LATE]


def test_history_can_not_claim_to_be_of_the_future_nor_an_answer_before_its_ping(
    pongs: PongMatcher,
) -> None:
    now_ts = START_TS + 5000
    early = pong_event("$b", "$a", ms=-3000)
    future = ping_event("$f", origin_server_ts=START_TS * 2)
    arrived = pongs.read_history([ping_event("$a"), early, future], ROOM, now_ts)
    batch = pongs.judge(arrived)
    assert batch.samples[0].pong.seen_ts == batch.samples[0].ping.seen_ts
    assert [ping.event_id for ping in batch.pings] == ["$a"]
    assert [(pong.reason, pong.seen_ts) for pong in batch.rejected] == [
        (Rejection.IMPOSSIBLE_TIME, now_ts)
    ]


@pytest.mark.parametrize("jump_s", [3600, -86_400])
def test_a_wall_clock_that_is_set_makes_no_pending_pong_late_nor_gives_it_up(
    pongs: PongMatcher, jump_s: int
) -> None:
    live(pongs, pong_event("$b", "$a"))
    with time_machine.travel((START_TS / 1000) + jump_s):
        assert reasons(pongs.expire(clock.now_ns(), lambda _: False)) == []
    [sample] = live(pongs, ping_event("$a"), after_s=1 + jump_s).samples
    assert sample.pong.seen_ts <= sample.ping.seen_ts


@pytest.mark.parametrize("jump_s", [3600, -86_400])
def test_a_wall_clock_that_is_set_after_a_send_makes_no_clock_offset(
    pongs: PongMatcher, jump_s: int
) -> None:
    arrived = pongs.read_live([own_ping()], ROOM, SECOND_NS, START_TS + jump_s * 1000)
    [ping] = pongs.judge(arrived).pings
    assert ping.sent_ts == ping.seen_ts - 500


@pytest.mark.parametrize("jump_s", [3600, -86_400])
def test_a_wall_clock_that_is_set_makes_no_pong_late_or_early(
    pongs: PongMatcher, jump_s: int
) -> None:
    live(pongs, ping_event("$a"), after_s=1)
    answer = pong_event("$b", "$a")
    arrived = pongs.read_live([answer], ROOM, 3 * SECOND_NS, START_TS + (3 + jump_s) * 1000)
    [sample] = pongs.judge(arrived).samples
    assert sample.pong.seen_ts - sample.ping.seen_ts == 2000


def test_a_wall_clock_that_is_set_makes_no_pong_early_whose_ping_is_known_from_history(
    pongs: PongMatcher,
) -> None:
    history(pongs, ping_event("$a"))
    [sample] = live(pongs, pong_event("$b", "$a"), after_s=-86_400).samples
    assert sample.pong.seen_ts - sample.ping.seen_ts == 100


def test_a_pong_that_arrives_a_day_after_its_ping_is_late_whatever_time_it_claims(
    pongs: PongMatcher,
) -> None:
    pongs.learn([Ping("$a", ROOM, "one.example", START_TS, START_TS)])
    pongs_of_a_day_later = [pong_event(f"$b{number}", "$a") for number in range(2)]
    assert reasons(live(pongs, *pongs_of_a_day_later, after_s=86_400)) == [Rejection.LATE] * 2


@pytest.mark.parametrize("jump_s", [3600, -86_400])
def test_a_wall_clock_that_is_set_makes_no_pong_late_or_early_that_is_known_from_history(
    pongs: PongMatcher, jump_s: int
) -> None:
    live(pongs, ping_event("$a"), after_s=jump_s)
    [sample] = history(pongs, pong_event("$b", "$a")).samples
    assert sample.pong.seen_ts - sample.ping.seen_ts == 100


def test_a_redacted_pong_is_pending_no_more(pongs: PongMatcher) -> None:
    live(pongs, pong_event("$b", "$a"), pong_event("$c", "$a", server="three.example"))
    pongs.pending.redact(ROOM, ["$b"])
    batch = live(pongs, ping_event("$a"))
    assert [sample.pong.event_id for sample in batch.samples] == ["$c"]


def test_a_server_that_invents_pings_can_not_fill_the_memory(pongs: PongMatcher) -> None:
    invented = [pong_event(f"$b{n}", f"$a{n}") for n in range(MAX_PENDING + 5)]
    batch = live(pongs, *invented, pong_event("$honest", "$h", server="honest.example"))
    assert len(batch.pending) == MAX_PENDING + 1
    assert reasons(batch) == [Rejection.UNKNOWN_PING] * 5


def test_many_pings_do_not_fill_the_memory(pongs: PongMatcher) -> None:
    for start in range(0, MAX_PINGS + 1000, 1000):
        live(pongs, *(ping_event(f"$p{n}") for n in range(start, start + 1000)))
    assert len(pongs._known) == MAX_PINGS


def test_the_answers_of_many_pings_do_not_fill_the_memory(
    pongs: PongMatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pongs_module, "MAX_ANSWERS", 1_000)
    for number in range(30):
        answers = [
            pong_event(f"$b{number}-{n}", f"$p{number}", f"s{n}.example") for n in range(100)
        ]
        batch = live(pongs, ping_event(f"$p{number}"), *answers)
        assert len(batch.samples) == 100
    kept = [known.answers for known in pongs._known.values()]
    assert len(kept) >= 10
    assert sum(map(len, kept)) <= 1_100


def test_a_ping_of_ours_is_not_forgotten_while_it_is_under_way(
    pongs: PongMatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pongs_module, "MAX_PINGS", 1)
    live(pongs, own_ping(), after_s=1)
    live(pongs, ping_event("$a"), ping_event("$b"), after_s=1)
    batch = live(pongs, pong_event("$c", "$own"), after_s=2)
    assert [sample.round_trip_ms for sample in batch.samples] == [1500]


def test_servers_that_answered_lately_are_expected_to_answer(pongs: PongMatcher) -> None:
    members = members_of(["@bot:two.example", "@x:three.example"], {"two.example": START_TS})
    batch = live(pongs, own_ping(), after_s=1, members=members)
    assert [(ping.event_id, list(servers)) for ping, servers in batch.expected] == [
        ("$own", ["two.example"])
    ]


def test_nothing_is_expected_of_a_ping_that_turns_out_void(
    pongs: PongMatcher, sent: SentPing
) -> None:
    members = members_of(["@bot:two.example"], {"two.example": START_TS})
    live(pongs, own_ping(), after_s=1, members=members)
    sent.give_up(VoidReason.RETRIED)
    batch = live(pongs, after_s=2, members=members)
    assert [ping.event_id for ping in batch.voided] == ["$own"]
    assert live(pongs, after_s=3, members=members).voided == []


def test_nothing_is_expected_of_a_void_ping_though_nothing_is_heard_after_it(
    pongs: PongMatcher, sent: SentPing
) -> None:
    members = members_of(["@bot:two.example"], {"two.example": START_TS})
    live(pongs, own_ping(), after_s=1, members=members)
    sent.give_up(VoidReason.STALLED)
    batch = pongs.expire(clock.now_ns(), lambda _room_id: False)
    assert [ping.event_id for ping in batch.voided] == ["$own"]


def test_a_bot_is_expected_while_joined_and_for_24_hours_after_it_answered() -> None:
    members = members_of(["@bot:two.example", "@user:two.example"], {})
    assert members.expected(START_TS) == []
    members.hear("@bot:two.example", "two.example", START_TS)
    assert members.expected(START_TS) == ["two.example"]
    assert members.expected(START_TS + EXPECTED_WITHIN_MS + 1) == []
    members.change("@bot:two.example", is_joined=False)
    assert members.expected(START_TS) == []


@given(st.permutations(["$a", "$b", "$c", "$d", "$e", "$f"]))
def test_the_order_in_which_history_comes_does_not_matter(order: list[str]) -> None:
    events = {
        "$a": ping_event("$a"),
        "$b": pong_event("$b", "$a", ms=100),
        "$c": pong_event("$c", "$a", server="three.example"),
        "$d": ping_event("$d"),
        "$e": pong_event("$e", "$d"),
        "$f": pong_event("$f", "$nowhere"),
    }
    pongs = PongMatcher(US, "main", SentPings())
    batches = [history(pongs, events[name]) for name in order]
    counted = {sample.pong.event_id for batch in batches for sample in batch.samples}
    assert counted == {"$b", "$c", "$e"}
    kept = {pending.pong.event_id for batch in batches for pending in batch.pending}
    assert kept - {pong.event_id for batch in batches for pong in batch.no_longer_pending} == {"$f"}
