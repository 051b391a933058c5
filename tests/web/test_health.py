"""Whether the process serves."""

from __future__ import annotations

from pathlib import Path

import httpx

from pingboard.store.engine import open_engine
from tests.web.site import serve


def test_healthz_answers_without_a_database(tmp_path: Path) -> None:
    absent = open_engine(f"sqlite:///{tmp_path}/absent.db", read_only=True)
    with serve(absent) as client:
        answer = client.get("/healthz")
    assert answer.status_code == 200
    assert answer.json() == {"state": "ok"}
    assert answer.headers["cache-control"] == "no-store"


def test_healthz_takes_no_parameter(site: httpx.Client) -> None:
    assert site.get("/healthz", params={"x": "1"}).status_code == 422
