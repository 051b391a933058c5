"""The page that people look at."""

from __future__ import annotations

import re
from dataclasses import replace
from html import escape, unescape
from pathlib import Path

import httpx
import pytest

from pingboard.model import BoardName, RoomState, WorkerState, to_ts
from pingboard.store.engine import Engine
from pingboard.store.rooms import record_room_state
from pingboard.store.status import record_worker
from pingboard.web.pages.layout import Site
from tests.databases import open_migrated_file
from tests.web.site import ALIAS, NOW, ROOM, make_answers, open_store, record, serve, text_of

OUR_SCRIPT = r'<script src="/static/\w+\.js\?v=[0-9a-f]{12}" [^<>]*></script>'
HOSTILE = "#<script>alert(1)</script>\"'&\u202e:one.example"


def summary(page: str) -> str:
    """The words over the table."""
    match = re.search('<p id="summary">(.*?)</p>', page, re.DOTALL)
    assert match is not None
    return " ".join(match[1].split())


def names(page: str) -> list[str]:
    """The homeservers of the table, from its top."""
    names = re.findall(r'scope="row">.*?<bdi>(.*?)</bdi>', page, re.DOTALL)
    return [name.replace("<wbr>", "") for name in names]


def test_the_leaderboard_has_an_accessible_table(site: httpx.Client) -> None:
    page = site.get("/").text
    assert summary(page) == "Last 7 days · 2 homeservers · 8 pongs"
    assert ">one.<wbr>example</bdi>" in page
    assert page.count('scope="row"') == 2
    assert '<table id="board" aria-label="Fastest Matrix homeservers">' in page
    assert '<td class="median">403</td>' in page
    assert page.count('aria-sort="ascending"') == 1


def test_the_leaderboard_says_when_it_was_made_and_where_else_it_is(site: httpx.Client) -> None:
    page = site.get("/?board=delivery&window=24h").text
    assert "12 Oct 2026, 00:00 UTC" in page
    assert 'href="/rankings.md?window=24h&amp;board=delivery"' in page
    assert 'href="/api/v1/rankings?window=24h&amp;board=delivery"' in page
    assert 'href="/docs"' in page
    assert 'href="/rankings.csv?window=24h&amp;board=delivery"' in page


@pytest.mark.parametrize(
    ("board", "title", "words"),
    [
        ("response", "Fastest Matrix homeservers", "median round trip, measured from"),
        ("delivery", "Fastest Matrix homeservers by delivery", "This Week in Matrix prints"),
        ("reception", "Fastest Matrix homeservers by reception", "sees everybody’s !ping soonest"),
    ],
)
def test_each_board_says_what_it_shows(
    site: httpx.Client, board: str, title: str, words: str
) -> None:
    page = site.get("/", params={"board": board})
    assert f"<h1>{title}</h1>" in page.text
    assert words in text_of(page)


def test_the_first_screen_names_room_and_vantage_and_the_two_next_steps(store: Engine) -> None:
    record(store, make_answers("one.example", [400]))
    with serve(store, site=Site(vantage="frankfurt")) as client:
        page = client.get("/")
    assert f"We post !ping in {ALIAS} , and each" in text_of(page)
    assert "measured from frankfurt ." in text_of(page)
    assert '<a class="button primary" href="/join">Add your server</a>' in page.text
    assert '<a class="button" href="/rankings.md" data-copy-from="markdown"' in page.text


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
        if link.startswith("https://matrix.to/#/"):
            continue
        assert link.startswith(("/", str(site.base_url)))
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
        assert "refresh" not in client.get("/").text


def test_a_window_in_the_past_promises_no_new_pongs(store: Engine) -> None:
    promise = "New ones appear here by themselves."
    with serve(store) as client:
        assert promise in text_of(client.get("/"))
        assert promise not in text_of(client.get("/?from=2026-01-01T00:00:00Z&window=1h"))


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
        ("/?board=fast", 422, f"One of {', '.join(BoardName)}."),
        ("/?limit=0", 422, "A whole number from 1 to 10,000."),
    ],
)
def test_an_error_of_the_page_is_a_page_too(
    site: httpx.Client, address: str, status: int, words: str
) -> None:
    answer = site.get(address)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert words in answer.text
    assert '<a class="button" href="/">Back to the board</a>' in answer.text


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
    match = re.search(r'<pre tabindex="0" id="markdown"[^>]*>([^<]*)</pre>', page.text)
    assert match is not None
    assert unescape(match[1]) == site.get(f"/rankings.md{query}").text
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "'unsafe-inline'" not in page.headers["content-security-policy"]
    assert site.get("/static/copy.js").status_code == 200


