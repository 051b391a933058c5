"""What one client may ask for; problem types; life behind a reverse proxy."""

from __future__ import annotations

import itertools
import re
import socket
from pathlib import Path

import httpx
import pytest

from pingboard.store.engine import Engine
from pingboard.web import limits
from pingboard.web.limits import BURST, LONGEST_ADDRESS, Limits
from pingboard.web.pages.problem_types import TYPES
from tests.web.site import make_answers, record, serve

COSTLY = "/api/v1/matrix"


_numbers = itertools.count(1)


def ask(client: httpx.Client, address: str, path: str = COSTLY) -> httpx.Response:
    """As the proxy on this machine does for a client elsewhere; never the same question twice.

    What is in the cache costs nothing, and has no limit.
    """
    parameters = {"min_samples": next(_numbers)}
    return client.get(path, params=parameters, headers={"X-Forwarded-For": address})


def test_who_asks_too_fast_is_told_when_to_come_back(store: Engine) -> None:
    with serve(store, per_minute=60) as client:
        answers = [ask(client, "192.0.2.1") for _ in range(BURST + 5)]
        refused = next(one for one in answers if one.status_code == 429)
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["type"] == "/problems/too-many-requests"
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["access-control-allow-origin"] == "*"
        assert ask(client, "192.0.2.2").status_code == 200
        assert ask(client, "192.0.2.1", "/api/v1/rankings").status_code == 200
        assert client.get(COSTLY).status_code == 200
    assert sum(one.status_code == 200 for one in answers) >= BURST


def test_a_limit_of_zero_is_none(store: Engine) -> None:
    with serve(store, per_minute=0) as client:
        assert {ask(client, "192.0.2.1").status_code for _ in range(BURST + 5)} == {200}


def test_all_addresses_of_an_ipv6_network_are_one_client(store: Engine) -> None:
    with serve(store, per_minute=60) as client:
        codes = [ask(client, f"2001:db8::{number:x}").status_code for number in range(BURST + 5)]
        assert codes[-1] == 429
        assert ask(client, "2001:db8:0:1::1").status_code == 200


async def test_a_bucket_is_filled_again_and_the_oldest_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MOST_CLIENTS", 3)
    now = [0.0]
    bucket = Limits(lambda *_: None, per_minute=60, clock=lambda: now[0])  # type: ignore[arg-type]
    assert [bucket._take("a") for _ in range(BURST)] == [0] * BURST
    assert bucket._take("a") == 1
    now[0] += 2
    assert [bucket._take("a") for _ in range(3)] == [0, 0, 1]
    for client in "bcde":
        bucket._take(client)
    assert list(bucket._buckets) == ["c", "d", "e"]


@pytest.mark.parametrize(
    "path", ["/api/v1/rankings?room=" + "x" * LONGEST_ADDRESS, "/" + "y" * LONGEST_ADDRESS]
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
    assert site.get("/problems/nothing").status_code == 404


def test_the_documentation_lists_every_problem_type() -> None:
    text = Path("docs/api.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `/problems/([a-z-]+)` \| (\d+) \|", text, re.MULTILINE) == [
        (kind, str(one.status)) for kind, one in TYPES.items()
    ]


@pytest.mark.parametrize("prefix_kept", [False, True])
def test_everything_works_below_a_prefix(store: Engine, prefix_kept: bool) -> None:
    record(store, make_answers("one.example", [400]))
    with serve(store, root_path="/ping") as client:
        path = "/ping" if prefix_kept else ""
        page = client.get(f"{path}/").text
        assert client.get(f"{path}/api/v1/rankings").json()["samples"] == 1
        assert client.get(f"{path}/nowhere").status_code == 404
        assert client.get(f"{path}/openapi.json").json()["servers"] == [{"url": "/ping"}]
        links = re.findall(r'(?:src|href)="([^"#][^"]*)"', page + client.get(f"{path}/docs").text)
        for link in links:
            assert link.startswith("/ping/")
            assert client.get(link.replace("&amp;", "&")).status_code == 200
    assert len(links) > 12


def test_a_thousand_idle_connections_hold_up_nobody(site: httpx.Client) -> None:
    address = (site.base_url.host, site.base_url.port or 80)
    idle = [socket.create_connection(address) for _ in range(1000)]
    try:
        assert site.get("/healthz").status_code == 200
    finally:
        for one in idle:
            one.close()


def test_many_different_addresses_leave_no_trace_in_memory(site: httpx.Client) -> None:
    before = _resident_kb()
    for number in range(1500):
        assert site.get(f"/api/v1/rankings?room=%23x{number}:y").status_code == 404
    assert _resident_kb() - before < 30_000


def _resident_kb() -> int:
    found = re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1])
