"""pingstat's own interface, as its clients ask it."""

from __future__ import annotations

import json
from dataclasses import replace
from urllib.parse import quote

import httpx
import pytest

from pingboard.model import Sample, to_ts
from pingboard.store.engine import Engine
from pingboard.store.ingest import Ingest
from tests.samples import make_ping, make_pong
from tests.web.site import ALIAS, NOW, ROOM, record, serve, text_of

BASE = "/_matrix/maubot/plugin/pingstat"
NOW_TS = to_ts(NOW)
ENDPOINT = f"{BASE}/{ROOM}"


def pong(
    number: int,
    ping_server: str,
    pong_server: str,
    ms: int,
    *,
    room: str = ROOM,
    age_s: float = 3600,
    clock_s: float = 0,
) -> Sample:
    """A pong `age_s` old by its own clock, which is `clock_s` ahead of ours."""
    ts = NOW_TS - round(age_s * 1000)
    seen_ts = ts - round(clock_s * 1000)
    ping = make_ping(number, ping_server, room_id=room, seen_ts=seen_ts - max(ms, 0))
    return Sample(
        ping, replace(make_pong(ping, pong_server, ms), origin_server_ts=ts, seen_ts=seen_ts), None
    )


def test_the_document_is_pingstats(store: Engine) -> None:
    record(
        store,
        [
            pong(1, "a.example", "x.example", 100, age_s=50),
            pong(1, "a.example", "y.example:8448", 103, age_s=49),
            pong(2, "b.example", "x.example", 20, age_s=48),
            pong(3, "b.example", "x.example", 30, age_s=47),
            pong(4, "b.example", "x.example", 50, age_s=46),
        ],
    )
    with serve(store) as client:
        answer = client.get(f"{ENDPOINT}/stats.json")
    assert answer.headers["content-type"] == "application/json"
    document = json.loads(answer.text, object_pairs_hook=list)
    assert [key for key, _ in document] == ["disclaimer", "pings", "mean", "pongservers"]
    text = answer.text.partition('"pings": ')[2]
    assert text == (
        '{"b.example": {"pongs": {"x.example": {"diffs": {"$ping2": 20, "$ping3": 30, '
        '"$ping4": 50}, "mean": 33.333333333333336, "median": 30, "gmean": 31.07232505953859}}, '
        '"pings": ["$ping2", "$ping3", "$ping4"], "mean": 33.333333333333336, "median": 30, '
        '"gmean": 31.07232505953859}, '
        '"a.example": {"pongs": {"x.example": {"diffs": {"$ping1": 100}, "mean": 100.0, '
        '"median": 100, "gmean": 100.00000000000004}, "y.example:8448": {"diffs": '
        '{"$ping1": 103}, "mean": 103.0, "median": 103, "gmean": 103.00000000000001}}, '
        '"pings": ["$ping1"], "mean": 101.5, "median": 101.5, "gmean": 101.48891565092222}}, '
        '"mean": 67.41666666666667, "pongservers": ["x.example", "y.example:8448"]}'
    )


def test_raw_rows_are_pingstats(store: Engine) -> None:
    record(store, [pong(1, "a.example", "[::1]:8448", 213, age_s=60)])
    with serve(store) as client:
        answer = client.get(f"{ENDPOINT}/stats.raw.json")
    assert answer.text == (
        f'[{{"room_id": "{ROOM}", "ping_id": "$ping1", "pong_server": "[::1]:8448", '
        f'"ping_server": "a.example", "receive_diff": 213, "pong_timestamp": {NOW_TS - 60_000}}}]'
    )


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, ["$ping1", "$ping2"]),
        ({"max_age": "100"}, ["$ping1"]),
        ({"min_age": "100"}, ["$ping1", "$ping2"]),
        ({"max_age": "9999999"}, ["$ping1", "$ping2"]),
        ({"max_age": "9999999", "min_age": "3600"}, ["$ping2", "$ping3"]),
        ({"max_age": "ten", "min_age": "1.5"}, ["$ping1", "$ping2"]),
        ({"max_age": "-1"}, []),
        ({"max_age": "9" * 30, "min_age": "-" + "9" * 30}, []),
        ({"max_age": " 1_00 ", "colour": "red"}, ["$ping1"]),
    ],
)
def test_ages_follow_pingstats_rules(
    store: Engine, parameters: dict[str, str], expected: list[str]
) -> None:
    record(
        store,
        [
            pong(1, "a.example", "x.example", 50, age_s=100),
            pong(2, "a.example", "x.example", 50, age_s=604_800),
            pong(3, "a.example", "x.example", 50, age_s=604_800.001),
        ],
    )
    with serve(store) as client:
        document = client.get(f"{ENDPOINT}/stats.json", params=parameters).json()
    pings = document["pings"]["a.example"]["pings"] if document["pings"] else []
    assert pings == expected


def test_raw_rows_have_no_limit_of_a_week(store: Engine) -> None:
    record(store, [pong(1, "a.example", "x.example", 50, age_s=10_000_000)])
    with serve(store) as client:
        assert client.get(f"{ENDPOINT}/stats.raw.json").json() == []
        long = client.get(f"{ENDPOINT}/stats.raw.json", params={"max_age": "10000000"}).json()
        assert [row["ping_id"] for row in long] == ["$ping1"]


