"""What the ledger makes of events: samples, rejections, and pongs that wait for their ping."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pingboard.matrix.ledger import MAX_PINGS, Ledger
from pingboard.matrix.members import EXPECTED_WITHIN_MS, Members
from pingboard.matrix.pinger import SentPing
from pingboard.matrix.waiting import MAX_PENDING
from pingboard.model import PONG_TIMEOUT_MS, Batch, Ping, Provenance, Rejection, VoidReason
from tests.samples import START_TS

ROOM = "!room"
US = "@pingboard:one.example"
SECOND_NS = 1_000_000_000


def ping_event(event_id: str, sender: str = "@a:one.example", **more: Any) -> dict[str, Any]:
    return {
        "type": "m.room.message",
        "event_id": event_id,
        "sender": sender,
        "origin_server_ts": START_TS,
        "content": {"msgtype": "m.text", "body": "!ping abc"},
        **more,
    }


def pong_event(
    event_id: str, ping: str, server: str = "two.example", ms: int = 100
) -> dict[str, Any]:
    return {
        "type": "m.room.message",
        "event_id": event_id,
        "sender": f"@bot:{server}",
        "origin_server_ts": START_TS + ms,
        "content": {"msgtype": "m.notice", "pong": {"ms": ms, "from": "one.example", "ping": ping}},
    }


def live(ledger: Ledger, *events: dict[str, Any], after_s: int = 0, **more: Any) -> Batch:
    arrived_ts = START_TS + after_s * 1000
    arrived = ledger.read_live(events, ROOM, after_s * SECOND_NS, arrived_ts)
    return ledger.judge(arrived, **more)


def history(ledger: Ledger, *events: dict[str, Any]) -> Batch:
    return ledger.judge(ledger.read_history(events, ROOM, START_TS + 10**9))


def reasons(batch: Batch) -> list[Rejection]:
    return [one.reason for one in batch.rejected]


@pytest.fixture
def sent() -> SentPing:
    """The ping of ours with transaction ID `tx`, sent half a second before time 1 s."""
    return SentPing(SECOND_NS // 2, START_TS + 500)


@pytest.fixture
def ledger(sent: SentPing) -> Ledger:
    return Ledger(US, "main", {"tx": sent}.get)


def own_ping() -> dict[str, Any]:
    return ping_event("$own", US, unsigned={"transaction_id": "tx"})


def test_a_pong_to_a_ping_of_the_same_response_counts(ledger: Ledger) -> None:
    batch = live(ledger, ping_event("$a"), pong_event("$b", "$a"))
    assert [one.pong.event_id for one in batch.samples] == ["$b"]
    assert batch.samples[0].round_trip_ms is None


def test_our_own_ping_gives_a_round_trip_from_send_to_arrival(ledger: Ledger) -> None:
    [ping] = live(ledger, own_ping(), after_s=1).pings
    assert (ping.vantage, ping.sent_ts) == ("main", START_TS + 500)
    batch = live(ledger, pong_event("$b", "$own"), after_s=3)
    assert [one.round_trip_ms for one in batch.samples] == [2500]


def test_a_void_ping_gives_no_round_trip_but_its_claims_count(
    ledger: Ledger, sent: SentPing
) -> None:
    live(ledger, own_ping(), after_s=1)
    sent.give_up(VoidReason.RETRIED)
    [sample] = live(ledger, pong_event("$b", "$own"), after_s=3).samples
    assert (sample.round_trip_ms, sample.pong.one_way_ms) == (None, 100)


def test_a_ping_that_our_homeserver_shows_us_late_is_void(ledger: Ledger, sent: SentPing) -> None:
    live(ledger, own_ping(), after_s=4)
    assert sent.void is VoidReason.SLOW


def test_a_message_of_ours_from_another_process_is_ours_without_a_send(ledger: Ledger) -> None:
    live(ledger, ping_event("$old", US, unsigned={"transaction_id": "earlier"}))
    [sample] = live(ledger, pong_event("$b", "$old"), after_s=3).samples
    assert sample.ping.vantage == "main"
    assert sample.round_trip_ms is None


def test_a_pong_before_its_ping_waits_and_then_counts(ledger: Ledger) -> None:
    first = live(ledger, pong_event("$b", "$a"))
    assert first.samples == []
    assert [one.pong.event_id for one in first.pending] == ["$b"]
    second = live(ledger, ping_event("$a"), after_s=1)
    assert [one.pong.event_id for one in second.samples] == ["$b"]
    assert [pong.event_id for pong in second.settled] == ["$b"]


def test_a_pong_whose_ping_is_looked_up_while_it_waits_counts(ledger: Ledger) -> None:
    live(ledger, pong_event("$b", "$a"))
    ledger.learn([Ping("$a", ROOM, "one.example", START_TS, START_TS)])
    batch = live(ledger)
    assert [one.pong.event_id for one in batch.samples] == ["$b"]
    assert [pong.event_id for pong in batch.settled] == ["$b"]


def test_a_pong_whose_ping_turns_out_to_be_none_while_it_waits_is_rejected(ledger: Ledger) -> None:
    live(ledger, pong_event("$b", "$a"))
    ledger.learn_no_ping(ROOM, "$a")
    assert reasons(live(ledger)) == [Rejection.NOT_A_PING]


def test_a_pong_waits_until_its_ping_is_there(ledger: Ledger) -> None:
    [waiting] = live(ledger, pong_event("$b", "$a")).pending
    assert ledger.waits(waiting)
    history(ledger, ping_event("$a"))
    assert not ledger.waits(waiting)


def test_the_pings_that_most_servers_answered_are_looked_up_first(ledger: Ledger) -> None:
    invented = [pong_event(f"$i{n}", f"${n}", server="liar.example") for n in range(20)]
    answers = [pong_event(f"$b{n}", "$real", server=f"s{n}.example") for n in range(2)]
    live(ledger, *invented, *answers)
    assert ledger.waiting_for(ROOM)[0] == "$real"


def test_a_pong_that_waited_has_no_round_trip(ledger: Ledger) -> None:
    live(ledger, pong_event("$b", "$own"), after_s=1)
    [sample] = live(ledger, own_ping(), after_s=1).samples
    assert sample.round_trip_ms is None


def test_a_ping_that_never_comes_makes_its_pong_rejected_after_ten_minutes(ledger: Ledger) -> None:
    live(ledger, pong_event("$b", "$a"))
    assert ledger.expire(START_TS + PONG_TIMEOUT_MS, lambda _: False) == Batch(
        rejected=[], settled=[]
    )
    assert reasons(ledger.expire(START_TS + PONG_TIMEOUT_MS + 1, lambda _: True)) == []
    gone = ledger.expire(START_TS + PONG_TIMEOUT_MS + 1, lambda _: False)
    assert reasons(gone) == [Rejection.UNKNOWN_PING]
    assert live(ledger, ping_event("$a"), after_s=601).samples == []


def test_a_second_pong_is_a_duplicate_and_the_same_one_again_is_nothing(ledger: Ledger) -> None:
    batch = live(
        ledger,
        ping_event("$a"),
        pong_event("$b", "$a"),
        pong_event("$c", "$a", ms=1),
        pong_event("$d", "$a", server="three.example"),
    )
    assert [one.pong.event_id for one in batch.samples] == ["$b", "$d"]
    assert reasons(batch) == [Rejection.DUPLICATE]
    again = live(ledger, pong_event("$b", "$a"))
    assert reasons(again) == []


def test_history_is_judged_by_the_times_it_claims(ledger: Ledger) -> None:
    late = pong_event("$late", "$a", server="late.example", ms=PONG_TIMEOUT_MS + 1)
    batch = history(ledger, ping_event("$a"), pong_event("$b", "$a"), late)
    assert [one.provenance for one in batch.samples] == [Provenance.GAP_FILL]
    assert reasons(batch) == [Rejection.LATE]


def test_history_can_not_claim_to_be_of_the_future_nor_an_answer_before_its_ping(
    ledger: Ledger,
) -> None:
    now_ts = START_TS + 5000
    early = pong_event("$b", "$a", ms=-3000)
    future = ping_event("$f", origin_server_ts=START_TS * 2)
    arrived = ledger.read_history([ping_event("$a"), early, future], ROOM, now_ts)
    batch = ledger.judge(arrived)
    assert batch.samples[0].pong.seen_ts == batch.samples[0].ping.seen_ts
    assert [ping.event_id for ping in batch.pings] == ["$a"]
    assert [(one.reason, one.seen_ts) for one in batch.rejected] == [
        (Rejection.IMPOSSIBLE_TIME, now_ts)
    ]


@pytest.mark.parametrize("jump_s", [3600, -86_400])
def test_a_wall_clock_that_is_set_makes_no_pong_late_or_early(ledger: Ledger, jump_s: int) -> None:
    live(ledger, ping_event("$a"), after_s=1)
    answer = pong_event("$b", "$a")
    arrived = ledger.read_live([answer], ROOM, 3 * SECOND_NS, START_TS + (3 + jump_s) * 1000)
    [sample] = ledger.judge(arrived).samples
    assert sample.pong.seen_ts - sample.ping.seen_ts == 2000


@pytest.mark.parametrize("jump_s", [3600, -86_400])
def test_nor_does_it_where_the_ping_is_known_from_history(ledger: Ledger, jump_s: int) -> None:
    history(ledger, ping_event("$a"))
    [sample] = live(ledger, pong_event("$b", "$a"), after_s=jump_s).samples
    assert sample.pong.seen_ts - sample.ping.seen_ts == 100


@pytest.mark.parametrize("jump_s", [3600, -86_400])
def test_nor_does_it_where_the_pong_is_known_from_history(ledger: Ledger, jump_s: int) -> None:
    live(ledger, ping_event("$a"), after_s=jump_s)
    [sample] = history(ledger, pong_event("$b", "$a")).samples
    assert sample.pong.seen_ts - sample.ping.seen_ts == 100


def test_a_pong_that_is_late_by_its_own_time_too_is_late(ledger: Ledger) -> None:
    history(ledger, ping_event("$a"))
    late = pong_event("$b", "$a", ms=PONG_TIMEOUT_MS + 1)
    assert reasons(live(ledger, late, after_s=700)) == [Rejection.LATE]


def test_a_redacted_pong_does_not_wait_any_more(ledger: Ledger) -> None:
    live(ledger, pong_event("$b", "$a"), pong_event("$c", "$a", server="three.example"))
    ledger.redact(ROOM, ["$b"])
    batch = live(ledger, ping_event("$a"))
    assert [one.pong.event_id for one in batch.samples] == ["$c"]


def test_a_server_that_invents_pings_can_not_fill_the_memory(ledger: Ledger) -> None:
    invented = [pong_event(f"$b{n}", f"$a{n}") for n in range(MAX_PENDING + 5)]
    batch = live(ledger, *invented, pong_event("$honest", "$h", server="honest.example"))
    assert len(batch.pending) == MAX_PENDING + 1
    assert reasons(batch) == [Rejection.UNKNOWN_PING] * 5


def test_many_pings_do_not_fill_the_memory(ledger: Ledger) -> None:
    for start in range(0, MAX_PINGS + 1000, 1000):
        live(ledger, *(ping_event(f"$p{n}") for n in range(start, start + 1000)))
    assert len(ledger._known) == MAX_PINGS


def test_servers_that_answered_lately_are_expected_to_answer(ledger: Ledger) -> None:
    members = Members(["@bot:two.example", "@x:three.example"], {"two.example": START_TS})
    batch = live(ledger, own_ping(), after_s=1, members=members)
    assert [(ping.event_id, list(servers)) for ping, servers in batch.expected] == [
        ("$own", ["two.example"])
    ]


def test_nothing_is_expected_of_a_ping_that_turns_out_void(ledger: Ledger, sent: SentPing) -> None:
    members = Members(["@bot:two.example"], {"two.example": START_TS})
    live(ledger, own_ping(), after_s=1, members=members)
    sent.give_up(VoidReason.RETRIED)
    batch = live(ledger, after_s=2, members=members)
    assert [ping.event_id for ping in batch.voided] == ["$own"]
    assert live(ledger, after_s=3, members=members).voided == []


def test_a_bot_that_left_or_fell_silent_is_not_expected() -> None:
    members = Members(["@bot:two.example", "@user:two.example"], {})
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
    ledger = Ledger(US, "main", lambda _: None)
    batches = [history(ledger, events[name]) for name in order]
    found = {one.pong.event_id for batch in batches for one in batch.samples}
    assert found == {"$b", "$c", "$e"}
    kept = {one.pong.event_id for batch in batches for one in batch.pending}
    assert kept - {pong.event_id for batch in batches for pong in batch.settled} == {"$f"}
