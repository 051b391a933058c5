"""What each output says the names on a board are, told by the format's own parser."""

from __future__ import annotations

import csv
import io
import json
from html.parser import HTMLParser

from httpx import ASGITransport, AsyncClient
from markdown_it import MarkdownIt

from pingboard.boards import Boards
from pingboard.store.engine import open_engine
from pingboard.web.app import create_app


async def names_by_output(database_url: str, names: list[str]) -> dict[str, set[str]]:
    """Path of an output -> those of the names that its parser finds in it."""
    engine = open_engine(database_url, read_only=True)
    try:
        transport = ASGITransport(create_app(Boards(engine, None), per_minute=0))
        async with AsyncClient(transport=transport, base_url="http://site") as site:
            return await _ask(site, names)
    finally:
        engine.dispose()


async def _ask(site: AsyncClient, names: list[str]) -> dict[str, set[str]]:
    readers = {
        "/rankings.md": _of_markdown,
        "/rankings.csv": lambda text: {
            row["homeserver"] for row in csv.DictReader(io.StringIO(text))
        },
        "/api/v1/rankings": lambda text: {
            one["homeserver"] for one in json.loads(text)["standings"]
        },
        "/": _texts_of_html,
    }
    wanted = {"board": "reception", "limit": "100"}
    found = {}
    for path, read in readers.items():
        parameters = {"board": "reception"} if path == "/" else wanted
        answer = await site.get(path, params=parameters)
        found[path] = read(answer.text) & set(names) if answer.status_code == 200 else set()
    return found


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
