"""What one client may ask for; problem types; life behind a reverse proxy."""

from __future__ import annotations

import itertools
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from bench.pongs import END, synthesize, write_closed_hours
from bench.pongs import ROOM as LARGE_ROOM
from pingboard.boards import Question
from pingboard.model import Board
from pingboard.store.engine import Engine
from pingboard.web import limits, server
from pingboard.web.api.streaming import MAX_LISTS, stream_text
from pingboard.web.errors import TYPES
from pingboard.web.limits import (
    BURST,
    MAX_ADDRESS_BYTES,
    MAX_AT_ONCE,
    MAX_STREAMS,
    UNIT_BYTES,
    Limits,
)
from pingboard.web.shared_boards import SharedBoards
from tests.databases import open_migrated_file
from tests.web.site import make_answers, record, serve

COSTLY = "/api/v1/matrix"


_numbers = itertools.count(1)


def ask(client: httpx.Client, address: str, path: str = COSTLY) -> httpx.Response:
    """As the proxy on this machine does for a client elsewhere; never the same question twice.

    What is in the cache costs nothing, and has no limit.
    """
    parameters = {"min_samples": next(_numbers)}
    return client.get(path, params=parameters, headers={"X-Forwarded-For": address})


def test_too_many_requests_are_a_429_with_retry_after(
    store: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Time costs nothing here, and nothing is given back meanwhile.
    monkeypatch.setattr(limits, "UNIT_S", 1e9)
    with serve(store, per_minute=1) as client:
        answers = [ask(client, "192.0.2.1") for _ in range(BURST + 5)]
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["type"] == "/problems/too-many-requests"
        wait = refused.headers["retry-after"]
        assert 1 <= int(wait) <= 60
        assert refused.headers["ratelimit"] == f'"units";r=0;t={wait}'
        assert re.fullmatch('"units";q=60;w=[0-9]+', refused.headers["ratelimit-policy"])
        assert refused.headers["access-control-allow-origin"] == "*"
        assert ask(client, "192.0.2.2").status_code == 200
        assert ask(client, "192.0.2.1", "/healthz").status_code == 422
        assert client.get(COSTLY).status_code == 200
        elsewhere = {"X-Forwarded-For": "192.0.2.1"}
        assert client.get(COSTLY, headers=elsewhere).status_code == 200  # from the cache
    # Each costs one unit, and a bit more for what it sends.
    assert sum(answer.status_code == 200 for answer in answers) > BURST / 2


class GatedBoards(SharedBoards):
    """Ranks boards of a hundred samples and more only once the gate is open."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.arrivals = threading.Semaphore(0)
        self.gate = threading.Event()

    def ask(self, question: Question) -> Board:
        if question.min_samples >= 100:
            self.arrivals.release()
            assert self.gate.wait(60)
        return super().ask(question)


def test_nobody_waits_for_the_turn_of_another_client(
    store: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "UNIT_S", 1e9)  # however long a turn takes
    record(store, make_answers("one.example", [400]))
    boards = GatedBoards(store)
    with (
        serve(store, per_minute=60, make_boards=lambda *_: boards) as client,
        ThreadPoolExecutor(2 * MAX_AT_ONCE) as threads,
    ):

        def get(address: str, min_samples: int) -> int:
            path, headers = "/api/v1/rankings", {"X-Forwarded-For": address}
            parameters = {"min_samples": min_samples}
            return client.get(path, params=parameters, headers=headers).status_code

        numbers = range(100, 100 + MAX_AT_ONCE)
        working = [threads.submit(get, "192.0.2.1", number) for number in numbers]
        for _ in working:
            assert boards.arrivals.acquire(timeout=60)
        with socket.create_connection((client.base_url.host, client.base_url.port or 80)) as late:
            late.sendall(
                b"GET /api/v1/rankings?min_samples=1 HTTP/1.1\r\nHost: %s\r\nAccept: */*\r\n"
                b"X-Forwarded-For: 192.0.2.1\r\n\r\n" % client.base_url.netloc
            )
            for _ in range(3):  # by the last of them it has been read
                client.get("/healthz")
            asked = threads.submit(get, "192.0.2.2", 1)
            assert asked.result(timeout=30) == 200
            boards.gate.set()
            assert {task.result() for task in working} == {200}
            assert late.recv(12) == b"HTTP/1.1 200"


def test_a_limit_of_zero_is_none(store: Engine) -> None:
    with serve(store, per_minute=0) as client:
        assert {ask(client, "192.0.2.1").status_code for _ in range(BURST + 5)} == {200}


def test_all_networks_of_an_ipv6_site_are_one_client(store: Engine) -> None:
    with serve(store, per_minute=60) as client:
        addresses = [f"2001:db8:0:{number:x}::1" for number in range(BURST + 5)]
        assert 429 in [ask(client, address).status_code for address in addresses]
        assert ask(client, "2001:db8:1::1").status_code == 200


def test_an_ipv4_address_is_the_same_client_when_written_as_ipv6(store: Engine) -> None:
    with serve(store, per_minute=60) as client:
        for _ in range(BURST + 5):
            ask(client, "::ffff:192.0.2.1")
        codes = [ask(client, "192.0.2.1").status_code for _ in range(3)]
        assert 429 in codes
        assert ask(client, "::ffff:192.0.2.2").status_code == 200


def test_who_hides_behind_a_word_is_limited_too(store: Engine) -> None:
    with serve(store, per_minute=60) as client:
        words = ["unknown", "_hidden"] * BURST
        assert 429 in [ask(client, word).status_code for word in words]


async def test_units_come_back_and_the_client_of_longest_ago_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_CLIENTS", 3)
    now = [0.0]
    limit = Limits(lambda *_: None, per_minute=60, clock=lambda: now[0])  # type: ignore[arg-type]
    allowance = limit._find("a")
    assert [limit._take(allowance) for _ in range(BURST)] == [0] * BURST
    assert limit._take(allowance) == 1
    now[0] += 2
    assert [limit._take(allowance) for _ in range(3)] == [0, 0, 1]
    for name in "bcde":
        limit._find(name)
    assert list(limit._allowances) == ["c", "d", "e"]


@pytest.mark.parametrize("prefix_kept", [False, True])
def test_only_healthz_itself_is_free(store: Engine, prefix_kept: bool) -> None:
    prefix = "/ping" if prefix_kept else ""
    with serve(store, per_minute=1, root_path="/ping") as client:

        def ask_often(path: str) -> set[int]:
            return {ask(client, "192.0.2.1", prefix + path).status_code for _ in range(2 * BURST)}

        assert ask_often("/homeservers/x/healthz") == {404, 429}
        assert ask_often("/healthz") == {422}


async def test_each_part_of_a_stream_takes_a_turn_and_is_paid_before_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_AT_ONCE", 1)
    now, had_turn, sent = [0.0], [], []

    def make_parts() -> Iterator[str]:
        for _ in range(3):
            had_turn.append(allowance.turns.locked())
            now[0] += 1
            yield "x" * UNIT_BYTES

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await stream_text(Request(scope), make_parts(), "text/plain", {})(scope, receive, send)

    async def send(message: Message) -> None:
        sent.append((allowance.turns.locked(), allowance.units))

    async def receive() -> Message:
        raise AssertionError("a stream reads nothing")

    limit = Limits(app, per_minute=60, clock=lambda: now[0])
    allowance = limit._find("192.0.2.1")
    scope = {
        "type": "http",
        "asgi": {"spec_version": "2.4"},
        "client": ("192.0.2.1", 1),
        "method": "GET",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [],
    }
    await limit(scope, receive, send)
    assert had_turn == [True] * 3
    # One unit at the beginning; then each part takes a second, in which one comes back.
    start, *parts = [units for _, units in sent]
    assert start == BURST - 1
    assert parts[:3] == [pytest.approx(units) for units in (39, 19, -1)]
    assert not any(is_locked for is_locked, _ in sent)


@pytest.fixture
def large_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Samples of more bytes than a connection keeps for a client that does not take them yet."""
    monkeypatch.setattr(server, "MAX_WRITE_S", 600)
    engine = open_migrated_file(tmp_path / "pingboard.db")
    write_closed_hours(engine, iter([synthesize(100_000)]))
    yield engine
    engine.dispose()


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/samples?format=csv",
        f"/_matrix/maubot/plugin/pingstat/{LARGE_ROOM}/stats.raw.json",
    ],
)
def test_a_client_is_sent_a_few_streams_at_once(large_store: Engine, path: str) -> None:
    with (
        serve(large_store, per_minute=1_000_000, clock=lambda: END) as client,
        ExitStack() as stack,
    ):

        def open_stream(address: str) -> httpx.Response:
            headers = {"X-Forwarded-For": address, "Accept-Encoding": "identity"}
            return stack.enter_context(client.stream("GET", path, headers=headers))

        streams = [open_stream("192.0.2.1") for _ in range(MAX_STREAMS)]
        assert [answer.status_code for answer in streams] == [200] * MAX_STREAMS
        refused = [open_stream("192.0.2.1") for _ in range(MAX_LISTS)]
        assert {answer.status_code for answer in refused} == {429}
        assert refused[0].headers["retry-after"] == "30"
        assert refused[0].headers["content-type"] == "application/problem+json"
        assert open_stream("192.0.2.2").status_code == 200
        assert ask(client, "192.0.2.1").status_code == 200
        streams[0].close()
        while open_stream("192.0.2.1").status_code != 200:
            pass  # until the server has noticed


