"""What the site answers while PostgreSQL is away."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import update

from pingboard.store.engine import Engine, open_engine
from pingboard.store.hours import close_hours
from pingboard.store.schema import hour
from pingboard.web import shared_boards
from tests.databases import PostgreSQL
from tests.web.site import EXAMPLE_SAMPLES, record, serve

WAIT_S = 1.0


@pytest.mark.parametrize("path", ["/", "/api/v1/rankings", "/rankings.md"])
def test_a_damaged_hour_is_an_error_with_one_line_of_log_that_names_it(
    store: Engine, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record(store, EXAMPLE_SAMPLES)
    close_hours(store, time.time_ns() // 1_000_000)
    with store.begin() as connection:
        connection.execute(update(hour).values(hot=b"damaged" * 100))
    with serve(store) as client:
        answer = client.get(path)
    assert answer.status_code == 500
    assert "damaged" not in answer.text
    [line] = [line for line in capsys.readouterr().out.splitlines() if "damaged" in line]
    assert "Z of !" in line
    assert "restore the last backup" in line


@pytest.mark.parametrize("path", ["/", "/api/v1/rankings", "/rankings.md", "/api/v1/samples"])
def test_requests_get_503_with_retry_after_and_then_answers_again(
    postgresql: PostgreSQL, path: str
) -> None:
    url = postgresql.create_migrated()
    writer = open_engine(url)
    record(writer, EXAMPLE_SAMPLES)
    writer.dispose()
    reader = open_engine(url, read_only=True)
    with serve(reader) as client:
        assert client.get(path).status_code == 200
        with postgresql.refusing_connections(url):
            # Not what was just asked for: that may come from memory for a moment.
            answer = client.get(path, params={"window": "30d"})
            assert answer.status_code == 503
            assert answer.headers["Retry-After"] == "5"
            assert "connection" not in answer.text
        assert client.get(path).status_code == 200
    reader.dispose()


def test_a_server_that_hangs_is_a_503_soon_for_pages_and_lists_too(
    postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_boards, "MAX_WAIT_S", WAIT_S)
    url = postgresql.create_migrated()
    writer = open_engine(url)
    record(writer, EXAMPLE_SAMPLES)
    writer.dispose()
    reader = open_engine(url, read_only=True, max_wait_s=WAIT_S)
    with serve(reader) as client, ThreadPoolExecutor(100) as threads:
        until_answered(client, "/")
        with postgresql.hanging(url):
            began = time.monotonic()
            # More than there are threads to wait for a database, each of them another address.
            answers = [*threads.map(client.get, [f"/?min_samples={n}" for n in range(1, 101)])]
            assert time.monotonic() - began < 60 * WAIT_S
            assert {(answer.status_code, answer.headers["Retry-After"]) for answer in answers} == {
                (503, "5")
            }
            assert "The database does not answer" in answers[0].text
            for path in ("/api/v1/samples?format=csv", "/section.md", "/api/v1/live", "/editions"):
                assert client.get(path).status_code == 503
        until_answered(client, "/?min_samples=1")
    reader.dispose()


def until_answered(client: httpx.Client, path: str) -> None:
    """Ask again while a machine that is busy, or a database that comes back, is slower than may
    be waited for."""
    began = time.monotonic()
    while client.get(path).status_code != 200:
        assert time.monotonic() - began < 120


def test_what_needs_no_data_does_not_wait_for_a_database_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_boards, "MAX_WAIT_S", 0.1)
    # It takes connections and says nothing, like a server that is stopped.
    hung = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{hung.getsockname()[1]}"
    engine = open_engine(f"postgresql://{address}/x?connect_timeout=600", read_only=True)
    with serve(engine) as client, hung, ThreadPoolExecutor(60) as threads:
        probes = list(threads.map(client.get, ["/readyz"] * 60))
        assert {(answer.status_code, answer.json()["reason"]) for answer in probes} == {
            (503, "database")
        }
        assert client.get("/method").status_code == 200
        assert "pingboard_database_up 0.0" in client.get("/metrics").text
    engine.dispose()
