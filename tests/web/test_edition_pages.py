"""The archive and its editions as pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from pingboard.model import Sample
from pingboard.store.engine import Engine
from tests.samples import make_ping, make_pong
from tests.web.site import ALIAS, NOW, ROOM, make_editions, open_store, record, serve, text_of

WEEKS = [
    {"a.example": 100, "b.example:8448": 200, "c.example": 300},
    {"b.example:8448": 100, "a.example": 200, "[::1]:8448": 250},
]
"""The medians of each week, the older first."""


def answer(week: int, medians: dict[str, int]) -> list[Sample]:
    ts = int((NOW - timedelta(days=4, weeks=week)).timestamp() * 1000)
    ping = make_ping(
        week, "ours.example", room_id=ROOM, seen_ts=ts, origin_server_ts=ts, vantage="main"
    )
    return [Sample(ping, make_pong(ping, name, ms), ms) for name, ms in medians.items()]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A site with the editions of `WEEKS`: 2026-W40 and 2026-W41."""
    engine = open_store(tmp_path_factory.mktemp("editions"))
    for week, medians in enumerate(reversed(WEEKS)):
        record(engine, answer(week, medians))
    make_editions(engine)
    with serve(engine) as client:
        yield client
    engine.dispose()


def test_the_archive_shows_how_the_ranks_have_moved(archive: httpx.Client) -> None:
    page = archive.get("/editions")
    rows = re.findall(r'<tr><th scope="row"><a [^>]*>(.*?)</a></th>(.*?)</tr>', page.text)
    ranks = {
        re.sub(r"<[^>]+>", "", name): re.findall(r">([\d–]+)</td>", cells) for name, cells in rows
    }
    assert ranks == {
        "b.example:8448": ["1", "2"],
        "a.example": ["2", "1"],
        "[::1]:8448": ["3", "–"],
    }
    assert page.text.count("<circle") == 5


def test_the_archive_says_who_was_first(archive: httpx.Client) -> None:
    page = text_of(archive.get("/editions"))
    assert "2026-W41 b.example:8448 9 Oct 2026, 12:00 UTC Section · Markdown · JSON" in page
    assert "2026-W40 a.example 2 Oct 2026, 12:00 UTC Section · Markdown · JSON" in page


def test_the_archive_shows_the_board_that_is_asked_for(archive: httpx.Client) -> None:
    page = archive.get("/editions", params={"board": "delivery"})
    assert page.text.count("<circle") == 2
    assert "ours.example" in page.text


def test_an_edition_has_its_page_with_the_movement(archive: httpx.Client) -> None:
    page = text_of(archive.get("/editions/2026-W41"))
    assert "2 Oct 2026, 12:00 UTC to 9 Oct 2026, 12:00 UTC" in page
    assert "1 ▲ up 1 b.example:8448 100" in page
    assert "2 ▼ down 1 a.example 200" in page
    assert "3 new [::1]:8448 250" in page
    assert "Rank Change Homeserver Median , ms" in page


def test_an_edition_leads_to_its_neighbours_and_forms(archive: httpx.Client) -> None:
    page = archive.get("/editions/2026-W41").text
    assert '<a href="/editions/2026-W40" rel="prev">' in page
    assert 'rel="next"' not in page
    assert 'rel="next"' in archive.get("/editions/2026-W40").text
    for form in ("md", "json"):
        assert f'href="/editions/2026-W41.{form}"' in page
    assert 'href="/homeservers/%5B%3A%3A1%5D%3A8448' in page


def test_numbers_and_dates_are_those_of_the_language(archive: httpx.Client) -> None:
    page = text_of(archive.get("/editions/2026-W41", params={"lang": "de"}))
    assert "2. Okt. 2026, 12:00 UTC bis 9. Okt. 2026, 12:00 UTC" in page


@pytest.mark.parametrize(
    ("name", "status", "sentence"),
    [
        ("2026-W99", 404, "No edition of that name was published. See the editions."),
        ("latest", 422, "Should be a week such as 2026-W41."),
        ("<b>", 422, "Should be a week such as 2026-W41."),
    ],
)
def test_an_unknown_edition_is_a_page_that_says_so(
    archive: httpx.Client, name: str, status: int, sentence: str
) -> None:
    page = archive.get(f"/editions/{name}")
    assert page.status_code == status
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert sentence in text_of(page)
    assert "<b>" not in page.text


def test_an_edition_that_is_no_week_is_refused_with_an_example_in_german_too(
    archive: httpx.Client,
) -> None:
    page = text_of(archive.get("/editions/latest", params={"lang": "de"}))
    assert "Eine Woche, etwa 2026-W41." in page
    assert "pattern" not in page


def test_a_site_without_editions_or_rooms_says_so(tmp_path: Path, store: Engine) -> None:
    with serve(store) as client:
        assert "No edition yet" in client.get("/editions").text
    with serve(store, default_room="#not-joined:one.example") as client:
        assert "No edition yet" in client.get("/editions").text
        assert client.get("/editions", params={"room": "#nowhere:one.example"}).status_code == 404


@pytest.mark.parametrize(
    ("query", "status", "detail"),
    [
        ("room=%23nope:x", 404, f"'#nope:x'; these rooms have one: {ALIAS}"),
        (f"room={quote(ALIAS)}&room=!other:x", 404, "'!other:x'"),
        ("min_samples=2", 422, "min_samples: should be left out"),
        ("window=7d", 422, "window: should be left out"),
        ("from=2026-10-05T00:00:00Z", 422, "from: should be left out"),
        ("to=2026-10-05T00:00:00Z", 422, "to: should be left out"),
    ],
)
def test_what_an_edition_can_not_answer_is_refused(
    archive: httpx.Client, query: str, status: int, detail: str
) -> None:
    answer = archive.get(f"/section.md?edition=2026-W41&{query}")
    assert answer.status_code == status
    assert detail in answer.json()["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "/editions/2026-W41.json",
        "/editions/2026-W41.md",
        "/homeservers/a.example/feed.atom",
        "/homeservers/a.example/history.svg",
        "/feed.atom",
        "/badge/a.example.svg",
    ],
)
def test_what_is_no_page_names_a_parameter_that_it_does_not_know(
    archive: httpx.Client, path: str
) -> None:
    assert archive.get(path).status_code == 200
    answer = archive.get(path, params={"x": "1"})
    assert answer.status_code == 422
    assert "x: unknown parameter" in answer.json()["detail"]
    assert archive.get("/editions/2026-W41", params={"x": "1"}).status_code == 200


def test_the_section_of_an_edition_is_frozen_and_can_be_copied(archive: httpx.Client) -> None:
    section = archive.get("/section.md?edition=2026-W41").text
    assert section.startswith("## Dept of Ping 🏓\n\n")
    assert "Ranked by *delivery*" in section
    assert section == archive.get("/section.md?edition=latest").text
    assert archive.get("/section.md?edition=2026-W01").status_code == 404
    assert section == archive.get(f"/section.md?edition=2026-W41&room={quote(ALIAS)}").text
    for path in ("/editions", "/editions/2026-W41"):
        page = archive.get(path).text
        copied = re.search(r'<pre tabindex="0" id="section"[^>]*>([^<]*)</pre>', page)
        assert copied is not None
        assert unescape(copied[1]) == section
        assert "Copy this week’s section" in page
