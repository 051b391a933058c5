"""`pingboard import` and `pingboard export`: as a user types them."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pingboard.boards import Boards
from pingboard.file_formats import Record, read_pingstat
from pingboard.model import Batch, Board, BoardName, Sample, Window
from pingboard.store.engine import migrate, open_engine
from pingboard.store.importer import Importer
from pingboard.store.ingest import Ingest
from pingboard.store.lease import take_lease
from tests import pingstat
from tests.cli.http_server import answering
from tests.commands import run
from tests.pingstat import NOW_TS, ROOM, SERVERS, random_rows
from tests.samples import make_ping, make_pong
from tests.web.site import NOW, serve

BASE = "/_matrix/maubot/plugin/pingstat"
WEEK = Window.named("7d", NOW)


@pytest.mark.parametrize("seed", range(3))
def test_imported_history_is_served_as_pingstat_serves_it(
    database_url: str, tmp_path: Path, seed: int
) -> None:
    rows = random_rows(seed)
    (tmp_path / "raw.json").write_text(json.dumps(rows))
    code, _, said = run(database_url, "import", "pingstat", "raw.json", folder=tmp_path)
    assert (code, said) == (0, f"imported {len(rows)} samples; 0 were there already\n")
    engine = open_engine(database_url, read_only=True)
    ages = [("", ""), ("604800", "0"), ("86400", ""), ("90000", "3600"), ("1000000", "86400")]
    with serve(engine) as client:
        for max_age, min_age in [*ages, ("x", "-5"), ("10", "20")]:
            ask = {"params": {"max_age": max_age, "min_age": min_age}}
            document = client.get(f"{BASE}/{ROOM}/stats.json", **ask).text  # type: ignore[arg-type]
            expected = pingstat.stats(rows, NOW_TS, max_age, min_age)
            # As text: the order of keys, the digits, and the integer or float of a median.
            assert document.partition('"pings": ')[2] == json.dumps(expected).partition(": ")[2]
            raw = client.get(f"{BASE}/{ROOM}/stats.raw.json", **ask).text  # type: ignore[arg-type]
            assert raw == json.dumps(pingstat.raw(rows, NOW_TS, max_age, min_age))
    engine.dispose()


def boards_of(url: str, window: Window = WEEK) -> list[Board]:
    engine = open_engine(url, read_only=True)
    boards = Boards(engine)
    answers = [boards.board(name, window, now=NOW) for name in BoardName]
    engine.dispose()
    return answers


def without_ids(boards: Sequence[Board]) -> list[Any]:
    return [(board.room_id, board.samples, board.standings) for board in boards]


def fill(url: str) -> None:
    """Our own pings with round trips and a loss, others' pings, an alias, an upgraded room."""
    engine = open_engine(url)
    migrate(engine)
    ingest = Ingest(engine, "test")
    ingest.record_room(ROOM, "#ping:one.example", predecessor="!older")
    rng = random.Random(7)
    samples, expected = [], []
    for number in range(40):
        ours = number % 2 == 0
        ping = make_ping(
            number,
            "ours.example" if ours else "two.example",
            room_id=ROOM,
            seen_ts=NOW_TS - 86_400_000 + number * 1000,
            vantage="main" if ours else None,
            sent_ts=NOW_TS - 86_400_000 + number * 1000 - 9 if ours else None,
        )
        if ours:
            expected.append((ping, SERVERS))
        for server in SERVERS:
            ms = rng.randint(20, 2000)
            if ours and server == SERVERS[number % 8]:
                continue  # expected, and it never comes
            pong = make_pong(ping, server, ms)
            trip = ms * 2 if ours else None
            pong = replace(pong, seen_ts=ping.seen_ts + ms * 2, origin_server_ts=ping.seen_ts + 7)
            samples.append(Sample(ping, pong, trip))
    ingest.record(Batch(samples=samples, expected=expected))
    engine.dispose()


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_an_export_imported_again_gives_the_same_boards(
    database_url: str, tmp_path: Path, form: str
) -> None:
    fill(database_url)
    exported = run(database_url, "export", "--format", form, folder=tmp_path)
    assert exported[0] == 0, exported
    (tmp_path / "all").write_text(exported[1], newline="")
    again = f"sqlite:///{tmp_path}/again.db"
    for expected in ("imported 300 samples; 0 were", "imported 0 samples; 300 were"):
        code, _, said = run(again, "import", form, "all", folder=tmp_path)
        assert code == 0, said
        assert said.startswith(expected)
        assert without_ids(boards_of(again)) == without_ids(boards_of(database_url))
        assert boards_of(again)[0].room_alias == "#ping:one.example"
        assert any(row.lost for row in boards_of(again)[0].standings)
    assert run(again, "export", "--format", form, folder=tmp_path)[1] == exported[1]


