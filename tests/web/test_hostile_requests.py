"""Requests that a well-meaning client does not send: each is refused, at a small cost, and the next
client gets its own answer."""

from __future__ import annotations

import difflib
import socket
from typing import Any

import httpx
import pytest

from pingboard.store.engine import Engine
from pingboard.web import server
from pingboard.web.api.paging import write_cursor
from tests.web.site import EXAMPLE_SAMPLES, ROOM, record, serve

RANKINGS = "/api/v1/rankings"


def send_raw(site: httpx.Client, *parts: bytes) -> bytes:
    """Everything that comes back on a connection of its own, until it is closed."""
    address = (site.base_url.host, site.base_url.port or 80)
    with socket.create_connection(address, timeout=60) as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer


def ask_raw(site: httpx.Client, path: str, *headers: str) -> bytes:
    """The answer to a request with these headers as they are."""
    head = "\r\n".join([f"GET {path} HTTP/1.1", *headers, "Connection: close"])
    return send_raw(site, head.encode() + b"\r\n\r\n")


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        ["Host: one.example", "Host: evil.example"],
        ["Host: evil.example/x"],
        ['Host: "onload=x'],
        ["Host:"],
    ],
)
def test_a_request_names_one_host(site: httpx.Client, hosts: list[str]) -> None:
    answer = ask_raw(site, "/feed.atom", *hosts)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"/problems/bad-host" in answer


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://one.example/feed.atom", b"200"),
        ("http://evil.example/feed.atom", b"400"),
        ("http://one.example@evil.example/feed.atom", b"400"),
        ("one.example:80", b"400"),
    ],
)
def test_a_target_that_names_a_host_names_the_same(
    site: httpx.Client, target: str, status: bytes
) -> None:
    answer = ask_raw(site, target, "Host: one.example")
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"evil" not in answer


def test_a_repeated_header_does_not_change_the_cached_answer_of_others(store: Engine) -> None:
    record(store, EXAMPLE_SAMPLES)
    with serve(store) as site:
        address, accept = site.base_url.join(RANKINGS), {"Accept": "application/json"}
        plain = httpx.get(address, headers=accept, timeout=60)
        for path, name, values in (
            (RANKINGS, "Accept", ["text/csv", "application/json"]),
            ("/", "Accept-Language", ["de", "en"]),
        ):
            ask_raw(site, path, "Host: x", *[f"{name}: {value}" for value in values])
            answer = site.get(path, headers={name: values[-1], "Host": "x"})
            assert "text/csv" not in answer.headers["content-type"]
            assert answer.headers.get("content-language", "en") == "en"
        assert plain.headers["content-type"] == "application/json"


def test_if_none_match_may_stand_on_two_lines(site: httpx.Client) -> None:
    etag = site.get(RANKINGS, headers={"Accept-Encoding": "identity"}).headers["etag"]
    for tags in (['"x"', etag], [etag, '"x"']):
        lines = [f"If-None-Match: {tag}" for tag in tags]
        assert ask_raw(site, RANKINGS, "Host: x", *lines).startswith(b"HTTP/1.1 304 ")


def test_a_public_address_is_in_the_links_and_the_host_in_none(store: Engine) -> None:
    record(store, EXAMPLE_SAMPLES)
    with serve(store, public_url="https://ping.example") as site:
        for path in ("/feed.atom", "/", "/homeservers/one.example"):
            headers = {"Host": "evil.example", "X-Forwarded-Proto": "http"}  # of an inner proxy
            text = site.get(path, headers=headers).text
            assert "evil.example" not in text
            assert "http://ping.example" not in text
        assert "https://ping.example/" in site.get("/feed.atom").text
        assert site.get("/matrix/").headers["location"] == "https://ping.example/matrix"


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 40_000,
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 40_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"A: x\r\n" * 101 + b"\r\n",
    ],
)
def test_a_head_that_is_too_large_is_refused(site: httpx.Client, head: bytes) -> None:
    parts = [head[start : start + 1000] for start in range(0, len(head), 1000)]
    try:
        answer = send_raw(site, *parts)
    except (BrokenPipeError, ConnectionResetError):  # it was closed while we were still sending
        answer = b""
    assert answer[:13] in (b"HTTP/1.1 431 ", b"")
    assert site.get("/healthz").status_code == 200


def test_a_hundred_headers_are_fine(site: httpx.Client) -> None:
    headers = [f"X-{number}: x" for number in range(97)]
    assert ask_raw(site, "/healthz", "Host: x", *headers).startswith(b"HTTP/1.1 200 ")


