"""The byte cache before real apps, asked over HTTP by a real client or by ASGI alone."""

from __future__ import annotations

import asyncio
import gzip
import random
from collections.abc import AsyncIterator
from datetime import timedelta

import brotli
import httpx
import pytest
import zstandard
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from pingboard.boards import Boards
from pingboard.model import BoardName, Window
from pingboard.render.markdown import table
from pingboard.store.engine import Engine
from pingboard.web.cache import ByteCache
from pingboard.web.negotiation import choose_encoding
from tests.web.site import ALIAS, EXAMPLE_SAMPLES, NOW, make_answers, record, serve

RANKINGS = "/api/v1/rankings"
PAST = "from=2026-10-11T00:00:00Z&to=2026-10-11T13:00:00Z"


class Counting:
    """An app that counts what it is asked, and a version that a test can change."""

    def __init__(self) -> None:
        self.asked = 0
        self.data = 1

    async def version(self) -> object:
        return self.data

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1
        await self.answer(Request(scope))(scope, receive, send)

    def answer(self, request: Request) -> Response:
        text = f"{request.url.path} {sorted(request.query_params.items())} as of {self.data}, "
        return PlainTextResponse(text + "and so on " * 200, headers={"Vary": "Accept"})


def client(app: ASGIApp) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def test_what_has_not_changed_is_answered_without_the_app() -> None:
    app = Counting()
    async with client(ByteCache(app, app.version)) as http:
        first, again = await http.get("/a?x=1"), await http.get("/a?x=1")
        assert (app.asked, again.content, again.headers) == (1, first.content, first.headers)
        app.data = 2
        assert "as of 2" in (await http.get("/a?x=1")).text
    assert app.asked == 2


async def test_a_site_of_two_names_answers_by_the_name_that_it_is_asked_by() -> None:
    class Linking(Counting):
        def answer(self, request: Request) -> Response:
            return PlainTextResponse(str(request.base_url))

    app = Linking()
    async with client(ByteCache(app, app.version)) as http:
        for name in ("one.example", "two.example:8080", "one.example"):
            answer = await http.get("/a", headers={"Host": name})
            assert answer.text == f"http://{name}/"
    assert app.asked == 2


async def test_the_order_of_parameters_makes_no_difference_but_their_values_and_accept_do() -> None:
    app = Counting()
    async with client(ByteCache(app, app.version)) as http:
        for query in ("x=1&y=2", "y=2&x=1", "x=1&y=%32"):
            await http.get(f"/a?{query}")
        assert app.asked == 1
        for query in ("x=2&y=1", "x=1", "x=1&y=", "x=1&y=2&y=3", "x=1&y=3&y=2"):
            await http.get(f"/a?{query}")
        assert app.asked == 6
        await http.get("/a?x=1", headers={"Accept": "text/markdown"})
        assert app.asked == 7


async def test_if_none_match_with_the_current_etag_is_a_304() -> None:
    app = Counting()
    async with client(ByteCache(app, app.version)) as http:
        etag = (await http.get("/a")).headers["etag"]
        for given in (etag, f'"x", {etag}', f"W/{etag}", "*"):
            answer = await http.get("/a", headers={"If-None-Match": given})
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["etag"] == etag
            assert answer.headers["vary"] == "Accept, Accept-Encoding"
            assert answer.headers["cache-control"] == "no-cache"
            assert "content-length" not in answer.headers
        assert (await http.get("/a", headers={"If-None-Match": '"other"'})).status_code == 200
    assert app.asked == 1


async def test_each_content_encoding_has_its_own_etag() -> None:
    app = Counting()
    decode = {
        "gzip": gzip.decompress,
        "br": brotli.decompress,
        "zstd": zstandard.decompress,
    }
    async with client(ByteCache(app, app.version)) as http:
        plain = await http.get("/a", headers={"Accept-Encoding": "identity"})
        tags = {plain.headers["etag"]}
        for coding, decompress in decode.items():
            request = http.build_request("GET", "/a", headers={"Accept-Encoding": coding})
            answer = await http.send(request, stream=True)
            raw = b"".join([part async for part in answer.aiter_raw()])
            assert answer.headers["content-encoding"] == coding
            assert int(answer.headers["content-length"]) == len(raw) < len(plain.content) / 5
            assert decompress(raw) == plain.content
            tags.add(answer.headers["etag"])
    assert (len(tags), app.asked) == (4, 1)


