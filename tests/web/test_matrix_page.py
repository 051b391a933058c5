"""The matrix as a page, as it is without a script."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import brotli
import httpx
import pytest

from pingboard.store.engine import Engine
from tests.web.site import make_each_pair, record, serve, text_of

Table = list[list[str]]


class Reader(HTMLParser):
    """Reads the cells of the one table of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: Table = []
        self._is_inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._is_inside = self._is_inside or tag == "table"
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self._is_inside = False

    def handle_data(self, data: str) -> None:
        if self._is_inside and self.rows and self.rows[-1]:
            self.rows[-1][-1] = (self.rows[-1][-1] + data).strip()


def read(page: httpx.Response) -> Table:
    reader = Reader()
    reader.feed(page.text)
    return reader.rows


def test_the_matrix_is_a_table_with_a_head_for_each_row_and_column(site: httpx.Client) -> None:
    page = site.get("/matrix")
    head, row = read(page)
    assert head[1:] == ["one.example", "two.example"]
    assert row == ["ours.example", "201 ms · 5×", "256 ms · 3×"]
    assert page.text.count("<th scope=col>") == 2
    assert page.text.count("<th scope=row>") == 1
    assert "2 pairs · 8 pongs" in page.text


def test_every_pair_is_that_of_the_api(store: Engine) -> None:
    record(store, make_each_pair(12))
    with serve(store) as client:
        head, *rows = read(client.get("/matrix"))
        pairs = client.get("/api/v1/matrix").json()["pairs"]
    shown = {
        (row[0], pong): cell
        for row in rows
        for pong, cell in zip(head[1:], row[1:], strict=True)
        if cell
    }
    assert shown == {
        (
            pair["ping_server"],
            pair["pong_server"],
        ): f"{pair['median_ms']:,} ms · {pair['sample_count']}×"
        for pair in pairs
    }


def test_the_order_is_that_of_the_boards(store: Engine) -> None:
    record(store, make_each_pair(5))
    with serve(store) as client:
        head, *rows = read(client.get("/matrix"))
        for board, names in (("delivery", [row[0] for row in rows]), ("reception", head[1:])):
            standings = client.get("/api/v1/rankings", params={"board": board}).json()["standings"]
            assert names == [row["homeserver"] for row in standings]


def test_pages_are_of_a_hundred_homeservers(store: Engine) -> None:
    record(store, make_each_pair(104))
    with serve(store) as client:
        page = client.get("/matrix", headers={"Accept-Encoding": "identity"})
        rest = client.get("/matrix", params={"pings": 2, "pongs": 2})
        beyond = client.get("/matrix", params={"pings": 3})
    rows = read(page)
    assert (len(rows), {len(row) for row in rows}) == (101, {101})
    assert len(brotli.compress(page.content, quality=4)) < 100_000
    assert re.findall(r">(\d+ – \d+)</a>", page.text) == ["1 – 100", "101 – 104"] * 2
    assert 'href="/matrix?pings=2"' in page.text
    assert len(read(beyond)) == 5
    assert '<a href="/matrix?pings=2" aria-current="page">101 – 104</a>' in beyond.text
    rows = read(rest)
    assert (len(rows), {len(row) for row in rows}) == (5, {5})
    assert not set(rows[0][1:]) & set(read(page)[0][1:])


def test_a_page_beyond_the_last_is_the_last(store: Engine) -> None:
    record(store, make_each_pair(3))
    with serve(store) as client:
        page = client.get("/matrix", params={"pings": 2})
        assert len(read(page)) == 4
        assert client.get("/matrix", params={"pings": 0}).status_code == 422
    assert page.status_code == 200


def test_a_window_in_the_past_promises_no_pongs(store: Engine) -> None:
    with serve(store) as client:
        now = text_of(client.get("/matrix"))
        past = text_of(client.get("/matrix?window=1h&to=2026-01-01T00:00:00Z"))
    assert "No pongs here yet" in now
    assert "31 Dec 2025, 23:00 UTC to 1 Jan 2026, 00:00 UTC: no pongs" in past
    assert "No pongs here yet" not in past


@pytest.mark.parametrize("name", ["<b>x</b>", "#nowhere:one.example"])
def test_an_unknown_room_is_a_page_that_says_so(site: httpx.Client, name: str) -> None:
    page = site.get("/matrix", params={"room": name})
    assert page.status_code == 404
    assert f"There is no room {name} here." in text_of(page)
    assert "<b>x" not in page.text
