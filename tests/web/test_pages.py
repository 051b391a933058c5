"""The page that people look at."""

from __future__ import annotations

import re
import time
from html import escape, unescape
from pathlib import Path

import httpx
import pytest

from pingboard.model import WorkerState, to_ts
from pingboard.store.engine import Engine
from pingboard.store.ingest import Ingest
from tests.web.site import ALIAS, NOW, ROOM, make_answers, open_store, record, serve

OUR_SCRIPT = r'<script src="/static/\w+\.js\?v=[0-9a-f]{12}" [^<>]*></script>'
HOSTILE = "#<script>alert(1)</script>\"'&\u202e:one.example"


def summary(page: str) -> str:
    """The words over the table."""
    caption = re.search("<caption>(.*?)</caption>", page, re.DOTALL)
    assert caption is not None
    return " ".join(caption[1].split())


def names(page: str) -> list[str]:
    """The homeservers of the table, from its top."""
    found = re.findall(r'scope="row">.*?<bdi>(.*?)</bdi>', page, re.DOTALL)
    return [one.replace("<wbr>", "") for one in found]


def test_the_leaderboard_has_an_accessible_table(site: httpx.Client) -> None:
    page = site.get("/").text
    assert summary(page) == "Last 7 days · 2 homeservers · 8 pongs"
    assert ">one.<wbr>example</bdi>" in page
    assert page.count('scope="row"') == 2
    assert page.count("<caption>") == 1
    assert '<td class="number median">403<span' in page
    assert page.count('aria-sort="ascending"') == 1


def test_the_leaderboard_says_when_it_was_made_and_where_else_it_is(site: httpx.Client) -> None:
    page = site.get("/?board=delivery&window=24h").text
    assert "12 Oct 2026, 00:00 UTC" in page
    assert 'href="/rankings.md?window=24h&amp;board=delivery"' in page
    assert 'href="/api/v1/rankings?window=24h&amp;board=delivery"' in page
    assert 'href="/docs"' in page
    assert 'href="/rankings.csv?window=24h&amp;board=delivery"' in page


@pytest.mark.parametrize(
    ("board", "question"),
    [
        ("response", "Who answers us fastest?"),
        ("delivery", "Whose messages reach everybody fastest?"),
        ("reception", "Who receives fastest?"),
    ],
)
def test_each_board_says_what_it_answers(site: httpx.Client, board: str, question: str) -> None:
    assert f"<h1>{question}</h1>" in site.get("/", params={"board": board}).text


def test_a_choice_of_board_keeps_room_and_window(site: httpx.Client) -> None:
    page = site.get("/", params={"room": ALIAS, "window": "24h"}).text
    assert 'href="/?room=%23ping%3Aone.example&amp;window=24h&amp;board=delivery"' in page
    assert 'href="/?room=%23ping%3Aone.example&amp;window=24h" aria-current="page"' in page


def test_a_choice_of_window_replaces_from_and_to(site: httpx.Client) -> None:
    page = site.get("/?from=2026-10-11T00:00:00Z&to=2026-10-11T13:00:00Z").text
    assert "11 Oct 2026, 00:00 UTC to 11 Oct 2026, 13:00 UTC" in page
    assert '<a href="/?window=30d">30d</a>' in page
    assert '<a href="/">7d</a>' in page


def test_every_link_of_the_leaderboard_leads_somewhere(site: httpx.Client) -> None:
    links = re.findall(r'(?:src|href)="([^"#][^"]*)"', site.get("/?window=24h&min_samples=2").text)
    assert len(links) > 12
    for link in links:
        assert link.startswith("/")
        assert site.get(link.replace("&amp;", "&")).status_code == 200


def test_a_hostile_alias_stays_text(tmp_path: Path) -> None:
    engine = open_store(tmp_path, alias=HOSTILE)
    with serve(engine) as client:
        empty = client.get("/").text
        record(engine, make_answers("one.example", [400]))
        full = client.get("/", params={"room": HOSTILE}).text
        wrong = client.get("/", params={"room": HOSTILE + "<b>"}).text
    engine.dispose()
    for page in (empty, full):
        assert (
            f"<bdi>{escape(HOSTILE).replace('&#x27;', '&#39;').replace('&quot;', '&#34;')}" in page
        )
    for page in (empty, full, wrong):
        assert "<script" not in re.sub(OUR_SCRIPT, "", page)
        assert "<b>" not in page


def test_a_hostile_parameter_stays_text(site: httpx.Client) -> None:
    page = site.get("/", params={'"><script>x</script>': "1", "limit": "<b>"})
    assert page.status_code == 422
    assert "<script" not in page.text
    assert "<b>" not in page.text


def test_a_room_without_pongs_waits_and_looks_again(store: Engine) -> None:
    with serve(store) as client:
        page = client.get("/")
        assert page.status_code == 200
        assert "No pongs here yet" in page.text
        assert '<meta http-equiv="refresh" content="5">' in page.text
        assert ALIAS in page.text
        record(store, make_answers("one.example", [400]))
        # A page that took long to make is given once more for up to a second (see cache).
        while "refresh" in client.get("/").text:
            time.sleep(0.1)


def test_a_site_without_its_room_waits_and_looks_again(store: Engine) -> None:
    with serve(store, default_room="#not-joined:one.example") as client:
        page = client.get("/")
        asked = client.get("/", params={"room": "#not-joined:one.example"})
    assert page.status_code == 200
    assert "No room yet" in page.text
    assert '<meta http-equiv="refresh" content="5">' in page.text
    assert asked.status_code == 404


