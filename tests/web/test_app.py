"""What all paths have in common."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from pingboard.store.engine import open_engine
from tests.web.site import serve

PATHS = [
    "/",
    "/api/v1/rankings",
    "/rankings.md",
    "/api/v1/rooms",
    "/api/v1/homeservers",
    "/api/v1/homeservers/two.example",
    "/api/v1/homeservers/two.example/history",
    "/api/v1/matrix",
    "/api/v1/samples",
    "/api/v1/samples?format=csv",
    "/badge/two.example.svg",
    "/badge/two.example.json",
    "/healthz",
    "/docs",
    "/openapi.json",
    "/static/style.css",
    "/static/swagger/swagger-ui.css",
]


@pytest.mark.parametrize("path", PATHS)
def test_head_answers_as_get_does_without_the_body(site: httpx.Client, path: str) -> None:
    got, head = site.get(path), site.head(path)
    assert got.status_code == head.status_code == 200
    assert got.content
    assert head.content == b""
    ignored = {"date", "transfer-encoding"}  # the latter is of the connection, not of the answer
    assert {**head.headers, **dict.fromkeys(ignored)} == {**got.headers, **dict.fromkeys(ignored)}


@pytest.mark.parametrize("path", [*PATHS, "/nowhere", "/api/v1/rankings?limit=0"])
@pytest.mark.parametrize("headers", [{}, {"Origin": "https://elsewhere.example"}])
def test_every_answer_has_the_cors_header_for_any_origin(
    site: httpx.Client, path: str, headers: dict[str, str]
) -> None:
    assert site.get(path, headers=headers).headers["access-control-allow-origin"] == "*"


def test_a_conditional_request_from_another_origin_passes_its_preflight(site: httpx.Client) -> None:
    headers = {
        "Origin": "https://elsewhere.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "if-none-match",
    }
    answer = site.options("/api/v1/rankings", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-headers"] == "if-none-match"
    assert "cache-control" not in answer.headers
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-methods"] == "GET, HEAD"


@pytest.mark.parametrize("path", [*PATHS, "/nowhere"])
def test_every_answer_forbids_what_it_does_not_need(site: httpx.Client, path: str) -> None:
    headers = site.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'none'; ")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "set-cookie" not in headers


@pytest.mark.parametrize("path", ["/nowhere", "/api/v2", "/static/nothing"])
def test_an_unknown_path_is_a_problem(site: httpx.Client, path: str) -> None:
    answer = site.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems/not-found"
    assert path in answer.json()["detail"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_writing_is_refused_with_the_methods_that_work(site: httpx.Client, method: str) -> None:
    answer = site.request(method, "/api/v1/rankings")
    assert answer.status_code == 405
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


def test_a_database_without_tables_is_a_503_that_tells_nothing_of_its_cause(tmp_path: Path) -> None:
    without_tables = open_engine(f"sqlite:///{tmp_path}/empty.db")
    with serve(without_tables) as client:
        answer = client.get("/api/v1/rankings")
        page = client.get("/")
        assert client.get("/healthz").status_code == 200
    without_tables.dispose()
    assert answer.status_code == page.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.json()["type"] == "/problems/database-away"
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for text in (answer.text, page.text):
        assert not re.search(r"(?i)sql|no such table|traceback|sample", text)


def test_the_description_is_openapi_3_1_and_names_every_operation(site: httpx.Client) -> None:
    description = site.get("/openapi.json").json()
    assert description["openapi"].startswith("3.1.")
    operations = [path["get"] for path in description["paths"].values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    assert {"get_rankings", "get_rankings_markdown", "list_rooms", "get_health"} <= set(names)
    for operation in operations:
        assert re.fullmatch("[a-z]+(_[a-z]+)+", operation["operationId"])
        assert operation["summary"]
        if "pingstat" in operation["tags"]:
            continue  # there a wrong parameter is its default, as in pingstat
        assert "application/problem+json" in operation["responses"]["422"]["content"]


def test_the_index_lists_every_operation_of_the_description(site: httpx.Client) -> None:
    index = site.get("/api/v1").json()
    paths = site.get(index["description_path"]).json()["paths"]
    assert [operation["path"] for operation in index["operations"]] == list(paths)
    assert site.get(index["documentation_path"]).status_code == 200


def test_the_description_says_what_stands_around_the_paths(site: httpx.Client) -> None:
    description = site.get("/openapi.json").json()
    assert description["servers"]
    tags = {tag["name"] for tag in description["tags"]}
    for path, operations in description["paths"].items():
        assert {*operations["get"]["tags"]} <= tags
        responses = operations["get"]["responses"]
        assert "Retry-After" in responses["429"]["headers"]
        if path.startswith("/api/v1/") and path != "/api/v1/live":
            assert "ETag" in responses["200"]["headers"]
            assert "304" in responses
            assert "content" not in operations["head"]["responses"]["200"]


def test_the_description_refers_to_nothing_that_it_lacks(site: httpx.Client) -> None:
    answer = site.get("/openapi.json")
    components = answer.json()["components"]
    for kind, name in re.findall(r'"#/components/(\w+)/([^"]+)"', answer.text):
        assert name in components[kind]


def test_the_documentation_loads_only_files_of_this_site(site: httpx.Client) -> None:
    page = site.get("/docs")
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert any(path.startswith("/static/docs.js?v=") for path in loaded)
    assert not re.search(r"<script(?![^>]*\bsrc=)", page.text)
    for address in loaded:
        assert address.startswith(("/", "#", str(site.base_url)))
        assert site.get(address.replace("&amp;", "&")).status_code == 200


@pytest.mark.parametrize(
    "path", [path for path in PATHS if path.startswith(("/api", "/badge", "/r"))]
)
def test_answers_say_how_long_they_are_fresh_and_since_when(site: httpx.Client, path: str) -> None:
    headers = site.get(path).headers
    assert headers["cache-control"] == "public, max-age=30, stale-while-revalidate=300"
    if "etag" in headers and not path.startswith("/api/v1/samples"):
        since = {"If-Modified-Since": headers["last-modified"]}
        assert site.get(path, headers=since).status_code == 304
        assert site.get(
            path, headers={"If-Modified-Since": "Sun, 11 Oct 2020 00:00:00 GMT"}
        ).content


def test_a_date_that_nobody_can_mean_is_ignored(site: httpx.Client) -> None:
    since = {"If-Modified-Since": "Thu, 01 Jan 99999999999 00:00"}
    assert site.get("/api/v1/rankings", headers=since).status_code == 200


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/metrics", "/api/v1/rankings?limit=0", "/x"]
)
def test_health_metrics_and_problems_are_no_store(site: httpx.Client, path: str) -> None:
    headers = site.get(path).headers
    assert headers["cache-control"] == "no-store"
    assert "last-modified" not in headers


def test_options_lists_the_allowed_methods(site: httpx.Client) -> None:
    answer = site.options("/rankings.md")
    assert answer.status_code == 204
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert answer.content == b""


def test_answers_that_everybody_may_read_are_one_for_all_origins(site: httpx.Client) -> None:
    answer = site.get("/rankings.md", headers={"Origin": "https://elsewhere.example"})
    assert "Origin" not in answer.headers["vary"]


@pytest.mark.parametrize(
    ("query", "name"),
    [("limit=1&limit=2", "limit"), ("window=7d&board=delivery&window=24h", "window")],
)
def test_a_parameter_that_is_given_twice_is_a_422(
    site: httpx.Client, query: str, name: str
) -> None:
    answer = site.get(f"/api/v1/rankings?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["query", name]
    assert "given once, not 2 times" in answer.json()["detail"]


def test_what_may_be_given_several_times_may(site: httpx.Client) -> None:
    rooms = httpx.QueryParams([("room", "#ping:one.example"), ("room", "!ping:one.example")])
    assert site.get("/section.md", params=rooms).status_code == 200
