"""What the site answers while PostgreSQL is away."""

from __future__ import annotations

import pytest

from pingboard.store.engine import open_engine
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
