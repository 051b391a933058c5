"""uvicorn, in a thread of the API's process: an app -> answers on a port.

Its protocol is that on httptools, with bounds on what a client may do: uvicorn bounds neither the
size of a request's head nor the time that it takes. Its other protocol, on h11, bounds the size
alone, and takes half as long again for each request.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import resource
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Container
from functools import partial
from typing import Any

import httptools
import structlog
import uvicorn
from anyio.to_thread import current_default_thread_limiter
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pingboard.model import ConfigurationError
from pingboard.model.cancellation import AbandonedError
from pingboard.web.limits import name_client
from pingboard.web.middleware import unmap

MAX_HEAD_BYTES = 32 << 10
MAX_HEADERS = 100
MAX_HEAD_S = 10.0
"""For a whole request head; also for the first of a connection, from its beginning."""
MAX_WRITE_S = 30.0
"""How long a client may take nothing of an answer."""
MAX_CONNECTIONS = 4096
CLIENTS = 16
"""How many it takes to have all connections; a trusted proxy may have them alone."""
MAX_THREADS = 8
"""In which paths work. They share the interpreter, so more would not be faster, and each takes its
share of memory and a connection to the database."""

LOG_EVERY_S = 60.0

CUT_OFF = "pingboard.cut_off"
"""An extension of a request's scope: its `cut_off` ends the connection in the middle."""

log = structlog.get_logger()


class _HeadTooLargeError(Exception):
    """Raised through httptools' parser."""


class _WrongHostError(Exception):
    """Raised through httptools' parser."""


class BoundedProtocol(HttpToolsProtocol):
    """A connection that is closed where its client sends or takes too slowly, or too much."""

    max_connections = MAX_CONNECTIONS
    _refused_at = -LOG_EVERY_S

    _head_bytes = 0
    """of a head that has not ended yet, as they came"""
    _parsed_bytes = 0
    """of its headers"""
    _is_in_head = True
    _timer: asyncio.TimerHandle | None = None

    def __init__(
        self, *arguments: Any, trusted: Container[str], counts: Counter[str], **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._trusted = trusted
        self._counts = counts

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, unless there are too many, or too many of its client."""
        super().connection_made(transport)
        host = self.client[0] if self.client else ""
        self._name = name_client(self.client) or host
        self._counts[self._name] += 1
        has_too_many = self._counts[self._name] > self.max_connections / CLIENTS
        if len(self.connections) > self.max_connections:
            self._refuse("too many connections: new ones are refused")
        elif has_too_many and unmap(host) not in self._trusted:
            self._refuse("too many connections of one client: new ones of it are refused")
        else:
            self._start_timer(MAX_HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._counts[self._name] -= 1
        if not self._counts[self._name]:
            del self._counts[self._name]
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse it, and refuse a head that is malformed or too large."""
        self._unset_keepalive_if_required()
        self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # To nothing that we speak: it is answered as if it had not asked, and is the last.
            self.cycle.keep_alive = False
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, _HeadTooLargeError):
                self._refuse_head()
            else:
                self.send_400_response("Invalid HTTP request received.")
            return
        if self._is_in_head and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse_head()
        elif self._is_in_head and self._head_bytes and self._timer is None:
            self._start_timer(MAX_HEAD_S)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {CUT_OFF: {"cut_off": self.transport.abort}}
        self._is_in_head, self._parsed_bytes = True, 0

    def on_url(self, url: bytes) -> None:
        self._parsed_bytes += len(url)
        if self._parsed_bytes > MAX_HEAD_BYTES:
            raise _HeadTooLargeError
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._parsed_bytes += len(name) + len(value) + len(b": \r\n")
        if len(self.headers) == MAX_HEADERS or self._parsed_bytes > MAX_HEAD_BYTES:
            raise _HeadTooLargeError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Answer the request, if a target that names a host names that of its `Host` line."""
        if not self.url.startswith((b"/", b"*")):
            authority = self.url.partition(b"://")[2].partition(b"/")[0]
            if (b"host", authority) not in self.headers:
                raise _WrongHostError
        self._is_in_head, self._head_bytes = False, 0
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_in_head, self._head_bytes = True, 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with the next request, but not behind a body: nothing reads it."""
        if not self._is_in_head:
            self.transport.close()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Wait for the client, for a while."""
        super().pause_writing()
        self._start_timer(MAX_WRITE_S)

    def resume_writing(self) -> None:
        self._stop_timer()
        super().resume_writing()

    def _start_timer(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse_head(self) -> None:
        self._stop_timer()
        if not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
                b"content-length: 0\r\nconnection: close\r\n\r\n"
            )
            self.transport.close()

    def _refuse(self, reason: str) -> None:
        now = time.monotonic()
        if now - BoundedProtocol._refused_at >= LOG_EVERY_S:
            BoundedProtocol._refused_at = now
            log.warning(reason, client=self._name, connections=len(self.connections))
        self.transport.close()


_M_ARENA_MAX = -8
"""Of glibc's malloc.h."""