def test_a_file_whose_address_names_its_content_is_kept_for_ever(site: httpx.Client) -> None:
    match = re.search(r'href="(/static/style\.css\?v=[0-9a-f]{12})"', site.get("/").text)
    assert match is not None
    assert "immutable" in site.get(match[1]).headers["cache-control"]
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
    assert '<td class="rank leading">2</td>' in page
    assert '<input type="hidden" name="window" value="24h">' in page
    assert '<button type="submit" name="sort" value="-rank">' in page
    nobody = site.get("/", params={"q": "<b>nobody"}).text
    assert "No such homeserver" in nobody
    assert "<b>" not in nobody


def test_a_page_shows_the_first_of_many_and_leads_to_all(store: Engine) -> None:
    samples = [sample for ms in range(300) for sample in make_answers(f"s{ms}.example", [400 + ms])]
    record(store, samples)
    with serve(store) as client:
        page, whole = client.get("/").text, client.get("/?limit=300").text
        search = client.get("/?q=s299.").text
    assert (len(names(page)), len(names(whole)), names(search)) == (50, 300, ["s299.example"])
    assert '<a class="button" href="/?limit=300">Show all 300</a>' in page
    assert "Show all" not in whole


def test_a_page_says_that_its_data_is_old_and_since_when(store: Engine) -> None:
    record(store, make_answers("one.example", [400]))
    with serve(store) as client:
        assert "nothing is being measured here" in client.get("/").text
    record_worker(store, "main", WorkerState.RUNNING, 0, to_ts(NOW) - 3_600_000)
    with serve(store) as client:
        old = client.get("/").text
    assert "No new data since 11 Oct 2026, 23:00 UTC." in old
    assert 'id="live" hidden' in old
    record_worker(store, "main", WorkerState.RUNNING, 0, to_ts(NOW))
    with serve(store) as client:
        assert 'class="notice' not in client.get("/").text


@pytest.mark.parametrize(
    ("state", "obstacle"),
    [
        (WorkerState.JOINING, "The worker can’t join any of its rooms yet."),
        (WorkerState.LOCKED, "The homeserver’s admin has locked the worker’s account."),
        (WorkerState.AUTH, "The homeserver does not accept the worker’s account."),
    ],
)
@pytest.mark.parametrize("path", ["/", "/matrix", "/homeservers/one.example"])
def test_a_page_says_at_once_what_keeps_the_worker_from_measuring(
    store: Engine, state: WorkerState, obstacle: str, path: str
) -> None:
    record(store, make_answers("one.example", [400]))
    record_worker(store, "main", state, 0, to_ts(NOW))
    with serve(store) as client:
        page = client.get(path)
    assert obstacle in text_of(page)
    assert 'id="live" data' not in page.text


def test_a_homeserver_that_is_away_for_a_moment_alarms_nobody(store: Engine) -> None:
    record(store, make_answers("one.example", [400]))
    record_worker(store, "main", WorkerState.UNREACHABLE, 0, to_ts(NOW) - 20_000)
    with serve(store) as client:
        assert 'class="notice' not in client.get("/").text
    record_worker(store, "main", WorkerState.UNREACHABLE, 0, to_ts(NOW) - 3_600_000)
    with serve(store) as client:
        assert "The worker’s homeserver does not answer." in client.get("/").text


def test_a_page_says_why_its_room_gets_no_pings(store: Engine) -> None:
    record(store, make_answers("one.example", [400]))
    record_worker(store, "main", WorkerState.RUNNING, 0, to_ts(NOW))
    record_room_state(store, ROOM, RoomState.DENIED)
    with serve(store) as client:
        page, german = text_of(client.get("/")), text_of(client.get("/?lang=de"))
    assert "The worker sends no pings to this room: its account may not send." in page
    assert "sein Konto darf nicht senden." in german


def test_the_page_that_waits_for_a_room_says_for_what_else(tmp_path: Path) -> None:
    engine = open_migrated_file(tmp_path / "pingboard.db")
    with serve(engine) as client:
        assert "No worker has run yet." in client.get("/").text
    record_worker(engine, "main", WorkerState.LOCKED, 0, None)
    with serve(engine) as client:
        assert "has locked the worker’s account." in client.get("/").text
    engine.dispose()


