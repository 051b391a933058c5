"""The site behind nginx and Caddy, as Debian has them: with the prefix kept and stripped."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from pingboard.store.engine import Engine
from tests.web.site import EXAMPLE_SAMPLES, open_store, record, serve

PUBLIC = "https://ping.example"
PREFIX = "/ping"

NGINX = """\
daemon off; pid {folder}/pid; error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port};
    location {prefix}/ {{
      proxy_pass http://127.0.0.1:{upstream}{stripped};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto https;
    }}
  }}
}}
"""

CADDY = """\
{{
  admin off
  grace_period 1s
}}
http://:{port} {{
  {handle} {prefix}/* {{
    reverse_proxy 127.0.0.1:{upstream} {{
      flush_interval -1
      header_up X-Forwarded-Proto https
    }}
  }}
}}
"""


def find_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def start(name: str, upstream: int, port: int, folder: Path, *, is_stripped: bool) -> list[str]:
    """The command of a proxy that was configured so."""
    config = folder / "config"
    values = {"folder": folder, "port": port, "upstream": upstream, "prefix": PREFIX}
    if name == "nginx":
        config.write_text(NGINX.format(**values, stripped="/" if is_stripped else ""))
        return ["nginx", "-c", str(config), "-e", "stderr"]
    handle = "handle_path" if is_stripped else "handle"
    config.write_text(CADDY.format(**values, handle=handle))
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(config)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = open_store(tmp_path_factory.mktemp("site"))
    record(engine, EXAMPLE_SAMPLES)
    yield engine
    engine.dispose()


@pytest.fixture(params=["nginx", "caddy"])
def proxy(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    assert shutil.which(name), f"{name} is missing; Debian's package {name} has it"
    return name


@pytest.mark.parametrize("is_stripped", [False, True])
def test_a_site_behind_a_proxy_is_whole(
    proxy: str, is_stripped: bool, store: Engine, tmp_path: Path
) -> None:
    port = find_port()
    base = f"http://127.0.0.1:{port}"
    with serve(store, root_path=PREFIX, public_url=PUBLIC) as direct:
        upstream = direct.base_url.port or 80
        command = start(proxy, upstream, port, tmp_path, is_stripped=is_stripped)
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            wait_for(base)
            with httpx.Client(base_url=base, timeout=120) as client:
                pages = crawl(client)
                assert {"/ping/", "/ping/matrix", "/ping/join", "/ping/editions"} <= pages
                check_validators(client)
                check_addresses(client)
                check_live(client)
        finally:
            process.terminate()
            process.wait(10)


def wait_for(base: str) -> None:
    for _ in range(100):
        try:
            httpx.get(f"{base}{PREFIX}/healthz").raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the proxy does not answer")


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
    feed = client.get(f"{PREFIX}/feed.atom", headers={"Host": "evil.example"}).text
    assert f"{PUBLIC}{PREFIX}/feed.atom" in feed
    assert "evil.example" not in feed
    assert "http://127" not in feed


def check_live(client: httpx.Client) -> None:
    with client.stream("GET", f"{PREFIX}/api/v1/live") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        first = next(stream.iter_text())
    assert first.startswith("id: ")