async def test_head_is_as_get_without_the_body_whichever_comes_first() -> None:
    app = Counting()
    async with client(ByteCache(app, app.version)) as http:
        head = await http.head("/a")
        get = await http.get("/a")
    assert (head.content, head.headers, app.asked) == (b"", get.headers, 1)


async def test_memory_is_bounded_whatever_is_asked() -> None:
    app = Counting()
    cache = ByteCache(app, app.version, max_bytes=50_000)
    async with client(cache) as http:
        for number in range(200):
            await http.get(f"/a?x={number}", headers={"Accept-Encoding": "gzip"})
            assert cache._bytes <= 50_000
        assert cache._bytes == sum(entry.size for entry in cache._entries.values())
        assert len(cache._entries) < 25
        asked = app.asked
        await http.get("/a?x=199", headers={"Accept-Encoding": "gzip"})
        assert app.asked == asked
        await http.get(f"/a?x={'y' * 10_000}")
    assert len(cache._entries) < 25


async def test_random_requests_never_get_the_answer_to_another() -> None:
    app = Counting()
    cache = ByteCache(app, app.version, max_bytes=20_000)
    choose = random.Random(1)
    async with client(cache) as http:
        for _ in range(500):
            app.data += choose.random() < 0.1
            path, value = f"/{choose.randrange(3)}", str(choose.randrange(4))
            coding = choose.choice(["gzip", "br", "zstd", "identity"])
            answer = await http.get(path, params={"x": value}, headers={"Accept-Encoding": coding})
            assert answer.text.startswith(f"{path} [('x', '{value}')] as of {app.data},")


async def test_what_is_not_kept_does_not_wait_for_the_version() -> None:
    class NotKept(Counting):
        """Its data can't be looked at any more."""

        async def version(self) -> object:
            if self.asked:
                raise AssertionError("asked for the version")
            return self.data

        def answer(self, request: Request) -> Response:
            return PlainTextResponse("well", headers={"Cache-Control": "no-store"})

    app = NotKept()
    async with client(ByteCache(app, app.version, never_kept=["/healthz"])) as http:
        assert [(await http.get("/healthz")).text for _ in range(2)] == ["well", "well"]