def test_ranks_whose_order_may_be_chance_are_one_group_in_words_too(store: Engine) -> None:
    record(store, make_answers("one.example", range(400, 420)))
    record(store, make_answers("two.example", range(405, 425), first=30))
    record(store, make_answers("three.example", range(900, 920), first=60))
    with serve(store) as client:
        page = client.get("/").text
        by_loss = client.get("/?sort=-loss").text
    assert page.count(">, Ranks 1 to 2: no significant difference</span>") == 1
    assert '<td class="rank leading tie first"' in page
    assert '<td class="rank leading tie last"' in page
    assert '<td class="rank leading">3</td>' in page
    assert "significant difference</span>" not in by_loss


def test_the_first_board_that_has_samples_is_shown_and_named(store: Engine) -> None:
    samples = [
        replace(sample, round_trip_ms=None) for sample in make_answers("one.example", [400] * 3)
    ]
    record(store, samples)
    with serve(store) as client:
        page = client.get("/").text
        assert "No round trips in this window; showing Delivery instead." in page
        assert "<h1>Fastest Matrix homeservers by delivery</h1>" in page
        assert names(page) == ["ours.example"]
        assert 'href="/rankings.md?board=delivery"' in page
        assert client.get("/api/v1/rankings").json()["board"] == "delivery"
        assert "|1|ours.example|200|" in client.get("/section.md").text
        asked = client.get("/?board=response").text
    assert "No pongs here yet" in asked
    assert 'id="fallback"' not in asked


def test_an_internationalised_name_is_decoded_beside_itself(store: Engine) -> None:
    record(store, make_answers("xn--mnchen-3ya.example", [400]))
    with serve(store) as client:
        assert "xn--mnchen-3ya.example münchen.example" in text_of(client.get("/"))
        assert "1 of 1 homeservers" in text_of(client.get("/?q=MÜNCHEN"))
        page = client.get("/homeservers/münchen.example?window=7d", follow_redirects=True)
        assert page.url.raw_path == b"/homeservers/xn--mnchen-3ya.example?window=7d"
        assert "choose another" in text_of(client.get(f"{page.url}&with=münchen.example"))
        assert "münchen.example" in text_of(client.get("/join?homeserver=@bot:münchen.example"))
        assert "answers" in text_of(client.get("/join?homeserver=@bot:münchen.example"))


def test_without_an_edition_the_section_of_the_last_seven_days_is_copied(
    store: Engine, site: httpx.Client
) -> None:
    record(store, make_answers("two.example", [400]))
    page = site.get("/").text
    assert 'href="/section.md" data-copy-address="/section.md"' in page
    assert "There is no edition yet." in page


def test_an_unknown_room_leads_to_the_known_ones(site: httpx.Client) -> None:
    page = site.get("/?room=%23pong:one.example")
    assert "There is no room #pong:one.example here." in text_of(page)
    assert '<a href="/?room=%23ping%3Aone.example"><bdi>#ping:one.example</bdi></a>' in page.text


def test_errors_are_sentences_in_the_language_of_the_reader(site: httpx.Client) -> None:
    english = text_of(site.get("/?window=8d"))
    german = text_of(site.get("/?window=8d&lang=de"))
    twice = text_of(site.get("/?window=1h&window=6h&lang=de"))
    assert "window : Bitte nur einmal angeben." in twice
    assert "window : Should be one of 1h, 6h, 24h, 7d, 30d, 90d, 365d." in english
    assert (
        "window : Dieser Wert passt nicht. Möglich sind 1h, 6h, 24h, 7d, 30d, 90d, 365d;" in german
    )


@pytest.mark.parametrize("path", ["/", "/matrix", "/homeservers/one.example"])
def test_pages_of_an_empty_database_say_that_there_is_no_room_yet(
    tmp_path: Path, path: str
) -> None:
    engine = open_migrated_file(tmp_path / "empty.db")
    with serve(engine) as client:
        page = client.get(path)
    engine.dispose()
    assert page.status_code == 200
    assert "No room yet" in page.text


def test_an_empty_window_leads_to_the_last_pong(store: Engine) -> None:
    record(store, make_answers("one.example", [400] * 3))
    with serve(store) as client:
        page = client.get("/?to=2026-11-30T00:00:00Z").text
        match = re.search(r'The last pong here was on (.*?)\.\s*<a href="([^"]*)"', page)
        assert match is not None
        assert match[1] == "11 Oct 2026, 12:00 UTC"
        assert names(client.get(unescape(match[2])).text) == ["one.example"]
