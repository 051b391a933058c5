"""Ping server x pong server, in pages."""

from __future__ import annotations

import httpx
import pytest

from pingboard.store.engine import Engine
from pingboard.store.ingest import Ingest
from pingboard.web.api.paging import write_cursor
from tests.web.site import ROOM, make_answers, record, serve

MATRIX = "/api/v1/matrix"


def test_a_whole_list_leads_to_no_other_page(site: httpx.Client) -> None:
    assert "link" not in site.get(MATRIX).headers


def test_pairs_are_filtered_by_server_and_count(site: httpx.Client) -> None:
    def pong_servers(**parameters: str) -> list[str]:
        pairs = site.get(MATRIX, params=parameters).json()["pairs"]
        return [pair["pong_server"] for pair in pairs]

    assert pong_servers(pong_server="two.example") == ["two.example"]
    assert pong_servers(ping_server="two.example") == []
    assert pong_servers(min_samples="4") == ["one.example"]


def test_pages_follow_each_other_by_their_links_and_hold_every_pair_once(store: Engine) -> None:
    for number in range(7):
        record(store, make_answers(f"hs{number}.example", [200 + 10 * number]))
    with serve(store) as client:
        whole = client.get(MATRIX).json()["pairs"]
        pages = [client.get(MATRIX, params={"limit": 3})]
        while link := pages[-1].links.get("next"):
            pages.append(client.get(pages[-1].url.join(link["url"])))
    assert [len(page.json()["pairs"]) for page in pages] == [3, 3, 1]
    assert [pair for page in pages for pair in page.json()["pairs"]] == whole
    assert {page.json()["pair_count"] for page in pages} == {7}
    assert len({str(page.json()["window"]) for page in pages}) == 1


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "\u00e9",
        "W10",
        "A" * 1000,
        write_cursor([1, 2], f"samples {ROOM}"),
    ],
)
def test_a_cursor_that_we_did_not_give_is_a_422(site: httpx.Client, cursor: str) -> None:
    answer = site.get(MATRIX, params={"cursor": cursor})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["query", "cursor"]


def test_a_cursor_belongs_to_its_room_its_homeservers_and_its_least_count(store: Engine) -> None:
    Ingest(store, "test").record_room("!other:one.example", None)
    for name in ("one.example", "two.example"):
        record(store, make_answers(name, [400]))
    with serve(store) as client:
        cursor = client.get(MATRIX, params={"limit": 1}).json()["next_cursor"]
        assert client.get(MATRIX, params={"cursor": cursor}).status_code == 200
        for changed in (
            {"room": "!other:one.example"},
            {"pong_server": "two.example"},
            {"ping_server": "ours.example"},
            {"min_samples": "2"},
            {"cursor": cursor[:-1]},
            {"cursor": cursor + "A"},
        ):
            answer = client.get(MATRIX, params={"cursor": cursor, **changed})
            assert answer.status_code == 422
            assert answer.json()["errors"][0]["loc"] == ["query", "cursor"]
