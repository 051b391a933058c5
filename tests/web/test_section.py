"""What an editor pastes: the section and the forms of a board."""

from __future__ import annotations

import csv
import io

import httpx
import pytest

from pingboard.render.section import Wording
from pingboard.store.engine import Engine
from pingboard.store.ingest import Ingest
from tests.web.site import ALIAS, ROOM, make_answers, record, serve

SECTION = "/section.md"


def test_the_section_holds_the_table(site: httpx.Client) -> None:
    answer = site.get(SECTION)
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    assert answer.text.startswith("## Dept of Ping 🏓\n\n")
    assert answer.text.endswith("\n\n" + site.get("/rankings.md?board=delivery").text)


def test_every_room_has_its_table_and_one_can_be_asked_for(store: Engine) -> None:
    other = "!other:one.example"
    record(store, make_answers("one.example", [300]))
    record(store, make_answers("two.example", [200], room=other, first=60))
    with serve(store) as client:
        assert client.get(SECTION).text.count("|Rank|") == 2
        single = client.get(SECTION, params={"room": other}).text
        assert single.count("|Rank|") == 1
        both = client.get(SECTION, params={"room": [other, ALIAS], "style": "rooms"}).text
    assert "|1|ours.example|100|" in single
    assert both.index("### [!other") < both.index("### [#ping")


def test_configured_rooms_and_words_are_taken(store: Engine) -> None:
    Ingest(store, "test").record_room("!other:one.example", None)
    record(store, make_answers("one.example", [300]))
    wording = Wording("Pings", "Fast ones.", "See {room}.")
    with serve(store, configured=(ALIAS, "#not-yet:one.example"), wording=wording) as client:
        text = client.get(SECTION).text
    assert text.startswith("## Pings\n\nFast ones. Ranked by *delivery*: ")
    assert f"\n\nSee [{ALIAS}](https://matrix.to/#/{ALIAS})." in text
    assert text.count("|Rank|") == 1


@pytest.mark.parametrize("parameters", ["style=modern", "room=%23no:where", "limt=3", "limit=0"])
def test_a_wrong_parameter_is_named(site: httpx.Client, parameters: str) -> None:
    answer = site.get(f"{SECTION}?{parameters}")
    assert answer.status_code in (404, 422)
    assert parameters.partition("=")[0] in answer.text


def test_csv_says_what_the_json_says(site: httpx.Client) -> None:
    answer = site.get("/rankings.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    standings = site.get("/api/v1/rankings").json()["standings"]
    assert len(rows) == len(standings) == 2
    for row, standing in zip(rows, standings, strict=True):
        for name in ("rank", "median_ms", "mean_ms", "p95_ms", "sample_count"):
            assert float(row[name]) == standing[name]
        assert row["homeserver"] == standing["homeserver"]


def test_accept_chooses_the_form(site: httpx.Client) -> None:
    address = "/api/v1/rankings"
    query = {"room": ROOM, "limit": "10"}
    for media_type, path in (("text/markdown", "/rankings.md"), ("text/csv", "/rankings.csv")):
        answer = site.get(address, params=query, headers={"Accept": media_type})
        assert answer.text == site.get(path, params=query).text
        assert answer.headers["content-type"].startswith(media_type)
        assert "Accept" in answer.headers["vary"].split(", ")
    json = site.get(address, params=query)
    assert json.headers["content-type"] == "application/json"
    assert "Accept" in json.headers["vary"].split(", ")