@pytest.mark.parametrize(
    "path", ["/api/v1/rankings?room=" + "x" * MAX_ADDRESS_BYTES, "/" + "y" * MAX_ADDRESS_BYTES]
)
def test_an_endless_address_is_a_414(site: httpx.Client, path: str) -> None:
    answer = site.get(path)
    assert answer.status_code == 414
    assert answer.json()["type"] == "/problems/address-too-long"


def test_every_problem_type_is_explained_at_its_address(site: httpx.Client) -> None:
    for kind, described in TYPES.items():
        page = site.get(f"/problems/{kind}")
        assert page.status_code == 200
        assert described.title in page.text
        translated = site.get(f"/problems/{kind}?lang=de").text
        assert page.text.count("<code>") == translated.count("<code>")
        assert page.text.count("<code>") == described.meaning.count("`") / 2
        assert "&lt;" not in page.text + translated
    assert site.get("/problems/nothing").status_code == 404


def test_the_documentation_lists_every_problem_type_in_the_words_of_its_page() -> None:
    text = Path("docs/api.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `/problems/([a-z-]+)` \| (\d+) \| (.+) \|$", text, re.MULTILINE) == [
        (name, str(kind.status), kind.meaning) for name, kind in TYPES.items()
    ]


@pytest.mark.parametrize("prefix_kept", [False, True])
def test_everything_works_below_a_prefix(store: Engine, prefix_kept: bool) -> None:
    record(store, make_answers("one.example", [400]))
    with serve(store, root_path="/ping") as client:
        path = "/ping" if prefix_kept else ""
        page = client.get(f"{path}/").text
        assert client.get(f"{path}/api/v1/rankings").json()["sample_count"] == 1
        assert client.get(f"{path}/nowhere").status_code == 404
        assert client.get(f"{path}/openapi.json").json()["servers"][0] == {"url": "/ping"}
        links = re.findall(r'(?:src|href)="([^"#][^"]*)"', page + client.get(f"{path}/docs").text)
        for link in links:
            if link.startswith("https://matrix.to/#/"):
                continue
            assert link.removeprefix(str(client.base_url).rstrip("/")).startswith("/ping/")
            assert client.get(link.replace("&amp;", "&")).status_code == 200
    assert len(links) > 12


def test_a_thousand_idle_connections_hold_up_nobody(site: httpx.Client) -> None:
    address = (site.base_url.host, site.base_url.port or 80)
    idle = [socket.create_connection(address) for _ in range(1000)]
    try:
        assert site.get("/healthz").status_code == 200
    finally:
        for connection in idle:
            connection.close()


def test_1500_unknown_rooms_take_less_than_30_mb(site: httpx.Client) -> None:
    before = _resident_kb()
    for number in range(1500):
        assert site.get(f"/api/v1/rankings?room=%23x{number}:y").status_code == 404
    assert _resident_kb() - before < 30_000


def _resident_kb() -> int:
    match = re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text(encoding="ascii"))
    assert match is not None
    return int(match[1])
