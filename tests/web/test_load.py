"""Costly requests, many at once: memory stays bounded, and nobody has to wait for their end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import signal
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from bench.pongs import ROOM as LARGE_ROOM
from bench.pongs import synthesize, write_closed_hours
from pingboard.boards import Question
from pingboard.model import Board
from pingboard.model.cancellation import AbandonedError, raise_if_abandoned
from pingboard.store.engine import Engine
from pingboard.store.ingest import Ingest
from pingboard.web.api.streaming import MAX_LISTS
from pingboard.web.shared_boards import SharedBoards
from tests.commands import end_of, start, until_it_answers
from tests.databases import open_migrated_file
from tests.web.site import make_answers, record, serve

MAX_GROWTH_MIB = 150
SAMPLES = 1_000_000
PINGSTAT = f"/_matrix/maubot/plugin/pingstat/{LARGE_ROOM}"
RAW = f"{PINGSTAT}/stats.raw.json?max_age=99999999"


class Api:
    """`pingboard serve` as a process, and a client of it."""

    def __init__(self, process: asyncio.subprocess.Process, client: httpx.AsyncClient) -> None:
        self.process = process
        self.client = client

    def read_memory_mib(self, field: str) -> float:
        """`VmRSS` is what it takes now, `VmHWM` the most that it took."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        [kib] = re.findall(rf"{field}:\s+(\d+) kB", status)
        return int(kib) / 1024


@pytest.fixture(scope="module")
def large_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database of a week of many samples."""
    folder = tmp_path_factory.mktemp("load")
    engine = open_migrated_file(folder / "pingboard.db")
    write_closed_hours(engine, iter([synthesize(SAMPLES)]))
    engine.dispose()
    return folder


@pytest.fixture
async def api(large_folder: Path, free_port: int) -> AsyncIterator[Api]:
    """It has answered, so that what it always has in memory is there."""
    settings = {"DATABASE_URL": "sqlite:///pingboard.db", "PORT": str(free_port)}
    process = await start("serve", settings, large_folder)
    limits = httpx.Limits(max_connections=None)
    url = f"http://127.0.0.1:{free_port}"
    async with httpx.AsyncClient(base_url=url, timeout=300, limits=limits) as client:
        await until_it_answers(f"{url}/rankings.md")
        yield Api(process, client)
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        assert (await end_of(process)).code == 0


async def test_ten_lists_of_a_million_pongs_at_once_fit_into_memory(api: Api) -> None:
    idle_mib = api.read_memory_mib("VmRSS")
    codings = ("identity", "gzip", "br", "zstd")
    streams: list[AsyncIterator[bytes]] = []
    async with contextlib.AsyncExitStack() as stack:

        async def open_list(number: int) -> int:
            headers = {"Accept-Encoding": codings[number % len(codings)]}
            stream = api.client.stream("GET", f"{RAW}&x={number}", headers=headers)
            response = await stack.enter_async_context(stream)
            # From here on it waits for its client, with all of its rows.
            parts = response.aiter_raw()
            streams.append(parts)
            await anext(parts)
            return response.status_code

        statuses = await asyncio.gather(*map(open_list, range(MAX_LISTS)))
        assert statuses == [200] * MAX_LISTS
        for number in itertools.count(MAX_LISTS):
            refused = await api.client.get(f"{RAW}&min_age=1")
            if refused.status_code != 200:
                break
            await open_list(number)  # the first was cut off meanwhile, as nobody takes it
        assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
        assert (await api.client.get("/healthz")).status_code == 200
        assert api.read_memory_mib("VmHWM") - idle_mib < MAX_GROWTH_MIB
    while (await api.client.get(f"{RAW}&min_age=99999998")).status_code != 200:
        pass


async def test_thousands_of_addresses_fit_into_memory(api: Api) -> None:
    idle_mib = api.read_memory_mib("VmRSS")
    for number in range(1000):
        for address in (
            f"{PINGSTAT}/stats.json?max_age=600&x={number}",
            f"/api/v1/rankings?min_samples={number + 1}",
        ):
            assert (await api.client.get(address)).status_code == 200
    assert api.read_memory_mib("VmHWM") - idle_mib < MAX_GROWTH_MIB


async def test_many_pages_over_a_long_window_at_once_fit_into_memory(api: Api) -> None:
    idle_mib = api.read_memory_mib("VmRSS")
    addresses = [f"/homeservers/server{number}.example?window=90d" for number in range(40)]
    answers = await asyncio.gather(*map(api.client.get, addresses))
    assert {answer.status_code for answer in answers} == {200}
    assert api.read_memory_mib("VmHWM") - idle_mib < MAX_GROWTH_MIB


async def test_the_api_ends_at_once_though_thirty_costly_requests_are_being_answered(
    api: Api,
) -> None:
    addresses = [
        address
        for number in range(6)
        for address in (
            f"/?window=30d&min_samples={number + 1}",
            f"/homeservers/server{number}.example?window=30d",
            f"{PINGSTAT}/stats.json?max_age={600_000 + number}",
            f"{RAW}&min_age={number}",
            f"/api/v1/samples?format=csv&window=30d&limit={1_000_000 - number}",
        )
    ]
    requests = asyncio.gather(*map(api.client.get, addresses), return_exceptions=True)
    for _ in range(3):  # whoever is served now has come after most of the others
        await api.client.get("/healthz")
    api.process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    ended = await end_of(api.process)
    # The promise is 10 s; a busy machine may take longer until it forces its end.
    assert (ended.code, time.monotonic() - began < 60) == (0, True)
    assert "Traceback" not in ended.stderr
    statuses = {
        answer.status_code for answer in await requests if isinstance(answer, httpx.Response)
    }
    assert statuses <= {200, 503}


class CountedBoards(SharedBoards):
    """Counts the boards that are ranked; each takes until nobody waits for it any more."""

    def __init__(self, engine: Engine, default_room: str | None = None) -> None:
        super().__init__(engine, default_room)
        self.ranked = 0
        self.has_begun = threading.Event()
        self.is_abandoned = threading.Event()

    def ask(self, question: Question) -> Board:
        board = super().ask(question)
        self.ranked += 1
        self.has_begun.set()
        with contextlib.suppress(AbandonedError):
            while True:
                raise_if_abandoned()
                time.sleep(0.01)
        self.is_abandoned.set()
        return board


async def test_who_leaves_has_no_more_boards_ranked(store: Engine) -> None:
    rooms = [f"!room{number}" for number in range(5)]
    for number, room in enumerate(rooms):
        Ingest(store, "test").record_room(room, None)
        record(store, make_answers("one.example", [100], room=room, first=10 * number))
    boards = CountedBoards(store)
    with serve(store, make_boards=lambda *_: boards) as site:
        async with httpx.AsyncClient(base_url=site.base_url, timeout=60) as client:
            request = asyncio.create_task(client.get("/section.md", params={"room": rooms}))
            assert await asyncio.to_thread(boards.has_begun.wait, 60)
            request.cancel()
            assert await asyncio.to_thread(boards.is_abandoned.wait, 60)
    assert boards.ranked == 1
