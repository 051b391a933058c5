"""uvicorn in a thread and alone."""

from __future__ import annotations

import socket
import threading

import httpx
import pytest
from starlette.responses import PlainTextResponse

from pingboard.model import ConfigurationError
from pingboard.web.server import CLIENTS, BoundedProtocol, Server, listen

APP = PlainTextResponse("hello")


def test_a_server_answers_at_its_url_until_it_is_stopped() -> None:
    before = set(threading.enumerate())
    server = Server(APP, listen("127.0.0.1", 0))
    server.start()
    assert httpx.get(server.url, timeout=60).text == "hello"
    server.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url, timeout=60)
    assert set(threading.enumerate()) == before


def test_stop_closes_kept_alive_connections_and_can_be_called_twice(free_port: int) -> None:
    server = Server(APP, listen("127.0.0.1", free_port))
    server.start()
    with httpx.Client(timeout=60) as client:
        client.get(server.url)
        server.stop()
        server.stop()
        with pytest.raises(httpx.ConnectError):
            client.get(server.url)


@pytest.mark.parametrize(("trusted", "is_served"), [("192.0.2.0/24", False), ("127.0.0.1", True)])
def test_one_client_has_its_share_of_the_connections_and_a_proxy_all(
    trusted: str, is_served: bool
) -> None:
    server = Server(APP, listen("127.0.0.1", 0), trusted_proxies=trusted)
    server.start()
    port = int(server.url.rstrip("/").rpartition(":")[2])
    share = BoundedProtocol.max_connections // CLIENTS
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(share)]
    try:
        if is_served:
            assert httpx.get(server.url, timeout=60).text == "hello"
        else:
            with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
                httpx.get(server.url, timeout=60)
            idle.pop().close()
            while not _is_served(server.url):  # it notices the close when it notices
                pass
    finally:
        for connection in idle:
            connection.close()
        server.stop()


def _is_served(url: str) -> bool:
    try:
        return httpx.get(url, timeout=60).text == "hello"
    except (httpx.ReadError, httpx.RemoteProtocolError):
        return False


def test_a_server_that_never_started_gives_its_port_back() -> None:
    server = Server(APP, listen("127.0.0.1", 0))
    port = int(server.url.rstrip("/").rpartition(":")[2])
    server.stop()
    Server(APP, listen("127.0.0.1", port)).stop()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://localhost:"),
        ("127.0.0.1", "http://127.0.0.1:"),
        ("::1", "http://[::1]:"),
    ],
)
def test_the_url_of_a_server_is_one_that_a_browser_takes(host: str, url: str) -> None:
    server = Server(APP, listen(host, 0))
    assert server.url.startswith(url)
    server.stop()


def test_a_port_in_use_is_an_error_that_names_the_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError) as caught:
            Server(APP, listen("127.0.0.1", port))
    assert str(caught.value) == (
        f"PINGBOARD_PORT: port {port} of 127.0.0.1 is in use by another program; "
        f"choose another, for example PINGBOARD_PORT={port + 1}"
    )


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "a..b", "x" * 70, "a\0b"])
def test_a_host_that_is_not_ours_is_an_error_that_names_the_setting(host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^PINGBOARD_HOST: .*PINGBOARD_HOST=127\.0\.0\.1"):
        Server(APP, listen(host, 0))


def test_every_interface_of_ipv6_is_every_interface_of_ipv4_too() -> None:
    server = Server(APP, listen("::", 0))
    server.start()
    port = server.url.rstrip("/").rpartition(":")[2]
    assert httpx.get(f"http://127.0.0.1:{port}/", timeout=60).text == "hello"
    assert httpx.get(f"http://[::1]:{port}/", timeout=60).text == "hello"
    server.stop()
