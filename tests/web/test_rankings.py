"""The board as JSON and as Markdown."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import pytest

from pingboard.boards import Boards
from pingboard.model import BoardName, Sample, Window, to_ts
from pingboard.render import markdown
from pingboard.store.engine import Engine
from tests.samples import make_ping, make_pong
from tests.twim import TABLE_2020_04_09
from tests.web.site import (
    ALIAS,
    NOW,
    ROOM,
    make_answers,
    open_store,
    record,
    serve,
)

QUOTED = [f"'{name}'" for name in BoardName]

RANKINGS = "/api/v1/rankings"


def test_whole_latencies_are_printed_as_integers(site: httpx.Client) -> None:
    text = site.get(RANKINGS).text
    assert '"median_ms":403,' in text
    assert '"mean_ms":407.8,' in text


def test_the_table_is_the_example_of_the_description(site: httpx.Client) -> None:
    described = site.get("/openapi.json").json()["paths"]["/rankings.md"]["get"]["responses"]["200"]
    assert list(described["content"]) == ["text/markdown"]
    assert site.get("/rankings.md").text == described["content"]["text/markdown"]["example"]


@pytest.mark.parametrize(("board", "best"), [("delivery", "ours.example"), ("reception", None)])
def test_the_other_boards_rank_one_way(site: httpx.Client, board: str, best: str | None) -> None:
    answer = site.get(RANKINGS, params={"board": board}).json()
    assert answer["board"] == board
    assert answer["number"] == "one_way"
    assert answer["standings"][0]["homeserver"] == (best or "one.example")
    assert answer["sample_count"] == 8


@pytest.mark.parametrize("room", [ROOM, ALIAS])
def test_a_room_is_found_by_its_id_and_by_its_alias(site: httpx.Client, room: str) -> None:
    answer = site.get(RANKINGS, params={"room": room}).json()
    assert answer["room"] == {"id": ROOM, "alias": ALIAS}


def test_a_room_id_may_lack_a_colon(store: Engine) -> None:
    room = "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM"
    record(store, make_answers("one.example", [300], room=room))
    with serve(store) as client:
        answer = client.get(f"{RANKINGS}?room=%2131hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM")
    assert answer.json()["room"] == {"id": room, "alias": None}
    assert answer.json()["sample_count"] == 1


def test_the_configured_room_is_the_default(store: Engine) -> None:
    record(store, make_answers("late.example", [300], room="!other:one.example", first=60))
    with serve(store, default_room=ALIAS) as client:
        assert client.get(RANKINGS).json()["room"]["alias"] == ALIAS


def test_an_unknown_room_is_a_404_that_names_the_known_ones(site: httpx.Client) -> None:
    answer = site.get(RANKINGS, params={"room": "#pong:one.example"})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems/unknown-room"
    assert "#pong:one.example" in answer.json()["detail"]
    assert ALIAS in answer.json()["detail"]


def test_filters_shorten_the_list_but_not_the_count(site: httpx.Client) -> None:
    limited = site.get(RANKINGS, params={"limit": 1}).json()
    assert [row["homeserver"] for row in limited["standings"]] == ["one.example"]
    assert limited["sample_count"] == 8
    frequent = site.get(RANKINGS, params={"min_samples": 5}).json()
    assert frequent["filters"] == {"min_samples": 5, "limit": 1000}
    assert [row["rank"] for row in frequent["standings"]] == [1]


def test_a_room_without_pongs_has_an_empty_board(store: Engine) -> None:
    with serve(store) as client:
        answer = client.get(RANKINGS)
    assert answer.status_code == 200
    assert answer.json()["sample_count"] == 0
    assert answer.json()["standings"] == []


def test_a_site_without_a_room_says_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    engine = open_store(tmp_path_factory.mktemp("other"))
    with serve(engine, default_room="#never-joined:one.example") as client:
        assert client.get(RANKINGS).status_code == 404
    engine.dispose()


@pytest.mark.parametrize(
    ("parameters", "start", "end"),
    [
        ({}, "2026-10-05T00:00:00Z", "2026-10-12T00:00:00Z"),
        ({"window": "1h"}, "2026-10-11T23:00:00Z", "2026-10-12T00:00:00Z"),
        ({"from": "2026-10-11T00:00:00Z"}, "2026-10-11T00:00:00Z", "2026-10-12T00:00:00Z"),
        ({"to": "2026-10-11T00:00:00Z"}, "2026-10-04T00:00:00Z", "2026-10-11T00:00:00Z"),
        (
            {"to": "2026-10-11T00:00:00Z", "window": "24h"},
            "2026-10-10T00:00:00Z",
            "2026-10-11T00:00:00Z",
        ),
        (
            {"from": "2026-10-01T00:00:00Z", "window": "6h"},
            "2026-10-01T00:00:00Z",
            "2026-10-01T06:00:00Z",
        ),
        (
            {"from": "2026-10-01T02:00:00+02:00", "to": "2026-10-02t00:00:00.5z"},
            "2026-10-01T00:00:00Z",
            "2026-10-02T00:00:00.500Z",
        ),
        (
            {"from": "2026-10-01T00:00:00Z", "to": "2026-10-02T00:00:00Z", "window": "24h"},
            "2026-10-01T00:00:00Z",
            "2026-10-02T00:00:00Z",
        ),
    ],
)
def test_from_to_and_window_complete_each_other(
    site: httpx.Client, parameters: dict[str, str], start: str, end: str
) -> None:
    answer = site.get(RANKINGS, params=parameters).json()
    ends = {
        name: end.replace(":00Z", ":00.000Z")
        for name, end in zip(("from_at", "to_at"), (start, end), strict=True)
    }
    assert answer["window"] == ends


def test_only_pongs_inside_the_window_count(site: httpx.Client) -> None:
    first_pong = "2026-10-11T12:00:00.380Z"
    assert site.get(RANKINGS, params={"to": first_pong}).json()["sample_count"] == 0
    assert site.get(RANKINGS, params={"from": first_pong}).json()["sample_count"] == 8


@pytest.mark.parametrize(
    ("parameters", "named", "hint"),
    [
        ({"board": "latency"}, "board", f"{', '.join(QUOTED[:-1])} or {QUOTED[-1]}"),
        ({"window": "3d"}, "window", "1h, 6h, 24h, 7d, 30d, 90d, 365d"),
        ({"limit": "0"}, "limit", "greater than or equal to 1"),
        ({"limit": "ten"}, "limit", "valid integer"),
        ({"limit": "9" * 5000}, "limit", "integer"),
        ({"min_samples": "1" + "0" * 30}, "min_samples", "less than or equal to"),
        ({"room": ""}, "room", "?room=%23ping:maunium.net"),
        ({"room": "#" + "x" * 255}, "room", "at most 255"),
        ({"from": "2026-10-05T00:00:00"}, "from", "2026-10-05T00:00:00Z"),
        ({"from": "2026-10-05"}, "from", "2026-10-05T00:00:00Z"),
        ({"from": "1791158400"}, "from", "2026-10-05T00:00:00Z"),
        ({"from": "2026-13-05T00:00:00Z"}, "from", "month"),
        ({"from": "0001-01-01T00:00:00+14:00"}, "from", "1970"),
        ({"to": "9999-12-31T23:59:59-14:00"}, "to", "9998"),
        ({"to": "2026-10-05T00:00:00 02:00"}, "to", "%2B"),
        ({"from": "2026-10-12T00:00:00Z"}, "from", "before the window's end"),
        ({"from": "2026-10-06T00:00:00Z", "to": "2026-10-05T00:00:00Z"}, "from", "before"),
        ({"from": "2025-10-10T23:59:59Z"}, "from", "at most 366 days"),
        (
            {"from": "2026-10-01T00:00:00Z", "to": "2026-10-05T00:00:00Z", "window": "7d"},
            "window",
            "another length",
        ),
    ],
)
@pytest.mark.parametrize("path", [RANKINGS, "/rankings.md"])
def test_a_wrong_parameter_is_a_422_that_names_it_and_says_what_is_right(
    site: httpx.Client, path: str, parameters: dict[str, str], named: str, hint: str
) -> None:
    answer = site.get(path, params=parameters)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == 422
    assert [error["loc"] for error in problem["errors"]] == [["query", named]]
    assert problem["detail"].startswith(f"{named}: ")
    assert hint in problem["detail"]


@pytest.mark.parametrize(
    ("name", "hint"), [("boad", "did you mean board?"), ("utm_source", "known: room, window")]
)
def test_a_parameter_that_the_json_does_not_know_is_a_422(
    site: httpx.Client, name: str, hint: str
) -> None:
    answer = site.get(RANKINGS, params={name: "x"})
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["query", name])
    assert hint in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/", "/rankings.md", "/matrix", "/homeservers/one.example"])
def test_a_shared_link_works_whatever_was_added_to_it(site: httpx.Client, path: str) -> None:
    plain = site.get(path, params={"board": "delivery"} if path == "/" else {})
    parameters = {"utm_source": "blog", "fbclid": "x"} | (
        {"board": "delivery"} if path == "/" else {}
    )
    shared = site.get(path, params=parameters)
    assert (shared.status_code, shared.content) == (200, plain.content)
    if path != "/rankings.md":
        assert f'<link rel="canonical" href="{plain.url}">' in shared.text


def test_all_wrong_parameters_are_named_at_once(site: httpx.Client) -> None:
    problem = site.get(RANKINGS, params={"limit": "0", "board": "x", "y": "z"}).json()
    assert {error["loc"][1] for error in problem["errors"]} == {"limit", "board", "y"}


def test_the_markdown_table_has_ten_rows_unless_more_are_asked_for(store: Engine) -> None:
    names = [f"hs{number}.example:8448" for number in range(12)]
    for number, name in enumerate(names):
        record(store, make_answers(name, [400 + number, 401 + number]))
    window = Window(datetime(2026, 10, 5, tzinfo=UTC), NOW)
    board = Boards(store).board(BoardName.RESPONSE, window, now=NOW, limit=10)
    with serve(store) as client:
        answer = client.get("/rankings.md")
        whole = client.get("/rankings.md", params={"limit": 50})
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    assert answer.content == markdown.table(board.standings).encode()
    assert answer.text.splitlines()[2] == "|1|hs0.example:8448|400.5|"
    assert len(answer.text.splitlines()) == 2 + 10
    assert len(whole.text.splitlines()) == 2 + 12


def test_given_the_pongs_behind_it_the_printed_table_comes_out_again(store: Engine) -> None:
    """This Week in Matrix, 2020-04-09, and an eleventh server that it had no room for."""
    samples = []
    rows = [line.split("|")[2:4] for line in TABLE_2020_04_09.splitlines()[2:]]
    for number, (server, median) in enumerate([*rows, ["eleventh.example", "1200"]]):
        ping = make_ping(number, server, room_id=ROOM, seen_ts=to_ts(NOW) - 3_600_000)
        whole = int(float(median))
        # An even count where the median ends in .5; no bot may tip it by an impossible claim.
        middle = [whole, whole + 1] if median.endswith(".5") else [whole]
        claims = [9, whole - 250, *middle, whole + 90_000, 600_001]
        samples += [
            Sample(ping, make_pong(ping, f"bot{bot}.example", claim), None)
            for bot, claim in enumerate(claims)
        ]
    record(store, samples)
    with serve(store) as client:
        answer = client.get("/rankings.md", params={"board": "delivery"})
    assert answer.text == TABLE_2020_04_09


def test_a_board_comes_in_pages(site: httpx.Client) -> None:
    page = site.get(RANKINGS, params={"limit": 1})
    rows = page.json()["standings"]
    while "next" in page.links:
        page = site.get(page.url.join(page.links["next"]["url"]))
        rows += page.json()["standings"]
    assert rows == site.get(RANKINGS).json()["standings"]
    assert len(rows) == 2
