"""How many requests were answered, by path template, method, status and who answered.

The byte cache answers most before the app sees them, so it counts; what it costs there is one
addition.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_fastapi_instrumentator.metrics import Info
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NO_TEMPLATE = "none"
"""Stands for every path that there is not, so that the labels stay few."""

METHODS = frozenset(["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"])
"""Those counted by name: a client may make up others without end."""

# Who answered. Plain texts: hashing an enum's member takes ten times as long.
APP = "app"
CACHE = "cache"

_NOTE = "pingboard.note"


@dataclass(slots=True)
class Note:
    """What the app's inside says of a request to its outside."""

    handler: str = NO_TEMPLATE


@dataclass(slots=True)
class Count:
    """How many requests there were of a kind."""

    value: int = 0


def take_notes(scope: Scope) -> tuple[Scope, Note]:
    """The scope of a request with a note in it, for `note_handler` to write on."""
    note = Note()
    return {**scope, _NOTE: note}, note


def note_handler(info: Info) -> None:
    """Write down the template of the path that was asked for; the instrumentator calls it."""
    note: Note | None = info.request.scope.get(_NOTE)
    if note is not None:
        note.handler = info.modified_handler


class Tally(Collector):
    """The counts of one app. Counted in the event loop, collected in any thread."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, int, str], Count] = {}

    def count(self, handler: str, method: str, status: int, source: str) -> Count:
        """The count of such requests, to add to."""
        return self._counts.setdefault((handler, method, status, source), Count())

    def add(self, note: Note, method: str, status: int) -> None:
        """Count an answer of the app."""
        method = method if method in METHODS else "other"
        self.count(note.handler, method, status, APP).value += 1

    async def pass_on(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app answer, and count it."""
        scope, note = take_notes(scope)
        status = 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await app(scope, receive, watch)
        finally:
            self.add(note, scope["method"], status)

    def collect(self) -> Iterator[Metric]:
        """For Prometheus."""
        family = CounterMetricFamily(
            "pingboard_http_requests",
            "Requests by path template, method, status and who answered: the app, or the cache",
            labels=["handler", "method", "status", "source"],
        )
        # A copy: the event loop goes on counting.
        for (handler, method, status, source), count in self._counts.copy().items():
            family.add_metric([handler, method, str(status), source], count.value)
        yield family
