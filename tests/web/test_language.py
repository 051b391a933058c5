"""The catalogue is in step with the pages, the German is complete, and each reader gets theirs."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.frontend import CommandLineInterface
from babel.messages.pofile import read_po

from pingboard.web.pages.language import LANGUAGES, choose_language, get_language

REPOSITORY = Path(__file__).parents[2]
LOCALE = REPOSITORY / "pingboard/web/locale"
OTHERS = [code for code in LANGUAGES if code != "en"]


def read(file: Path) -> Catalog:
    return read_po(BytesIO(file.read_bytes()))


def forms(message: Message) -> list[tuple[str, str]]:
    """Each form of a message with its translation."""
    ids = message.id if isinstance(message.id, tuple) else (str(message.id),)
    strings = message.string if isinstance(message.string, tuple) else (str(message.string),)
    return list(zip(ids, strings, strict=True))


def marks(text: str) -> list[str]:
    """What a translation must not touch: placeholders and tags."""
    return sorted(re.findall(r"%\(\w+\)s|%%|<[^>]+>", text))


def test_the_catalogue_has_the_strings_of_the_pages_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    command = re.search(r"EXTRACT := (.+)", Path("Makefile").read_text())
    assert command is not None
    fresh = tmp_path / "messages.pot"
    arguments = ["pybabel", "-q", "extract", *command[1].split(), "-o", str(fresh), "pingboard/web"]
    CommandLineInterface().run(arguments)  # type: ignore[no-untyped-call]
    expected = {message.id for message in read(fresh) if message.id}
    assert len(expected) > 50
    for name in ("messages.pot", *(f"{code}.po" for code in OTHERS)):
        messages = {message.id for message in read(LOCALE / name) if message.id}
        assert messages == expected, f"{name} is out of step; run: make strings"


@pytest.mark.parametrize("code", OTHERS)
def test_a_language_is_complete_and_keeps_placeholders_and_tags(code: str) -> None:
    for message in read(LOCALE / f"{code}.po"):
        if not message.id:
            continue
        assert not message.fuzzy, message.id
        for source, translated in forms(message):
            assert translated, f"not translated: {source}"
            assert marks(translated) == marks(source), source


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT, en;q=0.5", "de"),
        ("DE", "de"),
        ("EN-US,EN;q=0.9", "en"),
        ("fr, de;q=0.8, en;q=0.7", "de"),
        ("en-US,en;q=0.9,de;q=0.8", "en"),
        ("de;q=0.1, en;q=0.2", "en"),
        ("de;q=0", "en"),
        ("fr", "en"),
        ("*", "en"),
        ("de;q=x, ;;,=", "en"),
        ("de_x\x00" * 300, "en"),
    ],
)
def test_accept_language_chooses(header: str, code: str) -> None:
    assert choose_language(header) == code


def test_a_german_browser_gets_the_page_in_german(site: httpx.Client) -> None:
    german = site.get("/", headers={"Accept-Language": "de-DE,de;q=0.9,en;q=0.8"})
    english = site.get("/", headers={"Accept-Language": "en-GB"})
    assert '<html lang="de">' in german.text
    assert "Die schnellsten Matrix-Homeserver" in german.text
    assert "Letzte 7 Tage ·\n2 Homeserver ·\n8 Pongs" in german.text
    assert german.headers["content-language"] == "de"
    assert '<html lang="en">' in english.text
    assert english.headers["content-language"] == "en"
    assert german.headers["etag"] != english.headers["etag"]
    for answer in (german, english):
        assert "accept-language" in answer.headers["vary"].lower()


def test_lang_goes_before_the_header_and_along_to_the_other_pages(site: httpx.Client) -> None:
    page = site.get("/?lang=de&window=24h", headers={"Accept-Language": "en"}).text
    assert '<html lang="de">' in page
    assert 'href="/editions?lang=de"' in page
    delivery = re.search(r'<a href="/\?([^"]*board=delivery[^"]*)"', page)
    assert delivery is not None
    assert {"window=24h", "lang=de"} < set(delivery[1].split("&amp;"))
    assert 'href="/rankings.md?window=24h"' in page
    assert site.get("/?lang=xx").status_code == 422


def test_what_machines_read_is_the_same_in_every_language(site: httpx.Client) -> None:
    for path in ("/api/v1/rankings", "/rankings.md", "/badge/one.example.svg"):
        english, other = (
            site.get(path, headers={"Accept-Language": code}).content for code in ("en", "de")
        )
        assert english == other


def test_a_problem_is_shown_in_the_readers_language(site: httpx.Client) -> None:
    page = site.get("/?room=%23pong:one.example", headers={"Accept-Language": "de"})
    assert page.status_code == 404
    assert "<h1>Unbekannter Raum</h1>" in page.text
    assert "Einen Raum <bdi>#pong:one.example</bdi> gibt es hier nicht." in page.text


def test_numbers_and_dates_are_written_as_the_language_does() -> None:
    english, german = get_language("en"), get_language("de")
    assert english.decimal(1512.5) == ("1,512", ".5")
    assert german.decimal(1512.5) == ("1.512", ",5")
    assert (english.number(403.0), german.number(-0.5)) == ("403", "\N{MINUS SIGN}0,5")
    assert [german.percent(share) for share in (0, 0.004, 0.12)] == [
        f"{text}\N{NARROW NO-BREAK SPACE}%" for text in ("0", "0,4", "12")
    ]
    at = datetime(2026, 10, 12, 0, 5, tzinfo=UTC)
    assert english.instant(at) == "12 Oct 2026, 00:05 UTC"
    assert german.instant(at) == "12. Okt. 2026, 00:05 UTC"