def test_a_board_that_the_filter_empties_says_why(site: httpx.Client) -> None:
    assert "No homeserver has 99 samples" in site.get("/", params={"min_samples": 99}).text


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("/?room=%23pong:one.example", 404, "#pong:one.example"),
        ("/?from=yesterday", 422, "2026-10-05T00:00:00Z"),
        ("/?from=2026-10-13T00:00:00Z", 422, "before the window"),
    ],
)
def test_an_error_of_the_page_is_a_page_too(
    site: httpx.Client, address: str, status: int, words: str
) -> None:
    answer = site.get(address)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert words in answer.text
    assert '<a href="/">To the leaderboard</a>' in answer.text


def test_a_browser_gets_a_page_for_a_path_that_does_not_exist(site: httpx.Client) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    assert "<h1>Not found</h1>" in site.get("/nowhere", headers=browser).text
    api = site.get("/api/v1/rankings?limit=0", headers=browser)
    assert api.headers["content-type"] == "application/problem+json"


def test_a_page_refuses_other_methods_as_a_page(site: httpx.Client) -> None:
    answer = site.post("/")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_a_room_id_stands_in_for_a_missing_alias(tmp_path: Path) -> None:
    engine = open_store(tmp_path, alias=None)
    with serve(engine) as client:
        assert f"<bdi>{ROOM}</bdi>" in client.get("/").text
    engine.dispose()


@pytest.mark.parametrize("query", ["", "?limit=1", "?board=delivery&window=24h"])
def test_the_copy_button_holds_the_markdown_table(site: httpx.Client, query: str) -> None:
    page = site.get(f"/{query}")
    found = re.search(r'<pre tabindex="0" id="markdown"[^>]*>([^<]*)</pre>', page.text)
    assert found is not None
    assert unescape(found[1]) == site.get(f"/rankings.md{query}").text
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "'unsafe-inline'" not in page.headers["content-security-policy"]
    assert site.get("/static/copy.js").status_code == 200


def test_a_file_whose_address_names_its_content_is_kept_for_ever(site: httpx.Client) -> None:
    found = re.search(r'href="(/static/style\.css\?v=[0-9a-f]{12})"', site.get("/").text)
    assert found is not None
    assert "immutable" in site.get(found[1]).headers["cache-control"]
    assert site.get("/static/style.css").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("sort", "expected", "order"),
    [
        ("rank", ["one.example", "two.example"], "ascending"),
        ("-homeserver", ["two.example", "one.example"], "descending"),
        ("samples", ["two.example", "one.example"], "ascending"),
        ("-samples", ["one.example", "two.example"], "descending"),
    ],
)
def test_rows_are_sorted_by_what_the_address_says(
    site: httpx.Client, sort: str, expected: list[str], order: str
) -> None:
    page = site.get("/", params={"sort": sort}).text
    assert names(page) == expected
    head = re.search(rf'aria-sort="{order}">\s*<button[^>]*id="sort-{sort.strip("-")}"', page)
    assert head is not None


def test_a_search_finds_parts_of_names_and_keeps_their_ranks(site: httpx.Client) -> None:
    page = site.get("/?q=TWO&sort=-rank&window=24h").text
    assert names(page) == ["two.example"]
    assert '<span class="medal silver"' in page
    assert '<input type="hidden" name="window" value="24h">' in page
    assert '<button type="submit" name="sort" value="-rank">' in page
    nobody = site.get("/", params={"q": "<b>nobody"}).text
    assert "No homeserver of that name" in nobody
    assert "<b>" not in nobody


def test_a_page_shows_the_first_of_many_and_leads_to_all(store: Engine) -> None:
    samples = [one for ms in range(300) for one in make_answers(f"s{ms}.example", [400 + ms])]
    record(store, samples)
    with serve(store) as client:
        page, whole = client.get("/").text, client.get("/?limit=300").text
        found = client.get("/?q=s299.").text
    assert (len(names(page)), len(names(whole)), names(found)) == (250, 300, ["s299.example"])
    assert "These are 250 of 300." in page
    assert '<a href="/?limit=300">Show all</a>' in page
    assert "Show all" not in whole


def test_a_page_says_that_its_data_is_old_and_since_when(store: Engine) -> None:
    record(store, make_answers("one.example", [400]))
    worker = Ingest(store, "test")
    with serve(store) as client:
        assert "No worker has run here yet" in client.get("/").text
    worker.record_worker("main", WorkerState.RUNNING, 0, to_ts(NOW) - 3_600_000)
    with serve(store) as client:
        old = client.get("/").text
    assert "last heard from its homeserver at 11 Oct 2026, 23:00 UTC" in old
    worker.record_worker("main", WorkerState.RUNNING, 0, to_ts(NOW))
    with serve(store) as client:
        assert 'class="notice' not in client.get("/").text


def test_ties_and_medals_are_said_in_words_too(store: Engine) -> None:
    record(store, make_answers("one.example", range(400, 420)))
    record(store, make_answers("two.example", range(405, 425), first=30))
    with serve(store) as client:
        page = client.get("/").text
    assert page.count("tied with the rank before") == 1
    assert '<span class="sr"> Gold</span>' in page
    assert '<span class="sr"> Bronze</span>' not in page
