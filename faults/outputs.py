"""What each output says the names on a board are, told by the format's own parser."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

from httpx import ASGITransport, AsyncClient
from markdown_it import MarkdownIt

from faults.claims import CaseError
from pingboard.boards import Boards
from pingboard.edition_schedule import Week
from pingboard.editions import make
from pingboard.store.editions import insert_edition
from pingboard.store.engine import open_engine
from pingboard.web.app import create_app

WEEK = "2000-W01"
"""The edition that is made of what is there, whenever that is."""

Read = Callable[[str], set[str]]


async def names_by_output(file: Path, names: list[str]) -> dict[str, set[str]]:
    """Path of an output -> those of the names that its parser finds in it.

    `file` is a SQLite database that nobody else uses: an edition is put into it.
    """
    engine = open_engine(f"sqlite:///{file}")
    try:
        with closing(Boards(engine)) as boards:
            now = datetime.now(UTC)
            edition = make(boards, Week(WEEK, now - timedelta(days=7), now))
            if edition is None:
                raise CaseError("nothing to make an edition of")
            insert_edition(engine, edition)
            transport = ASGITransport(create_app(boards, per_minute=0))
            async with AsyncClient(transport=transport, base_url="http://site") as site:
                return await _ask(site, names)
    finally:
        engine.dispose()


async def _ask(site: AsyncClient, names: list[str]) -> dict[str, set[str]]:
    wanted = {"board": "reception", "limit": "100"}
    readers: list[tuple[str, Mapping[str, str], Read]] = [
        ("/rankings.md", wanted, _of_markdown),
        ("/rankings.csv", wanted, lambda text: _of_csv(text, "homeserver")),
        ("/api/v1/rankings", wanted, _of_rankings),
        ("/api/v1/samples", {"format": "csv"}, lambda text: _of_csv(text, "pong_server")),
        ("/", {"board": "reception"}, _texts_of_html),
        ("/feed.atom", {}, _texts_of_xml),
        (f"/editions/{WEEK}.md", {}, _of_markdown),
    ]
    by_output = {path: await _read(site, path, query, read) for path, query, read in readers}
    pages = {
        "/badge/{name}.svg": _texts_of_xml,
        "/homeservers/{name}": _texts_of_html,
        "/homeservers/{name}/history.svg": _words_of_xml,
    }
    for template, read in pages.items():
        by_output[template] = set()
        for name in names:
            path = template.format(name=quote(name, safe=""))
            # A badge has room for a place only, unless it is asked to be labelled.
            query = {"label": name} if "badge" in path else {}
            by_output[template] |= await _read(site, path, query, read) & {name}
    return {path: texts & set(names) for path, texts in by_output.items()}


async def _read(site: AsyncClient, path: str, query: Mapping[str, str], read: Read) -> set[str]:
    answer = await site.get(path, params=query)
    return read(answer.text) if answer.status_code == 200 else set()


def _of_rankings(text: str) -> set[str]:
    return {standing["homeserver"] for standing in json.loads(text)["standings"]}


def _of_csv(text: str, column: str) -> set[str]:
    return {row[column] for row in csv.DictReader(io.StringIO(text))}


def _texts_of_xml(text: str) -> set[str]:
    return {str(part).strip() for part in ElementTree.fromstring(text).itertext()}


def _words_of_xml(text: str) -> set[str]:
    return {word for part in _texts_of_xml(text) for word in part.split()}


def _of_markdown(text: str) -> set[str]:
    return _texts_of_html(MarkdownIt("commonmark").enable("table").render(text))


def _texts_of_html(text: str) -> set[str]:
    parser = _Texts()
    parser.feed(text)
    return parser.found


class _Texts(HTMLParser):
    """The text from tag to tag; a place where a long name may be broken is no tag of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self._text = ""

    def handle_starttag(self, tag: str, _attrs: list[tuple[str, str | None]]) -> None:
        if tag != "wbr":
            self._take()

    def handle_endtag(self, _tag: str) -> None:
        self._take()

    def handle_data(self, data: str) -> None:
        self._text += data

    def _take(self) -> None:
        self.found.add(self._text.strip())
        self._text = ""