def test_who_sends_nothing_or_half_a_head_is_closed(
    store: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_HEAD_S", 0.2)
    with serve(store) as site:
        for parts in ([], [b"GET / HT"], [b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET / HT"]):
            try:
                answer = send_raw(site, *parts)
            except ConnectionResetError:
                answer = b""
            assert b" 408 " not in answer


def test_connections_beyond_the_bound_are_refused_and_those_that_are_there_served(
    store: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(store) as site:
        assert site.get("/healthz").status_code == 200
        monkeypatch.setattr(server.BoundedProtocol, "max_connections", 1)
        assert send_raw(site) == b""
        assert site.get("/healthz").status_code == 200


def test_an_upgrade_to_something_else_is_answered_as_if_it_had_not_been_asked(
    site: httpx.Client,
) -> None:
    answer = send_raw(
        site,
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_a_body_that_nobody_reads_ends_the_connection(site: httpx.Client) -> None:
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx"
    assert send_raw(site, request).startswith(b"HTTP/1.1 405 ")


def test_of_thousands_of_wrong_parameters_the_first_ten_are_explained(
    site: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []

    def compare(name: str, known: list[str], n: int) -> list[str]:
        compared.append(name)
        return get_close_matches(name, known, n)

    get_close_matches = difflib.get_close_matches
    monkeypatch.setattr(difflib, "get_close_matches", compare)
    query = "&".join(f"{number:x}" for number in range(3900))
    answer = site.get(f"{RANKINGS}?{query[:15900]}")
    assert (answer.status_code, len(answer.json()["errors"])) == (422, 10)
    assert "more" in answer.json()["detail"]
    assert len(answer.content) < 20_000
    assert len(compared) == 10


def test_a_long_name_of_a_parameter_is_given_back_cut(site: httpx.Client) -> None:
    answer = site.get(f"{RANKINGS}?{'x' * 15000}")
    assert answer.status_code == 422
    assert len(answer.content) < 2000


def test_no_link_leads_away_from_a_path_that_begins_with_two_slashes(site: httpx.Client) -> None:
    page = site.get("//evil.example/x", headers={"Accept": "text/html"})
    assert page.status_code == 404
    assert 'href="//' not in page.text


@pytest.mark.parametrize("root_path", ["", "/ping"])
def test_the_type_of_a_problem_leads_to_its_page(store: Engine, root_path: str) -> None:
    with serve(store, root_path=root_path) as site:
        kind = site.get(f"{root_path}/nowhere").json()["type"]
        assert kind == f"{root_path}/problems/not-found"
        assert site.get(kind).status_code == 200


def test_the_prefix_alone_is_the_board(store: Engine) -> None:
    with serve(store, root_path="/ping") as site:
        assert site.get("/ping").status_code == 200


@pytest.mark.parametrize(
    "path", ["/matrix/", "/editions/", "/join/", "/docs/", "/homeservers/one.example/"]
)
def test_a_slash_at_the_end_does_no_harm(site: httpx.Client, path: str) -> None:
    assert site.get(path, follow_redirects=True).url.path == path.rstrip("/")


def test_browsers_and_robots_find_what_they_always_ask_for(site: httpx.Client) -> None:
    assert site.get("/robots.txt").text.startswith("User-agent: *\n")
    assert site.get("/favicon.ico").headers["content-type"] == "image/svg+xml"


@pytest.mark.parametrize("path", [RANKINGS, "/api/v1/samples"])
def test_an_answer_that_is_not_compressed_may_be_refused(site: httpx.Client, path: str) -> None:
    answer = site.get(path, headers={"Accept-Encoding": "identity;q=0"})
    assert answer.status_code == 406
    answer = site.get(path, headers={"Accept-Encoding": "identity;q=0, gzip"})
    assert answer.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize(
    ("address", "detail"),
    [
        (
            "/badge/x.svg?name=a",
            "name: unknown parameter; known: room, window, from, to, board, label",
        ),
        (
            "/api/v1/homeservers/x?name=a",
            "name: unknown parameter; known: room, window, from, to, limit",
        ),
        (
            f"{RANKINGS}?from=2020-01-01T00:00:00Z",
            "from: should be at most 366 days before the window's end, 2026-10-12T00:00:00.000Z",
        ),
        (
            f"{RANKINGS}?from=2026-10-05T00:00:00%2B99:99",
            "from: should be RFC 3339 with a timezone, for example 2026-10-05T00:00:00Z "
            "(in a URL, a '+' is written %2B)",
        ),
        (
            "/api/v1/homeservers/one.example/history?step=1h&window=365d",
            "step: should be longer: the window has more than 2000 buckets of 1h; left out, it is ",
        ),
    ],
)
def test_a_refusal_says_what_would_be_right(site: httpx.Client, address: str, detail: str) -> None:
    answer = site.get(address)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(detail)


@pytest.mark.parametrize(
    ("path", "binding", "key"),
    [
        *(
            ("/api/v1/samples", f"samples {ROOM} None None", key)
            for key in (
                ["a"],
                ["a", "b", "c"],
                ["1", "1", "1"],
                [None, None, None],
                [True, 1, 1],
                [1.5, 1, 1],
                [10**30, 1, 1],
                [1, 1, 2**63],
                [-1, 1, 1],
                [1, 1],
                "abc",
                {"a": 1, "b": 1, "c": 1},
                1,
                None,
            )
        ),
        *(
            ("/api/v1/matrix", f"matrix {ROOM} None None 1", key)
            for key in (["a"], ["a", "b", "c"], [1, 2], "ab")
        ),
        *(
            ("/api/v1/homeservers", f"homeservers {ROOM}", key)
            for key in ([], ["a", "b"], [None], [["a"]], "a")
        ),
    ],
)
def test_a_cursor_that_somebody_made_up_is_a_422(
    site: httpx.Client, path: str, binding: str, key: Any
) -> None:
    answer = site.get(path, params={"cursor": write_cursor(key, binding)})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("cursor: should be left out, or be the cursor that")


@pytest.mark.parametrize("key", [[0, 0, 0], [2**63 - 1] * 3])
def test_any_place_in_the_samples_may_be_asked_for(site: httpx.Client, key: list[int]) -> None:
    cursor = write_cursor(key, f"samples {ROOM} None None")
    assert site.get("/api/v1/samples", params={"cursor": cursor}).status_code == 200


def test_a_page_says_the_same_in_german(site: httpx.Client) -> None:
    early = site.get("/?from=2020-01-01T00:00:00Z&lang=de")
    assert (early.status_code, "höchstens 366 Tage" in early.text) == (422, True)
    many = site.get("/?min_samples=99999999999&lang=de")
    assert (many.status_code, "1 bis 1.000.000.000" in many.text) == (422, True)


def test_a_page_ignores_a_parameter_with_the_name_of_a_part_of_its_path(
    site: httpx.Client,
) -> None:
    assert site.get("/homeservers/one.example?name=x").status_code == 200
