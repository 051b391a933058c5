"""HTTP/1.1 on one connection: uvicorn's protocol on httptools, with bounds on what a client may do.

uvicorn bounds neither the size of a request's head nor the time that it takes. Its other protocol,
on h11, bounds the size alone, and takes half as long again for each request.
"""

from __future__ import annotations

import asyncio
import time

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 32 << 10
MAX_HEADERS = 100
MAX_HEAD_S = 10.0
"""For a whole request head; also for the first of a connection, from its beginning."""
MAX_WRITE_S = 30.0
"""How long a client may take nothing of an answer."""
MAX_CONNECTIONS = 4096
LOG_EVERY_S = 60.0

CUT_OFF = "pingboard.cut_off"
"""An extension of a request's scope: its `cut_off` ends the connection in the middle."""

log = structlog.get_logger()


class _HeadTooLargeError(Exception):
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

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            self._log_refusal()
            transport.close()
        else:
            self._start_timer(MAX_HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer with the rest."""
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
        """Count anew."""
        super().on_message_begin()
        self.scope["extensions"] = {CUT_OFF: {"cut_off": self.transport.abort}}
        self._is_in_head, self._parsed_bytes = True, 0

    def on_url(self, url: bytes) -> None:
        """Keep it, if the head stays within its bounds."""
        self._parsed_bytes += len(url)
        if self._parsed_bytes > MAX_HEAD_BYTES:
            raise _HeadTooLargeError
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep it, if the head stays within its bounds."""
        self._parsed_bytes += len(name) + len(value) + len(b": \r\n")
        if len(self.headers) == MAX_HEADERS or self._parsed_bytes > MAX_HEAD_BYTES:
            raise _HeadTooLargeError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Answer the request."""
        self._is_in_head, self._head_bytes = False, 0
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Wait for the next."""
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
        """The client has taken enough."""
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

    def _log_refusal(self) -> None:
        now = time.monotonic()
        if now - BoundedProtocol._refused_at >= LOG_EVERY_S:
            BoundedProtocol._refused_at = now
            log.warning(
                "too many connections: new ones are refused", connections=len(self.connections)
            )