def test_what_pingstat_can_hold_goes_there_and_back(tmp_path: Path) -> None:
    url, again = f"sqlite:///{tmp_path}/a.db", f"sqlite:///{tmp_path}/b.db"
    fill(url)
    code, _, said = run(url, "export", "--format=pingstat", "--output=raw", folder=tmp_path)
    assert (code, said) == (0, "")
    assert len(json.loads((tmp_path / "raw").read_text())) == 300
    assert run(again, "import", "pingstat", "raw", folder=tmp_path)[0] == 0
    response, *others = without_ids(boards_of(url))
    assert without_ids(boards_of(again))[1:] == others
    assert response[1] > 0


def test_rejected_rows_are_listed_with_reasons(tmp_path: Path) -> None:
    good = random_rows(1, 1)[0]
    bad: list[tuple[Any, str]] = [
        (7, "is no object"),
        ({"room_id": ROOM}, "lacks 'ping_id'"),
        (good | {"room_id": "ROOM"}, "'ROOM' is no room ID"),
        (good | {"ping_id": "$a b"}, "'$a b' is no event ID"),
        (good | {"pong_server": "a|b"}, "'a|b' is no homeserver name"),
        (good | {"ping_server": None}, "None is no homeserver name"),
        (good | {"receive_diff": 1.5}, "receive_diff is 1.5, which is no integer"),
        (good | {"receive_diff": True}, "receive_diff is True, which is no integer"),
        (good | {"receive_diff": 2**31}, "receive_diff is 2147483648, beyond"),
        (good | {"pong_timestamp": -1}, "pong_timestamp is -1, beyond"),
        (good | {"ping_server": "liar.example"}, "its ping was not sent from liar.example"),
    ]
    (tmp_path / "raw").write_text(json.dumps([good, *(row for row, _ in bad)]))
    url = f"sqlite:///{tmp_path}/a.db"
    options = ("--rejected", "why.txt")
    code, _, said = run(url, "import", "pingstat", "raw", *options, folder=tmp_path)
    assert code == 0, said
    assert f"imported 1 samples; 0 were there already\nrejected {len(bad)} rows\n" in said
    listed = (tmp_path / "why.txt").read_text().splitlines()
    for number, (_, reason) in enumerate(bad, 2):
        (line,) = [line for line in listed if line.startswith(f"row {number}: ")]
        assert line.startswith(f"row {number}: {reason}")
        assert f"  {line}" in said


@pytest.mark.parametrize(
    ("form", "content", "fault"),
    [
        ("pingstat", b'{"disclaimer": 1}', "it is not a list of rows"),
        ("pingstat", b"[{", "it is not JSON"),
        ("pingstat", None, "it can't be read"),
        ("csv", b"\xff\xff", "it is not CSV"),
    ],
)
def test_a_file_that_is_something_else_is_one_line(
    tmp_path: Path, form: str, content: bytes | None, fault: str
) -> None:
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    url = f"sqlite:///{tmp_path}/a.db"
    code, _, said = run(url, "import", form, "file", folder=tmp_path)
    assert code == 2
    assert said.startswith(f"pingboard: file: {fault}")
    assert said.count("\n") == 1