_OTHER_FILES = 200
"""Files and sockets that this process has besides those of its clients, at most."""

_STOP_TIMEOUT_S = 5
"""How long running requests may take to end after a stop; a worker has 10 s in all."""


class _Server(uvicorn.Server):
    """uvicorn's, in whose event loop few threads work."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        current_default_thread_limiter().total_tokens = MAX_THREADS
        await super().startup(sockets)


class Server:
    """One listening socket and the app behind it. Stop it also if it was never started.

    `before_stop` ends what the app would go on with for ever. `trusted_proxies` are as in
    `create_site`: their connections are those of many clients.
    """

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        *,
        before_stop: Callable[[], None] = lambda: None,
        trusted_proxies: str = "127.0.0.1",
    ) -> None:
        self.url = url_of(listener)
        """Where a browser on this machine finds it; ends in `/`."""
        self._listener = listener
        self._before_stop = before_stop
        trusted = ProxyHeadersMiddleware(app, trusted_proxies).trusted_hosts  # type: ignore[arg-type]
        counts: Counter[str] = Counter()
        self._uvicorn = _Server(
            uvicorn.Config(
                _cut_off_quietly(app),
                proxy_headers=False,  # the app does it (see app)
                loop="uvloop",
                http=partial(BoundedProtocol, trusted=trusted, counts=counts),  # type: ignore[arg-type]
                ws="none",
                lifespan="off",
                # Our own log configuration stands, and uvicorn does not add another to it.
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_STOP_TIMEOUT_S,
            )
        )
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Serve in a thread of its own, with an event loop of its own; returns at once.

        The process's main event loop stays free for signals and for its supervisor. Requests that
        come before the thread is ready wait in the socket's queue.
        """
        _raise_file_limit()
        _share_freed_memory()
        self._thread = threading.Thread(
            target=self._uvicorn.run, kwargs={"sockets": [self._listener]}, name="web"
        )
        self._thread.start()

    def stop(self) -> None:
        """Let running requests end, close the port, wait for the thread. Fine to call again."""
        self._before_stop()
        self._uvicorn.should_exit = True
        if self._thread is not None:
            self._thread.join()
        self._listener.close()


def _share_freed_memory() -> None:
    """Let all threads take memory from one place; glibc has one for each, and keeps what is freed
    there."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


def _raise_file_limit() -> None:
    """Let there be a file for each connection, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY:
        needed = MAX_CONNECTIONS + _OTHER_FILES
        limit = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, limit), hard))
        BoundedProtocol.max_connections = min(MAX_CONNECTIONS, max(soft, limit) - _OTHER_FILES)


def _cut_off_quietly(app: ASGIApp) -> ASGIApp:
    """The app; a response that a stop cuts off is one line in the log, not a traceback.

    The client still sees that it is cut off: the connection closes in the middle of the body.
    """

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        # uvicorn cancels nothing but what outlives a stop, and nobody waits for this task.
        except (asyncio.CancelledError, AbandonedError):
            log.warning("a response was cut off by the stop", path=scope.get("path"))
            scope["extensions"][CUT_OFF]["cut_off"]()
            with contextlib.suppress(asyncio.CancelledError):  # again, as the loop ends
                while (await receive())["type"] != "http.disconnect":
                    pass

    return serve


def listen(host: str, port: int) -> socket.socket:
    """Take the port now, before anything slow is started; port 0 takes a free one.

    Raises ConfigurationError where the address can't be had.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # "Every interface" means those of IPv4 too, whatever the system's own default is.
        is_dual = host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(
            (host, port), family=family, backlog=2048, dualstack_ipv6=is_dual
        )
    except OSError as error:
        raise ConfigurationError(_explain(host, port, error)) from error
    except ValueError as error:  # a name that can't be one: IDNA refuses it
        raise ConfigurationError(_explain_host(host)) from error


def url_of(listener: socket.socket) -> str:
    """Return where a browser on this machine finds a listener; ends in `/`."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "localhost"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _explain(host: str, port: int, error: OSError) -> str:
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return _explain_host(host)
    if error.errno == errno.EADDRINUSE:
        return (
            f"PINGBOARD_PORT: port {port} of {host} is in use by another program; choose another, "
            f"for example PINGBOARD_PORT={port + 1 if port < 65535 else 8080}"
        )
    return (
        f"PINGBOARD_PORT: can't listen on port {port} of {host} ({error.strerror or error}); "
        "choose another, for example PINGBOARD_PORT=8080"
    )


def _explain_host(host: str) -> str:
    return (
        f"PINGBOARD_HOST: {host!r} is not an address of this machine; for example "
        "PINGBOARD_HOST=127.0.0.1 (this machine only) or PINGBOARD_HOST=0.0.0.0 (every interface)"
    )