class Slow(Counting):
    """Answers once it is let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.was_asked = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1
        self.was_asked.set()
        await self.go_on.wait()
        await self.answer(Request(scope))(scope, receive, send)


async def test_those_who_ask_at_the_same_time_wait_for_one_answer() -> None:
    app = Slow()
    async with client(ByteCache(app, app.version)) as http:
        requests = [asyncio.ensure_future(http.get("/a")) for _ in range(5)]
        await app.was_asked.wait()
        app.go_on.set()
        answers = await asyncio.gather(*requests)
    assert (app.asked, len({answer.content for answer in answers})) == (1, 1)


class Failing(Counting):
    def answer(self, request: Request) -> Response:
        return PlainTextResponse(f"no {self.asked}", status_code=404)


class Secret(Counting):
    def answer(self, request: Request) -> Response:
        return PlainTextResponse(f"now {self.asked}", headers={"Cache-Control": "no-store"})


class Streaming(Counting):
    def answer(self, request: Request) -> Response:
        async def parts() -> AsyncIterator[str]:
            for number in range(3):
                yield f"{self.asked}.{number} "

        return StreamingResponse(parts(), media_type="text/event-stream")


@pytest.mark.parametrize("kind", [Failing, Secret, Streaming])
async def test_what_may_not_be_kept_comes_from_the_app_each_time(kind: type[Counting]) -> None:
    app = kind()
    async with client(ByteCache(app, app.version)) as http:
        first, second = await http.get("/a"), await http.get("/a")
        assert (await http.head("/a")).content == b""
    assert app.asked == 3
    assert first.content != second.content
    assert "etag" not in first.headers


class Breaking(Counting):
    def answer(self, request: Request) -> Response:
        raise RuntimeError(request.url.path)


async def test_an_error_of_the_app_is_raised_to_each_who_asked() -> None:
    app = Breaking()
    async with client(ByteCache(app, app.version)) as http:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="/a"):
                await http.get("/a")


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", ""),
        ("gzip, deflate", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=1.0, br;q=0.5", "gzip"),
        ("*", "zstd"),
        ("*;q=0", None),
        ("identity;q=0", None),
        ("identity;q=0, gzip;q=0.1", "gzip"),
        ("*;q=0, identity;q=0.5", ""),
        ("zstd;q=0, *", "br"),
        ("br;q=0, identity", ""),
        ("gzip;q=0.5, identity;q=1", ""),
        ("gzip;q=nonsense", ""),
        ("GZip ; q=1", "gzip"),
        ("deflate", ""),
    ],
)
def test_the_coding_is_the_one_that_the_client_prefers(accepted: str, coding: str | None) -> None:
    assert choose_encoding(accepted.encode()) == (None if coding is None else coding.encode())


@pytest.mark.parametrize(
    "path",
    [
        RANKINGS,
        *(f"{path}?{PAST}" for path in (RANKINGS, "/api/v1/samples", "/api/v1/matrix")),
        "/rankings.md",
        "/",
        "/matrix",
        "/homeservers/one.example",
        "/homeservers/one.example/history.svg",
        "/join?homeserver=one.example",
    ],
)
def test_an_etag_stays_the_same_until_there_is_a_new_pong(store: Engine, path: str) -> None:
    record(store, EXAMPLE_SAMPLES)
    now = [NOW + timedelta(minutes=5)]
    with serve(store, clock=lambda: now[0]) as site:
        before = site.get(path)
        known = {"If-None-Match": before.headers["etag"]}
        now[0] += timedelta(minutes=3)
        again = site.get(path, headers=known)
        assert again.status_code == 304
        assert again.headers["cache-control"] == before.headers["cache-control"]
        record(store, make_answers("one.example", [100], first=9))
        assert site.get(path, headers=known).status_code == 200


def test_the_table_is_that_of_all_pongs_however_it_was_made(store: Engine) -> None:
    """By the app, or anew in the cache; for windows that move and for one that doesn't."""
    chosen = random.Random(1)
    asked = [
        ("/rankings.md", BoardName.RESPONSE, timedelta(days=7), 10),
        (
            "/rankings.md?limit=1&board=delivery&window=24h",
            BoardName.DELIVERY,
            timedelta(days=1),
            1,
        ),
        ("/rankings.md?from=2026-10-11T00:00:00Z", BoardName.RESPONSE, timedelta(days=1), 10),
    ]
    record(store, EXAMPLE_SAMPLES)
    with serve(store) as site:
        for number in range(30):
            name = chosen.choice(["one.example", "two.example", f"new{number}.example"])
            record(store, make_answers(name, [chosen.randrange(20, 900)], first=100 + number))
            for address, board, length, limit in asked:
                window = Window(NOW - length, NOW)
                plain = Boards(store).board(board, window, now=NOW, limit=limit)
                assert site.get(address).text == table(plain.standings)


def test_a_kept_answer_is_open_to_every_origin(store: Engine) -> None:
    record(store, EXAMPLE_SAMPLES)
    with serve(store) as site:
        for headers in ({}, {"Origin": "https://elsewhere.example"}):
            answer = site.get(RANKINGS, params={"room": ALIAS}, headers=headers)
            assert answer.headers["access-control-allow-origin"] == "*"
        etag = {"If-None-Match": answer.headers["etag"]}
        unchanged = site.get(RANKINGS, params={"room": ALIAS}, headers=etag)
    assert unchanged.status_code == 304
    assert unchanged.headers["access-control-allow-origin"] == "*"
