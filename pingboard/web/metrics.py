"""What Prometheus asks for: the requests to this process, and what the database tells.

The database is read at each scrape, so that any process can be asked; of the samples, what the
journal gained since the scrape before. All names and labels are bounded: homeservers beyond the
first hundred are counted together as `other`, and a path by the template of its route.
"""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import lru_cache, partial
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pingboard.boards import Boards
from pingboard.model import Provenance, WorkerState, from_ts
from pingboard.store.journal import can_resume, find_version
from pingboard.store.samples import CHUNK_ROWS, StoredSample, read_new
from pingboard.store.status import read_status, read_totals
from pingboard.web.live_updates import LiveUpdates
from pingboard.web.middleware import as_get
from pingboard.web.shared_boards import SharedQuestion
from pingboard.web.worker_health import STALE_AFTER

MAX_HOMESERVERS = 100
OTHER = "other"
NO_TEMPLATE = "none"
"""Stands for every path that there is not, so that the labels stay few."""

METHODS = frozenset(["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"])
"""Those counted by name: a client may make up others without end."""

NO_RESPONSE = 499
"""Stands for a status: the client has left before there was one."""

APP, CACHE = "app", "cache"
"""Who answered."""

MAX_CHUNKS = 50
"""Chunks that one scrape reads at most; the next goes on from there."""

_HTTP_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BUCKETS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2.5, 5, 10, 30, 60, 300, 600)


