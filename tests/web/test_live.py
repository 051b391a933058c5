"""Server-sent events: each new pong once, also over cuts and restarts."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from pingboard.boards import Boards
from pingboard.model import BoardName, Provenance, Sample, Standing, to_ts
from pingboard.store.engine import Engine
from pingboard.store.journal import VersionWatch, prune, read_version
from pingboard.store.rooms import read_lineage_ids
from pingboard.web import live_updates
from pingboard.web.api import live
from pingboard.web.live_updates import MAX_QUEUED, RankChange, compare
from tests.samples import ROOM as OTHER_ROOM
from tests.samples import make_ping, make_pong
from tests.web.site import NOW, ROOM, make_answers, open_store, record, serve

LIVE = "/api/v1/live"


class Stream:
    """Events as they come; `kind`, `id` and data of each."""

    first_id = ""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines

    def take(self, count: int, kind: str = "pong") -> list[dict[str, Any]]:
        """The next so many events of a kind, with their `id` where they have one."""
        events: list[dict[str, Any]] = []
        fields: dict[str, str] = {}
        while len(events) < count:
            line = next(self._lines)
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
                continue
            if fields.get("event") == kind:
                events.append({"id": fields.get("id"), **json.loads(fields["data"])})
            fields = {}
        return events

    def read_opening(self) -> str:
        """What comes before all else: from then on nothing is missed. Gives its `id`."""
        lines = [next(self._lines) for _ in range(3)]
        assert lines[1:] == ["retry: 2000", ""]
        return lines[0].removeprefix("id: ")


@contextmanager
def follow(client: httpx.Client, last: str | None = None, **parameters: str) -> Iterator[Stream]:
    headers = {"Last-Event-ID": last} if last is not None else {}
    with client.stream("GET", LIVE, params=parameters, headers=headers, timeout=120) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        stream = Stream(answer.iter_lines())
        stream.first_id = stream.read_opening()
        yield stream


def keys(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(event["ping_event_id"], event["pong_server"]) for event in events]


def test_a_new_pong_is_sent_as_the_sample_that_it_is(store: Engine) -> None:
    record(store, make_answers("old.example", [300]))
    with serve(store) as client, follow(client) as stream:
        record(store, make_answers("one.example", range(400, 402)))
        events = stream.take(2)
        stored = client.get("/api/v1/samples", params={"pong_server": "one.example"}).json()
    ids = [int(event.pop("id")) for event in events]
    assert events == stored["samples"]
    assert ids == sorted(set(ids))


def test_whoever_has_the_headers_misses_nothing_from_then_on(
    store: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_slowly(engine: Engine, room_id: str) -> list[str]:
        time.sleep(1)
        return read_lineage_ids(engine, room_id)

    monkeypatch.setattr(live_updates, "read_lineage_ids", read_slowly)
    with serve(store) as client, client.stream("GET", LIVE, timeout=120) as answer:
        record(store, make_answers("one.example", [400]))
        (told,) = Stream(answer.iter_lines()).take(1)
    assert told["pong_server"] == "one.example"


def test_a_new_pong_is_sent_to_everybody_who_listens(store: Engine) -> None:
    with serve(store) as client, follow(client) as first, follow(client) as second:
        record(store, make_answers("one.example", range(400, 403)))
        assert first.take(3) == second.take(3)


def test_who_was_cut_off_gets_what_came_since_and_goes_on(store: Engine) -> None:
    with serve(store) as client:
        with follow(client) as stream:
            record(store, make_answers("one.example", range(400, 403)))
            seen = stream.take(2)
        record(store, make_answers("two.example", range(500, 505)))
        with follow(client, last=seen[-1]["id"]) as stream:
            missed = stream.take(6)
            record(store, make_answers("three.example", range(400, 402)))
            live = stream.take(2)
    told = keys([*seen, *missed, *live])
    assert len(told) == len(set(told)) == 10
    assert {name for _, name in told[-2:]} == {"three.example"}


def test_nothing_is_missed_or_doubled_when_the_server_restarts(store: Engine) -> None:
    told: list[dict[str, Any]] = []
    last = "0"
    for restart in range(3):
        record(store, make_answers(f"down{restart}.example", range(400, 404)))
        with serve(store) as client, follow(client, last=last) as stream:
            told += stream.take(4)
            record(store, make_answers(f"up{restart}.example", range(400, 403)))
            told += stream.take(3)
            last = told[-1]["id"]
    assert len(keys(told)) == len(set(keys(told))) == 21


def test_who_was_cut_off_before_the_first_event_misses_nothing_either(store: Engine) -> None:
    record(store, make_answers("old.example", [300]))
    with serve(store) as client:
        with follow(client) as stream:
            first_id = stream.first_id
        record(store, make_answers("one.example", [400]))
        with follow(client, last=first_id) as stream:
            assert keys(stream.take(1)) == [("$ping0", "one.example")]


def test_a_stop_ends_the_streams_in_order(store: Engine) -> None:
    with httpx.Client(timeout=60) as outlives:
        with serve(store) as client:
            request = client.build_request("GET", LIVE)
            answer = outlives.send(request, stream=True)
            lines = answer.iter_lines()
            assert next(lines).startswith("id: ")
        assert list(lines) == ["retry: 2000", ""]
        answer.close()


def test_only_the_pongs_of_the_room_are_sent(store: Engine) -> None:
    record(store, make_answers("other.example", [300], room=OTHER_ROOM, first=7))
    with serve(store) as client, follow(client, last="0", room=ROOM) as stream:
        record(store, make_answers("one.example", [400]))
        assert keys(stream.take(1)) == [("$ping0", "one.example")]


def test_an_import_is_no_news(store: Engine) -> None:
    ping = make_ping(1, room_id=ROOM, seen_ts=to_ts(NOW) - 60_000)
    record(store, [Sample(ping, make_pong(ping, "old.example"), None, Provenance.IMPORT)])
    record(store, [Sample(ping, make_pong(ping, "new.example"), None, Provenance.GAP_FILL)])
    with serve(store) as client, follow(client, last="0") as stream:
        (event,) = stream.take(1)
    assert event["pong_server"] == "new.example"
    assert event["provenance"] == "gap_fill"


@pytest.mark.parametrize("last", ["3", "999999"])
def test_who_comes_back_too_late_is_sent_a_reset(store: Engine, last: str) -> None:
    record(store, make_answers("one.example", range(400, 420)))
    with store.begin() as connection:
        prune(connection, read_version(connection))
    with serve(store) as client, follow(client, last=last) as stream:
        assert "reason" in stream.take(1, "reset")[0]
        record(store, make_answers("two.example", range(400, 401)))
        assert keys(stream.take(1)) == [("$ping0", "two.example")]


def test_a_change_of_rank_is_sent(store: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_updates, "MIN_RANK_PAUSE_S", 0)
    record(store, make_answers("one.example", [500]))
    with serve(store) as client, follow(client) as stream:
        assert client.get("/rankings.md").status_code == 200  # from here on boards are shared
        record(store, make_answers("two.example", range(400, 401)))  # 400 ms
        events = stream.take(4, "rank")
    assert {event.pop("room_id") for event in events} == {ROOM}
    # The boards are compared one after the other, perhaps while the pong is stored.
    assert [event for event in events if event["board"] == "response"] == [
        {
            "id": None,
            "board": "response",
            "homeserver": name,
            "rank": rank,
            "previous_rank": previous,
            "median_ms": ms,
        }
        for name, rank, previous, ms in [
            ("two.example", 1, None, 400),
            ("one.example", 2, 1, 500),
        ]
    ]


@pytest.mark.parametrize(("spent_s", "pause_s"), [(0.0, 1.0), (0.02, 1.0), (0.1, 5.0)])
def test_ranks_are_compared_at_most_once_a_second_and_seldom_where_that_takes_long(
    spent_s: float, pause_s: float
) -> None:
    assert live_updates.choose_pause(spent_s) == pytest.approx(pause_s)


def test_thousands_of_changed_ranks_at_once_cut_nobody_off(store: Engine) -> None:
    names = [f"hs{number}.example" for number in range(MAX_QUEUED // 2 + 100)]
    record(store, [sample for name in names for sample in make_answers(name, [500])])
    with serve(store) as client, follow(client) as stream:
        # Everybody else moves down by one, on two boards.
        record(store, make_answers("fastest.example", [20]))
        [reset] = stream.take(1, "reset")
        assert "ranks" in reset["reason"]
        record(store, make_answers("last.example", [30], first=1))
        while stream.take(1)[0]["pong_server"] != "last.example":
            pass


def test_who_left_a_board_has_no_rank_any_more() -> None:
    def board(*names: str) -> dict[str, Standing]:
        return {
            name: Standing(rank, name, 1, 1, 1, 1, 1, 1, 1) for rank, name in enumerate(names, 1)
        }

    moved = compare("!r", BoardName.RESPONSE, board("a", "b", "c"), board("b", "a"))
    assert [(change.homeserver, change.rank, change.previous_rank) for change in moved] == [
        ("b", 1, 2),
        ("a", 2, 1),
        ("c", None, 3),
    ]
    assert isinstance(moved[0], RankChange)


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "9" * 19])
def test_an_id_that_we_never_gave_is_a_422(site: httpx.Client, last: str) -> None:
    answer = site.get(LIVE, headers={"Last-Event-ID": last})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["header", "last-event-id"]


def test_what_can_be_refused_is_refused_before_the_stream(
    store: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(store) as client:
        assert client.get(LIVE, params={"room": "#x:y"}).json()["type"] == "/problems/unknown-room"
        assert client.get(LIVE, params={"rom": ROOM}).status_code == 422
        assert client.head(LIVE).status_code == 200
        monkeypatch.setattr(live_updates, "MAX_LISTENERS", 0)
        answer = client.get(LIVE)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "30"
    assert answer.json()["type"] == "/problems/too-busy"


def test_one_client_can_not_take_all_places(store: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MAX_LISTENERS_PER_CLIENT", 1)
    elsewhere = {"X-Forwarded-For": "192.0.2.1"}
    with serve(store) as client, client.stream("GET", LIVE, headers=elsewhere) as first:
        assert first.status_code == 200
        assert client.get(LIVE, headers=elsewhere).status_code == 503
        with client.stream("GET", LIVE, headers={"X-Forwarded-For": "192.0.2.2"}) as other:
            assert other.status_code == 200


async def end(updates: live_updates.LiveUpdates) -> None:
    """Stop it, and wait until its poller has closed its connection."""
    updates.stop()
    tasks = {getattr(task.get_coro(), "__qualname__", ""): task for task in asyncio.all_tasks()}
    await tasks["LiveUpdates._poll"]


async def test_a_slow_listener_is_cut_off_and_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More than one pass of the poller tells: 10 pongs, and who moved on each of the boards.
    monkeypatch.setattr(live_updates, "MAX_QUEUED", 30)
    engine = open_store(tmp_path)
    updates = live_updates.LiveUpdates(Boards(engine), lambda: NOW)
    slow, quick = updates.listen(ROOM, None), updates.listen(ROOM, None)
    for listener in (slow, quick):
        assert isinstance((await anext(listener))[0], live_updates.Start)
    told = 0
    for number in range(4):
        record(engine, make_answers(f"hs{number}.example", range(400, 410)))
        while told < 10 * (number + 1):
            told += sum(isinstance(update, live_updates.NewPong) for update in await anext(quick))
    with pytest.raises(StopAsyncIteration):
        await anext(slow)
    await end(updates)
    engine.dispose()


async def test_who_takes_long_to_be_ready_is_sent_pongs_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        live_updates, "POLL_S", 0
    )  # many polls pass until the first ranks are known
    engine = open_store(tmp_path)
    record(engine, make_answers("old.example", range(300, 320)))
    updates = live_updates.LiveUpdates(Boards(engine), lambda: NOW)
    listener = updates.listen(ROOM, None)
    assert isinstance((await anext(listener))[0], live_updates.Start)
    record(engine, make_answers("new.example", [400]))
    async with asyncio.timeout(120):
        while not any(isinstance(update, live_updates.NewPong) for update in await anext(listener)):
            pass
    await end(updates)
    engine.dispose()


async def take_pong(listener: AsyncIterator[list[live_updates.LiveEvent]]) -> None:
    while not any(isinstance(event, live_updates.NewPong) for event in await anext(listener)):
        pass


async def test_who_leaves_at_once_does_not_take_the_news_from_the_others(tmp_path: Path) -> None:
    engine = open_store(tmp_path)
    record(engine, make_answers("old.example", [300]))
    updates = live_updates.LiveUpdates(Boards(engine), lambda: NOW)
    async with asyncio.timeout(120):
        leaving = asyncio.ensure_future(anext(updates.listen(ROOM, None)))
        listener = updates.listen(ROOM, None)
        start = asyncio.ensure_future(anext(listener))
        while updates.listeners < 2:  # noqa: ASYNC110 (what is awaited is the event loop's own turn)
            await asyncio.sleep(0)
        leaving.cancel()
        assert isinstance((await start)[0], live_updates.Start)
        record(engine, make_answers("new.example", [400]))
        await take_pong(listener)
        await end(updates)
    engine.dispose()


async def test_who_comes_while_the_last_one_leaves_is_sent_pongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_store(tmp_path)
    record(engine, make_answers("old.example", [300]))
    updates = live_updates.LiveUpdates(Boards(engine), lambda: NOW)
    closing, closed = threading.Event(), threading.Event()

    def close_slowly(watch: VersionWatch) -> None:
        closing.set()
        closed.wait(120)
        close(watch)

    close = VersionWatch.close
    async with asyncio.timeout(120):
        with monkeypatch.context() as patch:
            patch.setattr(VersionWatch, "close", close_slowly)
            last = updates.listen(ROOM, None)
            await anext(last)
            await last.aclose()
            await asyncio.to_thread(closing.wait)
        listener = updates.listen(ROOM, None)
        await anext(listener)
        closed.set()
        record(engine, make_answers("new.example", [400]))
        await take_pong(listener)
        await end(updates)
    engine.dispose()


def test_where_nothing_happens_a_comment_comes(
    store: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_updates, "HEARTBEAT_S", 0.01)
    with serve(store) as client, client.stream("GET", LIVE, timeout=120) as answer:
        lines = answer.iter_lines()
        assert [next(lines) for _ in range(6)][3:] == [": ping", "", ": ping"]


def test_who_does_not_read_is_cut_off_and_counts_no_more(
    store: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MAX_SEND_S", 0.05)
    with serve(store) as client:
        address = (client.base_url.host, client.base_url.port or 80)
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(address)
            deaf.sendall(f"GET {LIVE} HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 0\r\n\r\n".encode())
            deaf.recv(64)
            for number in range(8):  # far more than the buffers on the way hold
                record(store, make_answers(f"hs{number}.example", range(300, 3300)))
            for _ in range(600):
                if "pingboard_live_listeners 0.0" in client.get("/metrics").text:
                    break
                time.sleep(0.1)
            else:
                pytest.fail("the deaf listener is still there")
