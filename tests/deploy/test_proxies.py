"""deploy/nginx.conf and deploy/Caddyfile: the whole site below its prefix, and events as they come;
deploy/compose.Caddyfile behind one of them.
"""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from html import unescape
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
import yaml

from pingboard.lab.network import reserved_port
from pingboard.web.limits import BURST
from tests.web.site import EXAMPLE_SAMPLES, ROOM, make_answers, open_store, record, serve

DEPLOY = Path(__file__).parents[2] / "deploy"
PUBLIC = "https://ping.example.org"
PREFIX = "/ping"


@contextmanager
def nginx(
    folder: Path, port: int, upstream: int, *, strips: bool, operators: str = "127.0.0.1"
) -> Iterator[None]:
    site = (DEPLOY / "nginx.conf").read_text().replace("allow 127.0.0.1;", f"allow {operators};")
    site = site.replace("listen 80;", f"listen 127.0.0.1:{port};")
    site = site.replace("127.0.0.1:8080", f"127.0.0.1:{upstream}")
    kept = site
    if strips:
        site = re.sub(r"(location /ping/ \{\s*proxy_pass http://pingboard);", r"\1/;", site)
        site = re.sub(r"(location = /ping(\S+) \{\s*proxy_pass http://pingboard);", r"\1\2;", site)
    assert strips == (site != kept)
    (folder / "site.conf").write_text(site)
    paths = " ".join(
        f"{kind}_temp_path {folder};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = folder / "nginx.conf"
    main.write_text(
        f"daemon off; pid {folder}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; {paths} include {folder}/site.conf; }}\n"
    )
    with _running(["nginx", "-c", str(main), "-p", str(folder), "-e", "stderr"], port):
        yield


@contextmanager
def caddy(
    folder: Path, port: int, upstream: int, *, strips: bool, operators: str = "127.0.0.1"
) -> Iterator[None]:
    site = (DEPLOY / "Caddyfile").read_text()
    site = site.replace("remote_ip 127.0.0.1 ::1", f"remote_ip {operators}")
    site = site.replace("ping.example.org {", f"http://ping.example.org:{port} {{")
    site = site.replace("127.0.0.1:8080", f"127.0.0.1:{upstream}")
    kept = site
    if strips:
        site = site.replace("handle /ping/* {", "handle_path /ping/* {")
    assert strips == (site != kept)
    with _running_caddy(folder, site, port):
        yield


@contextmanager
def composed_caddy(folder: Path, port: int, upstream: int) -> Iterator[None]:
    """That of docker-compose.yml, with this machine's addresses instead of its networks'."""
    composition = yaml.safe_load((DEPLOY.parent / "docker-compose.yml").read_text())
    [mount] = composition["services"]["proxy"]["volumes"]
    source, target, _ = mount.split(":")
    assert target == "/etc/caddy/Caddyfile"  # which the image runs
    site = (DEPLOY.parent / source).read_text()
    site = site.replace(":8080 {", f"http://127.0.0.1:{port} {{", 1)
    site = site.replace("api:8080", f"127.0.0.1:{upstream}")
    with _running_caddy(folder, site, port):
        yield


@contextmanager
def _running_caddy(folder: Path, site: str, port: int) -> Iterator[None]:
    file = folder / "Caddyfile"
    file.write_text("{\n\tadmin off\n\tgrace_period 1s\n}\n" + site)
    command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(file)]
    with _running(command, port):
        yield


@contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        _wait_for(port, process)
        yield
    finally:
        process.terminate()
        process.communicate()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < give_up_at:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    process.terminate()
    raise AssertionError(process.communicate()[1].decode())


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("strips", [False, True], ids=["prefix-kept", "prefix-stripped"])
@pytest.mark.parametrize("proxy", [nginx, caddy], ids=["nginx", "caddy"])
def test_the_site_is_whole_below_its_prefix_and_events_come_at_once(
    proxy: Callable[..., AbstractContextManager[None]],
    strips: bool,
    free_port: int,
    tmp_path: Path,
) -> None:
    store = open_store(tmp_path)
    record(store, EXAMPLE_SAMPLES)
    with (
        reserved_port() as upstream,
        serve(store, port=upstream, root_path=PREFIX, public_url=PUBLIC),
        proxy(tmp_path, free_port, upstream, strips=strips),
        httpx.Client(
            base_url=f"http://127.0.0.1:{free_port}",
            headers={"Host": "ping.example.org"},
            timeout=120,
        ) as client,
    ):
        if not strips:
            assert client.get("/ping").headers["Location"].endswith("/ping/")
        pages = crawl(client)
        assert {"/ping/", "/ping/matrix", "/ping/join", "/ping/editions"} <= pages
        check_validators(client)
        check_addresses(client)
        with client.stream("GET", "/ping/api/v1/live", params={"room": ROOM}) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            lines = stream.iter_lines()
            next(lines)  # the opening comes before anything happens: it is not held back
            record(store, make_answers("new.example", [500], first=50))
            assert any("new.example" in line for line in lines)
    store.dispose()


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("strips", [False, True], ids=["prefix-kept", "prefix-stripped"])
@pytest.mark.parametrize("proxy", [nginx, caddy], ids=["nginx", "caddy"])
@pytest.mark.parametrize(("operators", "status"), [("127.0.0.1", 200), ("192.0.2.1", 403)])
def test_what_is_for_operators_is_kept_from_others(
    proxy: Callable[..., AbstractContextManager[None]],
    strips: bool,
    operators: str,
    status: int,
    free_port: int,
    tmp_path: Path,
) -> None:
    store = open_store(tmp_path)
    with (
        reserved_port() as upstream,
        serve(store, port=upstream, root_path=PREFIX, public_url=PUBLIC),
        proxy(tmp_path, free_port, upstream, strips=strips, operators=operators),
        httpx.Client(
            base_url=f"http://127.0.0.1:{free_port}",
            headers={"Host": "ping.example.org"},
            timeout=120,
        ) as client,
    ):
        assert client.get("/ping/metrics").status_code == status
        assert (client.get("/ping/readyz").status_code == 403) == (status == 403)
        assert client.get("/ping/healthz").status_code == 200
    store.dispose()


def crawl(client: httpx.Client) -> set[str]:
    """The paths of all that the pages link to on this site, each of which has to be there."""
    seen: set[str] = set()
    waiting = [f"{PREFIX}/"]
    while waiting and len(seen) < 150:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        answer = client.get(path)
        assert answer.status_code == 200, path
        if "text/html" not in answer.headers["content-type"]:
            continue
        for link in re.findall(r'(?:href|src)="([^"#]+)', answer.text):
            target = urlsplit(urljoin(path, unescape(link).removeprefix(PUBLIC)))
            if target.scheme or target.netloc:
                continue
            assert target.path.startswith(f"{PREFIX}/"), (path, link)
            # One of each page is enough: choices of window and language are the same page.
            if not target.query or "v=" in target.query:
                waiting.append(target.geturl())
    return {urlsplit(path).path for path in seen}


def check_validators(client: httpx.Client) -> None:
    answer = client.get(f"{PREFIX}/api/v1/rankings")
    known = {"If-None-Match": answer.headers["etag"]}
    assert client.get(f"{PREFIX}/api/v1/rankings", headers=known).status_code == 304


def check_addresses(client: httpx.Client) -> None:
    feed = client.get(f"{PREFIX}/feed.atom").text
    assert f"{PUBLIC}{PREFIX}/feed.atom" in feed
    assert "http://127" not in feed


@pytest.mark.usefixtures("programs")
def test_nobody_is_limited_for_what_another_asked_of_the_composed_site(
    free_port: int, tmp_path: Path
) -> None:
    store = open_store(tmp_path)
    record(store, make_answers("one.example", [400]))
    with (
        reserved_port() as upstream,
        serve(store, port=upstream, per_minute=1),
        composed_caddy(tmp_path, free_port, upstream),
        httpx.Client(base_url=f"http://127.0.0.1:{free_port}", timeout=120) as client,
    ):

        def ask(address: str) -> int:
            headers = {"X-Forwarded-For": address}
            return client.get("/api/v1/live?room=none", headers=headers).status_code

        assert 429 in [ask("203.0.113.1") for _ in range(BURST + 1)]
        assert ask("203.0.113.2") == 404
    store.dispose()
