"""Readiness and metrics."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from pingboard.model import (
    Batch,
    Rejected,
    Rejection,
    RoomState,
    VoidReason,
    WorkerState,
    to_ts,
)
from pingboard.store.engine import Engine, open_engine
from pingboard.store.ingest import Ingest
from pingboard.store.rooms import record_room_state
from pingboard.store.status import record_worker
from pingboard.web import metrics
from tests.samples import make_ping
from tests.web.site import NOW, ROOM, make_answers, record, serve


def read(text: str) -> dict[str, float]:
    """The samples of a scrape by name and labels."""
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def say(store: Engine, state: WorkerState, *, synced_before: timedelta) -> None:
    synced = to_ts(NOW - synced_before)
    record_worker(store, "main", state, synced, synced)


def test_the_lateness_of_the_workers_event_loop_is_shown(store: Engine) -> None:
    record_worker(store, "main", WorkerState.RUNNING, 0, to_ts(NOW), 250)
    with serve(store) as client:
        scrape = read(client.get("/metrics").text)
    assert scrape['pingboard_worker_loop_late_seconds{vantage="main"}'] == 0.25


def test_a_worker_whose_vantage_was_renamed_is_not_waited_for(store: Engine) -> None:
    record_worker(store, "attic", WorkerState.STOPPED, 0, to_ts(NOW - timedelta(days=1)), 250)
    with serve(store) as client:
        before = read(client.get("/metrics").text)
        record_worker(store, "cellar", WorkerState.RUNNING, 0, to_ts(NOW), 250)
        scrape = read(client.get("/metrics").text)
    assert before['pingboard_worker_running{vantage="attic"}'] == 0
    assert scrape['pingboard_worker_running{vantage="cellar"}'] == 1
    assert not [name for name in scrape if "attic" in name]


def test_pongs_are_counted_from_scrape_to_scrape(store: Engine) -> None:
    record(store, make_answers("old.example", [300]))
    with serve(store) as client:
        first = read(client.get("/metrics").text)
        record(store, make_answers("one.example", [400, 2400]))
        Ingest(store, "test").record(
            Batch(
                rejected=[
                    Rejected(n, ROOM, "x.example", Rejection.LATE, to_ts(NOW)) for n in range(3)
                ]
            )
        )
        second = read(client.get("/metrics").text)
    assert first["pingboard_database_up"] == 1
    assert first["pingboard_pings_total"] == 1
    assert 'pingboard_pongs_total{verdict="counted"}' not in first
    assert second['pingboard_pongs_total{verdict="counted"}'] == 2
    assert second['pingboard_pongs_total{verdict="late"}'] == 3
    assert second["pingboard_pings_total"] == 2
    buckets = 'pingboard_round_trip_seconds_bucket{homeserver="one.example",le="%s"}'
    assert second[buckets % "0.5"] == 1
    assert second[buckets % "2.5"] == 2
    assert second['pingboard_round_trip_seconds_sum{homeserver="one.example"}'] == 2.8


def test_void_rounds_are_counted_by_reason_over_restarts_of_either_side(store: Engine) -> None:
    def count(vantage: str, rounds: Mapping[VoidReason, int]) -> None:
        void = Counter(rounds).elements()
        Ingest(store, "test").record(Batch(void_rounds=[(vantage, reason) for reason in void]))

    count("main", {VoidReason.LIMITED: 2})
    with serve(store) as client:
        first = read(client.get("/metrics").text)
        count("main", {VoidReason.LIMITED: 1, VoidReason.STALLED: 4})
        count("second", {VoidReason.LIMITED: 7})
        second = read(client.get("/metrics").text)
    name = 'pingboard_void_rounds_total{reason="%s",vantage="%s"}'
    assert first[name % ("limited", "main")] == 2
    assert second[name % ("limited", "main")] == 3
    assert second[name % ("stalled", "main")] == 4
    assert second[name % ("limited", "second")] == 7
    with serve(store) as client:
        assert read(client.get("/metrics").text)[name % ("limited", "main")] == 3


def test_homeservers_beyond_the_bound_are_counted_together(
    store: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "MAX_HOMESERVERS", 2)
    with serve(store) as client:
        client.get("/metrics")
        for number in range(5):
            record(store, make_answers(f"hs{number}.example", [400]))
        text = client.get("/metrics").text
    names = set(re.findall(r'round_trip_seconds_count\{homeserver="([^"]+)"', text))
    assert names == {"hs0.example", "hs1.example", "other"}
    assert read(text)['pingboard_round_trip_seconds_count{homeserver="other"}'] == 3


def test_requests_are_counted_by_path_template(store: Engine) -> None:
    with serve(store) as client:
        for path in ("/api/v1/homeservers/a", "/api/v1/homeservers/b", "/no/where", "/no/there"):
            client.get(path)
        text = client.get("/metrics").text
    handlers = set(re.findall(r'http_requests_total\{handler="([^"]+)"', text))
    assert "/api/v1/homeservers/{name}" in handlers
    assert not any(name.startswith(("/no", "/api/v1/homeservers/a")) for name in handlers)


def test_every_request_is_counted_once_whoever_answers_it(store: Engine) -> None:
    with serve(store) as client:
        etag = client.get("/rankings.md").headers["etag"]
        for headers in ({}, {}, {"If-None-Match": etag}):
            client.get("/rankings.md", headers=headers)
        client.head("/rankings.md")
        client.get("/rankings.md", params={"board": "delivery"}, headers={"If-None-Match": etag})
        client.get("/rankings.md", params={"board": "deliver"})
        client.post("/rankings.md")
        client.request("PROPFIND", "/rankings.md")
        client.head("/healthz")
        client.get("/healthz")
        client.get("/no/where")
        counts = re.findall(
            r'^pingboard_http_requests_total\{handler="([^"]+)",method="([^"]+)",source="(\w+)",'
            r'status="(\d+)"\} (\S+)',
            client.get("/metrics").text,
            re.MULTILINE,
        )
    requests = {tuple(labels): float(count) for *labels, count in counts}
    assert requests == {
        ("/rankings.md", "GET", "app", "200"): 1,
        ("/rankings.md", "GET", "cache", "200"): 2,
        ("/rankings.md", "GET", "cache", "304"): 1,
        ("/rankings.md", "HEAD", "cache", "200"): 1,
        # Another board, with the same table: made anew, and not sent again.
        ("/rankings.md", "GET", "app", "304"): 1,
        ("/rankings.md", "GET", "app", "422"): 1,
        ("/rankings.md", "POST", "app", "405"): 1,
        ("/rankings.md", "other", "app", "405"): 1,
        ("/healthz", "HEAD", "app", "200"): 1,
        ("/healthz", "GET", "app", "200"): 1,
        ("none", "GET", "app", "404"): 1,
    }


def test_metrics_say_when_the_database_is_down(tmp_path: Path) -> None:
    absent = open_engine(f"sqlite:///{tmp_path}/absent.db", read_only=True)
    with serve(absent) as client:
        answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert read(answer.text)["pingboard_database_up"] == 0


def test_a_worker_that_syncs_is_ready(store: Engine) -> None:
    record(store, make_answers("one.example", [400]))
    say(store, WorkerState.RUNNING, synced_before=timedelta(seconds=40))
    with serve(store) as client:
        answer = client.get("/readyz")
        scrape = read(client.get("/metrics").text)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "state": "ready",
        "last_sync_at": "2026-10-11T23:59:20.000Z",
        "last_pong_at": "2026-10-11T12:00:00.400Z",
    }
    assert scrape['pingboard_last_sync_timestamp_seconds{vantage="main"}'] == to_ts(NOW) / 1000 - 40
    assert scrape['pingboard_worker_running{vantage="main"}'] == 1


@pytest.mark.parametrize(
    ("state", "synced_before", "reason"),
    [
        (WorkerState.AUTH, timedelta(seconds=5), "auth"),
        (WorkerState.UNREACHABLE, timedelta(minutes=1), "unreachable"),
        (WorkerState.STOPPED, timedelta(minutes=1), "stopped"),
        (WorkerState.RUNNING, timedelta(hours=1), "stale"),
    ],
)
def test_what_is_wrong_with_the_worker_is_said(
    store: Engine, state: WorkerState, synced_before: timedelta, reason: str
) -> None:
    say(store, state, synced_before=synced_before)
    with serve(store) as client:
        answer = client.get("/readyz")
        assert client.get("/healthz").status_code == 200
        assert client.get("/api/v1/rankings").status_code == 200
        scrape = read(client.get("/metrics").text)
    assert scrape['pingboard_worker_running{vantage="main"}'] == 0
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems/not-ready"
    assert answer.json()["reason"] == reason


@pytest.mark.parametrize(
    ("started_before", "reason"),
    [(timedelta(seconds=5), "starting"), (timedelta(hours=1), "stale")],
)
def test_a_worker_that_has_not_synced_yet_is_starting_for_a_while(
    store: Engine, started_before: timedelta, reason: str
) -> None:
    say(store, WorkerState.RUNNING, synced_before=started_before + timedelta(days=1))
    since = to_ts(NOW - started_before)
    record_worker(store, "main", WorkerState.STARTING, since, None)
    with serve(store) as client:
        assert client.get("/readyz").json()["reason"] == reason


def test_the_last_pong_is_known_also_long_after_it(store: Engine) -> None:
    record(store, make_answers("one.example", [400, 500]))
    silence = [
        make_ping(number, "ours.example", room_id=ROOM, seen_ts=to_ts(NOW) - 60_000 + number)
        for number in range(100, 120)
    ]
    Ingest(store, "test").record(Batch(silence))
    say(store, WorkerState.RUNNING, synced_before=timedelta(seconds=1))
    with serve(store) as client:
        assert client.get("/readyz").json()["last_pong_at"] == "2026-10-11T12:00:01.500Z"


def test_a_database_without_a_worker_is_not_ready(store: Engine, tmp_path: Path) -> None:
    with serve(store) as client:
        assert client.get("/readyz").json()["reason"] == "no-worker"
    absent = open_engine(f"sqlite:///{tmp_path}/absent.db", read_only=True)
    with serve(absent) as client:
        answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["reason"] == "database"


@pytest.mark.parametrize(
    ("state", "why"),
    [(RoomState.LEFT, "not in the room any more"), (RoomState.DENIED, "may not send")],
)
def test_a_worker_that_no_room_lets_ping_is_not_ready(
    store: Engine, state: RoomState, why: str
) -> None:
    say(store, WorkerState.RUNNING, synced_before=timedelta(seconds=1))
    record_room_state(store, ROOM, state)
    with serve(store) as client:
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["reason"]) == (503, "room")
        assert why in answer.json()["detail"]
        Ingest(store, "test").record_room("!second", None)
        assert client.get("/readyz").status_code == 200
