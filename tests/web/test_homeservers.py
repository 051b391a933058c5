"""Who was heard, one homeserver in detail, and its history."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from pingboard.model import Batch, BoardName, Rejected, Rejection, Sample, hash_event_id, to_ts
from pingboard.store.engine import Engine
from pingboard.store.ingest import Ingest
from tests.samples import make_ping, make_pong
from tests.web.site import NOW, ROOM, lose, make_answers, record, serve

HOMESERVERS = "/api/v1/homeservers"
TWO = f"{HOMESERVERS}/two.example"
NOON = {"from": "2026-10-11T12:00:00Z"}


def reject(engine: Engine, homeserver: str, reason: Rejection, *ages: timedelta) -> None:
    hashes = [hash_event_id(f"$pong{number}-{homeserver}") for number in range(len(ages))]
    rejected = [
        Rejected(event_hash, ROOM, homeserver, reason, to_ts(NOW - age))
        for event_hash, age in zip(hashes, ages, strict=True)
    ]
    Ingest(engine, "test").record(Batch([], [], rejected))


@pytest.mark.parametrize("path", [f"{HOMESERVERS}/nobody.example", f"{HOMESERVERS}/x/history"])
def test_an_unknown_homeserver_is_a_404_that_names_it(site: httpx.Client, path: str) -> None:
    answer = site.get(path)
    assert answer.status_code == 404
    assert answer.json()["type"] == "/problems/unknown-homeserver"
    assert repr(path.split("/")[4]) in answer.json()["detail"]


@pytest.mark.parametrize("name", ["[::1]:8448", "one.example:6167", "xn--nxasmq6b.example"])
def test_every_kind_of_name_is_found(store: Engine, name: str) -> None:
    record(store, make_answers(name, [400]))
    with serve(store) as client:
        answer = client.get(f"{HOMESERVERS}/{quote(name, safe='')}")
    assert answer.json()["boards"]["response"]["rank"] == 1
    assert answer.json()["homeserver"] == name


@pytest.mark.parametrize("name", ["evil|name", "<svg onload=x>", "=cmd()", "\u202e", "a" * 300])
def test_a_hostile_name_is_refused_and_stays_text(site: httpx.Client, name: str) -> None:
    answer = site.get(f"{HOMESERVERS}/{quote(name, safe='')}")
    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_loss_counts_what_was_not_answered_within_ten_minutes(store: Engine) -> None:
    record(store, make_answers("two.example", [400, 410, 420]))
    lose(store, "two.example", pings=range(10, 11), before_now=timedelta(minutes=11))
    lose(store, "two.example", pings=range(20, 25), before_now=timedelta(minutes=9))
    with serve(store) as client:
        assert client.get(TWO).json()["answers"] == {"sent_count": 4, "lost_count": 1, "loss": 0.25}
        assert client.get(TWO, params={"window": "1h"}).json()["answers"] == {
            "sent_count": 1,
            "lost_count": 1,
            "loss": 1,
        }


def test_loss_stands_in_the_bucket_of_its_ping(store: Engine) -> None:
    record(store, make_answers("two.example", [400, 410]))
    lose(store, "two.example", pings=range(10, 12), before_now=timedelta(hours=12))
    lose(store, "two.example", pings=range(20, 21), before_now=timedelta(hours=1))
    with serve(store) as client:
        answer = client.get(f"{TWO}/history", params={**NOON, "step": "1h"}).json()
    figures = [
        (bucket["sent_count"], bucket["lost_count"], bucket["loss"]) for bucket in answer["buckets"]
    ]
    assert figures == [(4, 2, 0.5), *[(0, 0, None)] * 10, (1, 1, 1)]


def test_without_round_trips_the_history_is_that_of_the_first_board_that_has_samples(
    store: Engine,
) -> None:
    of = make_ping(1, "a.example", room_id=ROOM, seen_ts=to_ts(NOW) - 3_600_000)
    record(store, [Sample(of, make_pong(of, "two.example", 100), None)])
    with serve(store) as client:
        answer = client.get(f"{HOMESERVERS}/a.example/history").json()
        chosen = client.get(f"{HOMESERVERS}/a.example/history?board=reception").json()
    assert (answer["board"], sum(bucket["sample_count"] for bucket in answer["buckets"])) == (
        "delivery",
        1,
    )
    assert chosen["board"] == "reception"


def test_rejected_pongs_are_counted_by_reason_with_an_explanation(store: Engine) -> None:
    record(store, make_answers("two.example", [400]))
    hour, year = timedelta(hours=1), timedelta(days=365)
    reject(store, "two.example", Rejection.LATE, hour)
    reject(store, "two.example", Rejection.FORGED_FROM, hour, hour, year)
    reject(store, "other.example", Rejection.LATE, hour)
    with serve(store) as client:
        rejected = client.get(TWO).json()["rejected"]
    assert [(reason["reason"], reason["pong_count"]) for reason in rejected] == [
        ("forged_from", 2),
        ("late", 1),
    ]
    assert rejected[0]["explanation"] == "“from” is not the homeserver that sent the ping."


def test_every_reason_has_an_explanation(store: Engine) -> None:
    for reason in Rejection:
        reject(store, "two.example", reason, timedelta(hours=1))
    with serve(store) as client:
        rejected = client.get(TWO).json()["rejected"]
    assert {reason["reason"] for reason in rejected} == set(Rejection)
    assert all(reason["explanation"] and reason["remedy"] for reason in rejected)


def test_a_homeserver_of_which_only_rejected_pongs_are_known_has_a_profile(store: Engine) -> None:
    reject(store, "liar.example", Rejection.FORGED_FROM, timedelta(hours=1))
    with serve(store) as client:
        answer = client.get(f"{HOMESERVERS}/liar.example").json()
    assert answer["boards"] == dict.fromkeys(BoardName)
    assert answer["answers"] == {"sent_count": 0, "lost_count": 0, "loss": None}


def test_partners_are_the_two_ends_without_overlap(store: Engine) -> None:
    for number in range(7):
        record(store, make_answers(f"hs{number}.example", [200 + 10 * number]))
    with serve(store) as client:
        sending = client.get(f"{HOMESERVERS}/ours.example", params={"limit": 4}).json()["sending"]
    assert sending["homeserver_count"] == 7
    assert _names(sending["fastest"]) == [
        "hs0.example",
        "hs1.example",
        "hs2.example",
        "hs3.example",
    ]
    assert _names(sending["slowest"]) == [f"hs{n}.example" for n in (6, 5, 4)]


def _names(partners: list[dict[str, Any]]) -> list[str]:
    return [partner["homeserver"] for partner in partners]


@pytest.mark.parametrize(
    ("board", "name", "median"),
    [
        ("response", "two.example", 512),
        ("reception", "two.example", 256),
        ("delivery", "ours.example", 215),
    ],
)
def test_the_history_is_of_the_number_that_the_board_ranks(
    site: httpx.Client, board: str, name: str, median: float
) -> None:
    answer = site.get(f"{HOMESERVERS}/{name}/history", params={"board": board, "step": "1d"}).json()
    assert [bucket["median_ms"] for bucket in answer["buckets"]] == [*[None] * 6, median]
    board_median = site.get("/api/v1/rankings", params={"board": board}).json()["standings"]
    assert median in [row["median_ms"] for row in board_median]


def test_the_step_is_chosen_for_the_window(site: httpx.Client) -> None:
    assert site.get(f"{TWO}/history").json()["step"] == "1h"
    year = site.get(f"{TWO}/history", params={"window": "365d"}).json()
    assert (year["step"], year["step_s"], len(year["buckets"])) == ("1d", 86400, 365)


@pytest.mark.parametrize(
    ("parameters", "hint"),
    [({"step": "2h"}, "1m, 5m, 15m, 1h, 6h, 1d"), ({"step": "1m"}, "left out, it is 1h")],
)
def test_a_wrong_step_is_a_422_that_says_what_is_right(
    site: httpx.Client, parameters: dict[str, str], hint: str
) -> None:
    answer = site.get(f"{TWO}/history", params=parameters)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["query", "step"]
    assert hint in answer.json()["detail"]