def test_latencies_out_of_range_are_left_out(store: Engine) -> None:
    claims = [-5, 9, 10, 600_000, 600_001]
    record(store, [pong(i, "a.example", "x.example", ms) for i, ms in enumerate(claims)])
    with serve(store) as client:
        rows = client.get(f"{ENDPOINT}/stats.raw.json").json()
    assert [row["receive_diff"] for row in rows] == [10, 600_000]


def test_a_pong_counts_by_its_own_clock_however_wrong_it_is(store: Engine) -> None:
    month_s = 30 * 86400
    record(
        store,
        [
            pong(1, "a.example", "x.example", 50, age_s=60, clock_s=month_s),
            pong(2, "a.example", "x.example", 50, age_s=60, clock_s=-month_s),
            pong(3, "a.example", "x.example", 50, age_s=month_s, clock_s=-month_s + 60),
        ],
    )
    with serve(store) as client:
        rows = client.get(f"{ENDPOINT}/stats.raw.json").json()
    assert sorted(row["ping_id"] for row in rows) == ["$ping1", "$ping2"]


def test_ties_stand_in_the_order_of_their_pings_event_ids(store: Engine) -> None:
    record(
        store,
        [
            pong(1, "c.example", "x.example", 50, age_s=10),
            pong(2, "a.example", "x.example", 50, age_s=30),
            pong(3, "b.example", "x.example", 50, age_s=20),
        ],
    )
    with serve(store) as client:
        document = client.get(f"{ENDPOINT}/stats.json").json()
    assert list(document["pings"]) == ["c.example", "a.example", "b.example"]


def test_an_unknown_room_is_empty(store: Engine) -> None:
    with serve(store) as client:
        document = client.get(f"{BASE}/!nowhere/stats.json").json()
        assert document.pop("disclaimer")
        assert document == {"pings": {}, "mean": 0, "pongservers": []}
        assert client.get(f"{BASE}/!nowhere/stats.raw.json").text == "[]"
        assert "No pongs here" in client.get(f"{BASE}/!nowhere/stats").text


def test_the_alias_works_too(store: Engine) -> None:
    record(store, [pong(1, "a.example", "x.example", 50)])
    with serve(store) as client:
        document = client.get(f"{BASE}/{quote(ALIAS)}/stats.json").json()
    assert list(document["pings"]) == ["a.example"]


def test_an_upgraded_room_answers_under_either_id(store: Engine) -> None:
    Ingest(store, "test").record_room("!new", predecessor=ROOM)
    record(store, [pong(1, "a.example", "x.example", 50)])
    record(store, [pong(2, "b.example", "x.example", 50, room="!new", age_s=30)])
    with serve(store) as client:
        for room_id in (ROOM, "!new"):
            rows = client.get(f"{BASE}/{room_id}/stats.raw.json").json()
            assert [row["ping_id"] for row in rows] == ["$ping1", "$ping2"]
            assert {row["room_id"] for row in rows} == {room_id}


def test_the_page_is_json_for_who_accepts_it(store: Engine) -> None:
    record(store, [pong(1, "a.example", "x.example", 512)])
    with serve(store) as client:
        page = client.get(f"{ENDPOINT}/stats", headers={"Accept": "text/html"})
        accepts = "text/html;q=0.5, application/json"
        as_json = client.get(f"{ENDPOINT}/stats", headers={"Accept": accepts})
        assert as_json.json() == client.get(f"{ENDPOINT}/stats.json").json()
    assert page.headers["content-type"].startswith("text/html")
    assert "a.example" in text_of(page)
    assert "512.0" in page.text


def test_the_page_and_its_json_do_not_take_each_others_place(store: Engine) -> None:
    record(store, [pong(1, "a.example", "x.example", 512)])
    # Both prefer nothing; pingstat gives JSON to whoever names it.
    kinds = {"*/*": "text/html", "application/json, text/plain, */*": "application/json"}
    with serve(store) as client:
        for accept in [*kinds, *kinds]:
            answer = client.get(f"{ENDPOINT}/stats", headers={"Accept": accept})
            assert answer.headers["content-type"].startswith(kinds[accept])
            assert "Accept" in answer.headers["vary"].split(", ")


def test_the_page_can_be_had_in_another_language(store: Engine) -> None:
    with serve(store) as client:
        assert '<html lang="de">' in client.get(f"{ENDPOINT}/stats?lang=de&utm_source=x").text


@pytest.mark.parametrize("form", ["stats", "stats.json", "stats.raw.json"])
def test_legacy_addresses_redirect(site: httpx.Client, form: str) -> None:
    answer = site.get(f"{BASE}/{form}", params={"room_id": ROOM, "max_age": "1"})
    assert answer.status_code == 302
    assert answer.headers["location"] == f"{ROOM}/{form}"
    assert site.get(f"{BASE}/{answer.headers['location']}").status_code == 200
    assert site.get(f"{BASE}/{form}").status_code == 400


@pytest.mark.parametrize("room_id", ["//evil.example/", "https://evil.example", "/x", "!a/../b"])
def test_a_legacy_address_never_leads_to_another_site(site: httpx.Client, room_id: str) -> None:
    answer = site.get(f"{BASE}/stats", params={"room_id": room_id})
    target = answer.url.join(answer.headers["location"])
    assert (target.host, target.raw_path.startswith(BASE.encode())) == (answer.url.host, True)
