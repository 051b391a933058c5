"""The samples themselves, in pages and streamed."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import httpx
import pytest

from pingboard.model import Batch, Provenance, Sample, to_ts
from pingboard.store.engine import Engine
from pingboard.store.hours import close_hours
from pingboard.store.ingest import Ingest
from pingboard.store.samples import CHUNK_ROWS
from pingboard.web.api.samples import CSV_EXAMPLE, NDJSON_EXAMPLE
from tests.samples import make_ping, make_pong
from tests.web.site import NOW, ROOM, make_answers, record, serve

SAMPLES = "/api/v1/samples"


def rows_of(answer: httpx.Response) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = answer.json()["samples"]
    return rows


def follow(client: httpx.Client, parameters: dict[str, Any]) -> list[httpx.Response]:
    """A page and all that its links lead to."""
    pages = [client.get(SAMPLES, params=parameters)]
    while link := pages[-1].links.get("next"):
        pages.append(client.get(pages[-1].url.join(link["url"])))
    return pages


@pytest.mark.parametrize(
    ("format_", "media_type", "example"),
    [
        ("ndjson", "application/x-ndjson", NDJSON_EXAMPLE),
        ("csv", "text/csv; charset=utf-8; header=present", CSV_EXAMPLE),
    ],
)
def test_the_other_forms_are_the_examples_of_the_description(
    site: httpx.Client, format_: str, media_type: str, example: str
) -> None:
    by_name = site.get(SAMPLES, params={"limit": 1, "format": format_})
    by_header = site.get(SAMPLES, params={"limit": 1}, headers={"Accept": media_type})
    for answer in (by_name, by_header):
        assert answer.headers["content-type"] == media_type
        assert answer.text == example
        assert "Accept" in answer.headers["vary"].split(", ")


def test_every_form_has_the_same_samples(site: httpx.Client) -> None:
    expected = rows_of(site.get(SAMPLES))
    assert len(expected) == 8
    lines = site.get(SAMPLES, params={"format": "ndjson"}).text.splitlines()
    assert [json.loads(line) for line in lines] == expected
    table = list(csv.DictReader(io.StringIO(site.get(SAMPLES, params={"format": "csv"}).text)))
    assert table == [{key: str(value) for key, value in row.items()} for row in expected]


@pytest.mark.parametrize("format_", ["json", "ndjson", "csv"])
def test_a_room_without_samples_has_an_empty_answer(store: Engine, format_: str) -> None:
    with serve(store) as client:
        answer = client.get(SAMPLES, params={"format": format_})
    assert answer.status_code == 200
    assert "link" not in answer.headers
    assert len(answer.text.splitlines()) == {"json": 1, "ndjson": 0, "csv": 1}[format_]


def test_pages_follow_each_other_by_their_links_and_hold_every_sample_once(
    site: httpx.Client,
) -> None:
    whole = rows_of(site.get(SAMPLES))
    pages = follow(site, {"limit": 3})
    assert [len(rows_of(page)) for page in pages] == [3, 3, 2]
    assert [row for page in pages for row in rows_of(page)] == whole
    assert pages[-1].json()["next_cursor"] is None
    assert len({str(page.json()["window"]) for page in pages}) == 1
    assert len(follow(site, {"limit": 4})) == 2  # no empty last page


def test_a_stream_can_be_paged_too(site: httpx.Client) -> None:
    pages = follow(site, {"limit": 3, "format": "ndjson"})
    assert [len(page.text.splitlines()) for page in pages] == [3, 3, 2]


def test_a_page_holds_what_was_there_when_later_pongs_come_in_between(store: Engine) -> None:
    record(store, make_answers("one.example", range(400, 406)))
    with serve(store) as client:
        first = client.get(SAMPLES, params={"limit": 3})
        record(store, make_answers("late.example", range(400, 406)))
        pages = follow(client, {"limit": 100, "cursor": first.json()["next_cursor"]})
    keys = [
        (row["ping_event_id"], row["pong_server"])
        for page in (first, *pages)
        for row in rows_of(page)
    ]
    assert len(set(keys)) == len(keys)
    assert {name for name in keys if name[1] == "one.example"} == {
        (f"$ping{number}", "one.example") for number in range(6)
    }


def test_more_samples_than_a_chunk_come_complete_and_in_order(store: Engine) -> None:
    pings = [make_ping(n, room_id=ROOM, seen_ts=to_ts(NOW) - 60_000) for n in range(50)]
    pongs = [
        Sample(ping, make_pong(ping, f"bot{bot:03}.example"), None)
        for ping in pings
        for bot in range(90)
    ]
    assert len(pongs) > 2 * CHUNK_ROWS
    record(store, pongs)
    with serve(store) as client:
        lines = client.get(SAMPLES, params={"format": "ndjson"}).text.splitlines()
        pages = follow(client, {"limit": CHUNK_ROWS + 1, "format": "csv"})
    rows = [json.loads(line) for line in lines]
    keys = [(row["ping_event_id"], row["pong_server"]) for row in rows]
    assert sorted(set(keys)) == sorted(
        (sample.ping.event_id, sample.pong.server) for sample in pongs
    )
    assert len(keys) == len(pongs)
    assert [len(page.text.splitlines()) - 1 for page in pages] == [2001, 2001, 498]


@pytest.mark.parametrize(
    ("parameters", "count"),
    [
        ({"pong_server": "two.example"}, 3),
        ({"ping_server": "two.example"}, 0),
        ({"ping_server": "ours.example", "pong_server": "one.example"}, 5),
        ({"pong_server": "nobody.example"}, 0),
        ({"from": "2026-10-11T12:00:00.380Z", "to": "2026-10-11T12:00:00.381Z"}, 1),
        ({"window": "1h"}, 0),
    ],
)
def test_samples_are_filtered_by_server_and_time(
    site: httpx.Client, parameters: dict[str, str], count: int
) -> None:
    assert len(rows_of(site.get(SAMPLES, params=parameters))) == count


def test_a_cursor_belongs_to_its_query(site: httpx.Client) -> None:
    cursor = site.get(SAMPLES, params={"limit": 1}).json()["next_cursor"]
    for changed in ({"pong_server": "two.example"}, {"cursor": cursor[:-1]}):
        answer = site.get(SAMPLES, params={"cursor": cursor, **changed})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["loc"] == ["query", "cursor"]


def test_a_hostile_clock_is_shown_as_it_is(store: Engine) -> None:
    ping = make_ping(1, room_id=ROOM, seen_ts=to_ts(NOW) - 60_000, origin_server_ts=2**53 - 1)
    record(store, [Sample(ping, make_pong(ping), None, Provenance.GAP_FILL)])
    with serve(store) as client:
        (row,) = rows_of(client.get(SAMPLES))
    assert row["ping_origin_server_ts"] == 2**53 - 1
    assert row["provenance"] == "gap_fill"
    assert row["round_trip_ms"] is None


def test_a_cell_of_the_csv_is_never_a_formula(store: Engine) -> None:
    ping = make_ping(1, "-1.example", room_id=ROOM, seen_ts=to_ts(NOW) - 60_000)
    pong = make_pong(ping, "two.example", -5)
    Ingest(store, "test").record(Batch([], [Sample(ping, pong, None)]))
    with serve(store) as client:
        (row,) = csv.DictReader(io.StringIO(client.get(SAMPLES, params={"format": "csv"}).text))
    assert row["ping_server"] == "'-1.example"
    assert row["one_way_ms"] == "-5"


def test_a_head_request_reads_no_sample(site: httpx.Client) -> None:
    answer = site.head(SAMPLES, params={"format": "ndjson", "limit": 1})
    assert answer.status_code == 200
    assert "next" in answer.links


@pytest.mark.parametrize("coding", ["zstd", "br", "gzip"])
@pytest.mark.parametrize("form", ["json", "ndjson", "csv"])
def test_a_stream_is_compressed_as_it_goes(store: Engine, coding: str, form: str) -> None:
    record(store, make_answers("one.example", range(300, 900)))
    with serve(store) as client:
        parameters = {"format": form, "limit": "600"}
        plain = client.get(SAMPLES, params=parameters, headers={"Accept-Encoding": "identity"})
        coded = client.get(SAMPLES, params=parameters, headers={"Accept-Encoding": coding})
        head = client.head(SAMPLES, params=parameters, headers={"Accept-Encoding": coding})
    assert coded.text == plain.text
    assert coded.headers["content-encoding"] == head.headers["content-encoding"] == coding
    assert "content-encoding" not in plain.headers
    assert "Accept-Encoding" in plain.headers["vary"]
    assert coded.num_bytes_downloaded < plain.num_bytes_downloaded / 5


def test_samples_that_have_not_changed_are_not_sent_again(store: Engine) -> None:
    record(store, make_answers("one.example", [400]))
    with serve(store) as client:
        first = client.get(SAMPLES)
        known = {"If-None-Match": first.headers["etag"]}
        again = client.get(SAMPLES, headers=known)
        record(store, make_answers("two.example", [500]))
        changed = client.get(SAMPLES, headers=known)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert changed.status_code == 200
    assert len(changed.json()["samples"]) == 2


@pytest.mark.parametrize("format_", ["ndjson", "csv"])
def test_a_stream_of_the_past_is_never_sent_again(store: Engine, format_: str) -> None:
    record(store, make_answers("one.example", [400, 500]))
    close_hours(store, to_ts(NOW))
    past = {"from": "2026-10-11T00:00:00Z", "to": "2026-10-11T18:00:00Z", "format": format_}
    with serve(store) as client:
        first = client.get(SAMPLES, params=past)
        known = {"If-None-Match": first.headers["etag"]}
        # What comes later is not of that window.
        record(store, make_answers("two.example", [500], first=10 * 3600))
        assert client.get(SAMPLES, params=past, headers=known).status_code == 304
        assert client.get(SAMPLES, params={**past, "limit": 1}, headers=known).status_code == 200
        pong = make_answers("one.example", [400])[0].pong
        Ingest(store, "test").record(Batch(redacted=[(ROOM, pong.event_id)]))
        changed = client.get(SAMPLES, params=past, headers=known)
    assert changed.status_code == 200
    assert len(changed.text.splitlines()) == len(first.text.splitlines()) - 1


def test_of_several_forms_the_one_liked_best_is_given(site: httpx.Client) -> None:
    accept = "text/csv;q=0.5, application/x-ndjson;q=0.9, application/json;q=0.1"
    answer = site.get(SAMPLES, headers={"Accept": accept})
    assert answer.headers["content-type"] == "application/x-ndjson"