class _Families:
    """The metrics that the database tells, each with its help text."""

    def __init__(self, registry: CollectorRegistry) -> None:
        gauge = partial(Gauge, registry=registry)
        counter = partial(Counter, registry=registry)
        build = gauge("pingboard_build_info", "1, with what runs", ["version", "python"])
        build.labels(version("pingboard"), platform.python_version()).set(1)
        self.up = gauge("pingboard_database_up", "Whether the database answers")
        self.pongs = counter(
            "pingboard_pongs",
            "Pongs by verdict: counted (since this process was first asked), or why not",
            ["verdict"],
        )
        self.pings = counter("pingboard_pings", "Our own pings: rounds")
        self.void = counter(
            "pingboard_void_rounds",
            "Rounds without round trips, not the pong servers' doing, by why: see operations.md",
            ["vantage", "reason"],
        )
        self.round_trip = Histogram(
            "pingboard_round_trip_seconds",
            "Round trips of our own pings by pong server",
            ["homeserver"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self.filled = counter("pingboard_gap_pongs", "Pongs found in gaps of the timeline")
        self.gaps = gauge("pingboard_gaps_open", "Gaps that are not filled yet")
        self.last_pong = gauge(
            "pingboard_last_pong_timestamp_seconds", "When a pong was last seen; 0 for never"
        )
        self.last_sync = gauge(
            "pingboard_last_sync_timestamp_seconds",
            "When the homeserver last answered a sync",
            ["vantage"],
        )
        self.loop_late = gauge(
            "pingboard_worker_loop_late_seconds",
            "How late the worker's event loop was at worst in the last seconds: arrivals can be "
            "stamped so late",
            ["vantage"],
        )
        self.running = gauge(
            "pingboard_worker_running",
            "Whether the worker last said that it is well; if not, /readyz says why",
            ["vantage"],
        )
        self.listeners = gauge("pingboard_live_listeners", "Open streams of /api/v1/live")


class Requests:
    """The requests to one app: how many, and how long the app took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._count = Counter(
            "pingboard_http_requests",
            "Requests by path template, method, status and who answered: the app, or the cache",
            ["handler", "method", "status", "source"],
            registry=registry,
        )
        self._took = Histogram(
            "pingboard_http_request_duration_seconds",
            "How long the app took to answer, with the stream where it is one; the cache takes no "
            "time",
            ["handler", "method"],
            buckets=_HTTP_BUCKETS_S,
            registry=registry,
        )
        self.counter = lru_cache(1024)(self._find_counter)
        """Gives the counter of such requests; asked for each."""

    def _find_counter(self, handler: str, method: str, status: int, source: str) -> Counter:
        method = method if method in METHODS else OTHER
        return self._count.labels(handler, method, str(status), source)

    def record(self, scope: Scope, method: str, status: int | None, took_s: float) -> None:
        """Record an answer of the app; without a status it is counted elsewhere."""
        handler = name_handler(scope)
        self._took.labels(handler, method if method in METHODS else OTHER).observe(took_s)
        if status is not None:
            self._find_counter(handler, method, status, APP).inc()

    async def ask(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        inner, status, started = as_get(scope), NO_RESPONSE, time.monotonic()

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await app(inner, receive, watch)
        finally:
            self.record(inner, scope["method"], status, time.monotonic() - started)


def name_handler(scope: Scope) -> str:
    """Return the template of the path, after the app has routed the request."""
    return str(getattr(scope.get("route"), "path", NO_TEMPLATE))


class Metrics:
    def __init__(
        self, boards: Boards, live_updates: LiveUpdates, clock: Callable[[], datetime]
    ) -> None:
        self._boards = boards
        self._live_updates = live_updates
        self._clock = clock
        self._read_once = SharedQuestion(self._read)
        self._version: int | None = None
        self._last_ping = 0
        self._rejected: dict[str, int] = {}
        self._void: dict[tuple[str, str], int] = {}
        self._gap_pongs = 0
        self._homeservers: set[str] = set()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._families = _Families(self.registry)
        self.requests = Requests(self.registry)

    async def render(self) -> bytes:
        """Everything as of now, in Prometheus's text format."""
        try:
            await self._read_once()
        except Exception:  # noqa: BLE001 (that the database is down is what is asked for)
            self._families.up.set(0)
        else:
            self._families.up.set(1)
        self._families.listeners.set(self._live_updates.listeners)
        return await asyncio.to_thread(generate_latest, self.registry)

    def _read(self) -> None:
        engine = self._boards.engine
        health = read_status(engine)
        self._families.last_pong.set((health.last_pong_ts or 0) / 1000)
        for worker in health.workers[:1]:
            self._families.last_sync.labels(worker.vantage).set((worker.synced_ts or 0) / 1000)
            self._families.loop_late.labels(worker.vantage).set((worker.late_ms or 0) / 1000)
            # One that was killed could not say so, but it does not sync any more.
            synced_ago = self._clock() - from_ts(worker.synced_ts or 0)
            is_well = worker.state == WorkerState.RUNNING and synced_ago < STALE_AFTER
            self._families.running.labels(worker.vantage).set(is_well)
        for former in health.workers[1:]:  # the database's worker had another vantage before
            for family in (
                self._families.last_sync,
                self._families.loop_late,
                self._families.running,
            ):
                family.remove(former.vantage)
        totals = read_totals(engine, self._last_ping)
        self._last_ping = totals.last_ping
        self._families.pings.inc(totals.pings)
        self._families.gaps.set(totals.open_gaps)
        # Both may fall when old rows are dropped, a counter must not.
        self._families.filled.inc(max(totals.gap_pongs - self._gap_pongs, 0))
        self._gap_pongs = totals.gap_pongs
        for reason, count in totals.rejected.items():
            self._families.pongs.labels(reason).inc(max(count - self._rejected.get(reason, 0), 0))
        self._rejected = totals.rejected
        for key, count in totals.void.items():
            self._families.void.labels(*key).inc(max(count - self._void.get(key, 0), 0))
        self._void = totals.void
        for sample in self._read_new():
            self._count(sample)

    def _read_new(self) -> Iterator[StoredSample]:
        """What was stored since the last scrape; nothing at the first."""
        engine = self._boards.engine
        until = find_version(engine)
        if self._version is None or not can_resume(engine, self._version):
            self._version = until
        for _ in range(MAX_CHUNKS):
            rows = read_new(engine, self._version, until)
            self._version = rows[-1][0] if len(rows) == CHUNK_ROWS else until
            yield from (sample for _, sample in rows)
            if len(rows) < CHUNK_ROWS:
                return

    def _count(self, sample: StoredSample) -> None:
        if sample.provenance == Provenance.IMPORT:
            return
        self._families.pongs.labels("counted").inc()
        if sample.round_trip_ms is not None:
            name = self._name(sample.pong_server)
            self._families.round_trip.labels(name).observe(sample.round_trip_ms / 1000)

    def _name(self, homeserver: str) -> str:
        if homeserver not in self._homeservers:
            if len(self._homeservers) >= MAX_HOMESERVERS:
                return OTHER
            self._homeservers.add(homeserver)
        return homeserver
