"""What the site answers while PostgreSQL is away."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from pingboard.store.engine import open_engine
from pingboard.web import freshness
from tests.databases import PostgreSQL
from tests.web.site import EXAMPLE_SAMPLES, record, serve


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


def test_what_needs_no_data_does_not_wait_for_a_database_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(freshness, "MAX_WAIT_S", 0.1)
    # It takes connections and says nothing, like a server that is stopped.
    hung = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{hung.getsockname()[1]}"
    engine = open_engine(f"postgresql://{address}/x?connect_timeout=600", read_only=True)
    with serve(engine) as client, hung, ThreadPoolExecutor(60) as threads:
        probes = list(threads.map(client.get, ["/readyz"] * 60))
        assert {(one.status_code, one.json()["reason"]) for one in probes} == {(503, "database")}
        assert client.get("/method").status_code == 200
        assert "pingboard_database_up 0.0" in client.get("/metrics").text
    engine.dispose()