def test_an_import_that_was_cut_off_is_run_again(tmp_path: Path) -> None:
    rows = random_rows(2)
    whole = json.dumps(rows)
    (tmp_path / "half").write_text(whole[: len(whole) // 2])
    (tmp_path / "whole").write_text(whole)
    url = f"sqlite:///{tmp_path}/a.db"
    assert run(url, "import", "pingstat", "half", folder=tmp_path)[0] == 2
    assert run(url, "import", "pingstat", "whole", folder=tmp_path)[0] == 0
    exported = json.loads(run(url, "export", "--format", "pingstat", folder=tmp_path)[1])
    assert sorted(exported, key=pingstat.primary_key) == sorted(rows, key=pingstat.primary_key)


def test_nothing_is_imported_beside_a_worker(database_url: str, tmp_path: Path) -> None:
    engine = open_engine(database_url)
    lease = take_lease(engine)
    code, _, said = run(database_url, "import", "ndjson", "-", folder=tmp_path)
    lease.release()
    engine.dispose()
    assert code == 3, said
    assert said.startswith("pingboard: another pingboard worker")


@pytest.mark.parametrize("form", ["csv", "ndjson", "pingstat"])
@pytest.mark.parametrize(
    "headers", [{"Content-Length": "100000"}, {"Transfer-Encoding": "chunked"}]
)
def test_a_download_that_breaks_off_is_not_taken_for_whole(
    tmp_path: Path, form: str, headers: dict[str, str]
) -> None:
    (tmp_path / "raw").write_text(json.dumps(random_rows(6, 20)))
    url = f"sqlite:///{tmp_path}/a.db"
    assert run(url, "import", "pingstat", "raw", folder=tmp_path)[0] == 0
    body = run(url, "export", "--format", form, folder=tmp_path)[1].encode()
    if "Transfer-Encoding" in headers:
        body = b"186a0\r\n" + body  # 100,000 in hexadecimal
    with answering(200, headers, body) as address:
        code, _, said = run(url, "import", form, address, folder=tmp_path)
    assert code == 2
    assert said.startswith(f"pingboard: {address}: ")
    assert said.count("\n") == 1


def test_an_address_and_stdin_are_read_too(tmp_path: Path) -> None:
    rows = random_rows(3, 20)
    body = json.dumps(rows).encode()
    url = f"sqlite:///{tmp_path}/a.db"
    with answering(200, {}, body) as address:
        code, _, said = run(url, "import", "pingstat", address, folder=tmp_path)
    assert code == 0, said
    assert said.startswith(f"imported {len(rows)} samples")
    said = run(url, "import", "pingstat", "-", folder=tmp_path, stdin=body)[2]
    assert said == f"imported 0 samples; {len(rows)} were there already\n"


def test_imported_rows_say_that_they_are(tmp_path: Path) -> None:
    (tmp_path / "raw").write_text(json.dumps(random_rows(4, 20)))
    url = f"sqlite:///{tmp_path}/a.db"
    run(url, "import", "pingstat", "raw", folder=tmp_path)
    exported = run(url, "export", folder=tmp_path)[1].splitlines()
    assert {json.loads(line)["provenance"] for line in exported} == {"import"}


def test_the_api_shows_imported_rows_with_no_room_configured(database_url: str) -> None:
    engine = open_engine(database_url)
    migrate(engine)
    rows = random_rows(5)
    records = [record for record in map(read_pingstat, rows) if isinstance(record, Record)]
    assert list(Importer(engine).add(records)) == []
    with serve(engine) as client:
        answer = client.get("/api/v1/rankings", params={"board": "delivery"}).json()
        rooms = client.get("/api/v1/rooms").json()["rooms"]
    engine.dispose()
    assert answer["room"]["id"] == ROOM
    assert answer["standings"]
    assert rooms[0]["sample_count"] == len(rows)
