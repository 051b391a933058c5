"""Backfill: gaps in a room's history, left while we were down or when too much came at once.

From the newest event backwards, page by page, each page committed together with where to go on,
so that it can be interrupted anywhere. A pong is met before the ping that it answers and is
pending until then; what is pending when the gap is filled is looked up, then given up.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

import stamina
import structlog

from pingboard.matrix.sync import read_position
from pingboard.model import Batch, Gap, HomeserverError, RateLimitedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pingboard.matrix.protocol import Event
    from pingboard.matrix.session import Page, Session
    from pingboard.matrix.sync import Timeline

ATTEMPTS = 6
"""How often a page is asked for before the gap is left for later."""

PAGE_LIMIT = 250
"""Events asked for at once: parsing a page takes about 20 ms, and delays any arrival by that."""

MIN_PAGE = 10
"""Events in the smallest page that is asked for."""

LATER_S = 600.0

FULL_TIMELINE = 100
"""Events in a timeline that is limited because there are more: Synapse's own limit."""

SHORTEST_PAUSE_NS = 60_000_000_000
LONGEST_PAUSE_NS = 60 * SHORTEST_PAUSE_NS

# An answer of these kinds will not get better by asking again.
_FINAL = frozenset({"M_FORBIDDEN", "M_NOT_FOUND", "M_INVALID_PARAM", "M_UNRECOGNIZED"})

Judge = Callable[[], Awaitable[Batch]]
"""Judges what was fetched, when its turn has come."""

log = structlog.get_logger()


class _Again(NamedTuple):
    """How to ask once more where a gap seems to have ended."""

    position: str | None
    """the token to go back from; None for now, which covers the gap too"""
    limit: int


class Backfill:
    """Fills one gap after the other. `read` judges a page's events; `record` commits them.

    `finish` is called when a room's last gap is closed, and again later where it returns False;
    `latest_pings` are the last ones of a room that are stored.
    """

    def __init__(
        self,
        session: Session,
        *,
        open_gaps: Callable[[], Awaitable[list[Gap]]],
        read: Callable[[Sequence[Event], Gap], Awaitable[Batch]],
        record: Callable[[Judge, int], Awaitable[Batch]],
        finish: Callable[[str], Awaitable[bool]],
        latest_pings: Callable[[str], Awaitable[list[str]]],
    ) -> None:
        self._session = session
        self._open_gaps = open_gaps
        self._read = read
        self._record = record
        self._finish = finish
        self._latest_pings = latest_pings
        self._wake = asyncio.Event()
        self._filling: set[str] = set()
        self._noticed: set[str] = set()

    def is_filling(self, room_id: str) -> bool:
        """Whether a gap of this room is still open: pings may yet turn up in it."""
        return room_id in self._filling

    def notice(self, room_ids: Sequence[str]) -> None:
        """Gaps of these rooms were recorded."""
        self._filling.update(room_ids)
        self._noticed.update(room_ids)
        if room_ids:
            self._wake.set()

    async def run(self) -> None:
        """Fill what there is, wait for more, without end."""
        while True:
            self._wake.clear()
            gaps = await self._open_gaps()
            for gap in gaps:
                await self._fill(gap)
            # A gap that is noticed from here on may not be among the answers.
            self._noticed.clear()
            still_open = {gap.room_id for gap in await self._open_gaps()}
            for room_id in self._filling - still_open - self._noticed:
                if not await self._finish(room_id):
                    still_open.add(room_id)
                elif room_id not in self._noticed:
                    self._filling.discard(room_id)
            await self._rest(LATER_S if still_open else None)

    async def _rest(self, seconds: float | None) -> None:
        """Until there are new gaps; at most so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _fill(self, gap: Gap) -> None:
        """Page by page to its end; a fault that may pass leaves it open."""
        self._filling.add(gap.room_id)
        begun_s = time.monotonic()
        before = {gap.position}
        # Of a gap that was begun earlier it is not known how its last page ended.
        again: _Again | None = _Again(None, PAGE_LIMIT)
        while gap.closed_ts is None:
            try:
                asked, page, again = await self._ask_on(gap, again)
            except HomeserverError as error:
                closed_ts = _now_ts() if error.errcode in _FINAL else None
                # It is tried again and again, and an absence is said by the sync.
                is_said = error.errcode is None or gap.fault == str(error)
                write = log.debug if is_said else log.warning
                write("gap not filled", room_id=gap.room_id, error=str(error))
                gap = dataclasses.replace(gap, fault=str(error), closed_ts=closed_ts)
                await self._record(_judged(Batch(gaps=[gap])), 0)
                break
            if asked is not gap:
                gap, before = asked, {asked.position}
            gap = await self._record_page(gap, page, before)
            log.debug("filling a gap", room_id=gap.room_id, pongs=gap.pongs)
        if gap.fault is not None:
            await self._fill_by_relations(gap)
            return
        seconds = round(time.monotonic() - begun_s, 1)
        log.info("gap filled", room_id=gap.room_id, pongs=gap.pongs, seconds=seconds)

    async def _record_page(self, gap: Gap, page: Page, before: set[str]) -> Gap:
        """Commit a page together with where to go on; return the gap from there."""

        async def judge() -> Batch:
            batch = await self._read(list(reversed(page.events)), gap)
            advanced = _advance(gap, page, before, len(batch.samples))
            return dataclasses.replace(batch, gaps=[advanced])

        return (await self._record(judge, len(page.events))).gaps[0]

    async def _fill_by_relations(self, gap: Gap) -> None:
        """The second way, where history can't be had: the pongs of the pings before the gap."""
        try:
            for event_id in await self._latest_pings(gap.room_id):
                pongs = await self._session.answers(gap.room_id, event_id)
                oldest_first = list(reversed(pongs))
                await self._record(functools.partial(self._read, oldest_first, gap), len(pongs))
        except HomeserverError as error:
            log.debug("relations can't be had either", room_id=gap.room_id, error=str(error))

    async def _ask_on(self, gap: Gap, again: _Again | None) -> tuple[Gap, Page, _Again | None]:
        """The gap from where the next page is, the page, and how to ask should it be the last.

        Synapse (1.163) gives history by depth in the room, but ends it as soon as a page ends at
        the first event that came to it after `until`: what came later and is less deep, because
        another homeserver was out of reach, is left out. So where nothing follows a full page, that
        page is asked for once more, with another end.
        """
        page, limit = await self._ask(gap, PAGE_LIMIT)
        if page.events or page.end is not None or gap.until is None or again is None:
            is_full = len(page.events) == limit > 1
            return gap, page, _Again(gap.position, limit - 1) if is_full else None
        start = again.position or await read_position(self._session)
        gap = dataclasses.replace(gap, position=start)
        page, _ = await self._ask(gap, again.limit)
        return gap, page, None

    async def _ask(self, gap: Gap, most: int) -> tuple[Page, int]:
        """A page, and how many events were asked for."""

        def pause(error: Exception) -> bool | float:
            if isinstance(error, RateLimitedError):
                return error.retry_after_s
            return isinstance(error, HomeserverError) and error.errcode not in _FINAL

        async for attempt in stamina.retry_context(
            on=pause, attempts=ATTEMPTS, timeout=None, wait_initial=1.0, wait_max=30.0
        ):
            with attempt:
                # A homeserver that can't give so much in time may give less.
                limit = min(most, max(PAGE_LIMIT >> 2 * (attempt.num - 1), MIN_PAGE))
                page = await self._session.page(gap.room_id, gap.position, gap.until, limit)
                return page, limit
        raise AssertionError("the last attempt raises")


def _judged(batch: Batch) -> Judge:
    async def judge() -> Batch:
        return batch

    return judge


def _advance(gap: Gap, page: Page, before: set[str], pongs: int) -> Gap:
    """The gap after a page: where to go on, or that it is closed, and why if not by its end."""
    fault = None
    is_done = page.end is None or page.end == gap.until or _is_too_old(page.events, gap.oldest_ts)
    if not is_done and page.end in before:
        fault = "our homeserver leads in a circle"
    before.add(page.end or "")
    return dataclasses.replace(
        gap,
        position=page.end or gap.position,
        pongs=gap.pongs + pongs,
        closed_ts=_now_ts() if is_done or fault else None,
        fault=fault,
    )


def events_since(events: Sequence[Event], oldest_ts: int | None) -> list[Event]:
    """Those that say they are from then or later; all where it does not matter."""
    return [event for event in events if oldest_ts is None or _timestamp(event) >= oldest_ts]


def _is_too_old(events: Sequence[Event], oldest_ts: int | None) -> bool:
    """Whether most of a page is older than wanted; one liar's clock must not end a gap early."""
    if oldest_ts is None or not events:
        return False
    return 2 * len(events_since(events, oldest_ts)) < len(events)


def _timestamp(event: Event) -> int:
    value = event.get("origin_server_ts")
    return value if isinstance(value, int) else 0


class _Look(NamedTuple):
    at_ns: int
    pause_ns: int
    """until the next at the earliest"""


class HoleWatch:
    """When to look for what our homeserver itself missed: it, or another one, was away for hours.

    What it fetches from others when it is asked for history comes before all tokens (Synapse:
    "backfilled"), in no sync and in no gap that ends at one. That there is a hole it says by a
    timeline that is limited, though short. A homeserver that always gives short ones seems to have
    holes all the time, so it is asked ever more rarely.
    """

    def __init__(self) -> None:
        self._found: set[str] = set()
        self._looks: dict[str, _Look] = {}

    def is_due(self, timeline: Timeline, now_ns: int) -> bool:
        """Whether to look behind a hole now; `now_ns` is `clock.now_ns()`.

        Each of a hundred homeservers that come back can leave one, so of several in a minute the
        later wait; and where it never ends, twice as long each time.
        """
        room_id = timeline.room_id
        if timeline.limited and len(timeline.events) < FULL_TIMELINE:
            self._found.add(room_id)
        if room_id not in self._found:
            return False
        pause_ns = SHORTEST_PAUSE_NS
        if (last := self._looks.get(room_id)) is not None:
            since_ns = now_ns - last.at_ns
            if since_ns < last.pause_ns:
                return False
            if since_ns < 2 * last.pause_ns:
                pause_ns = min(2 * last.pause_ns, LONGEST_PAUSE_NS)
        self._found.discard(room_id)
        self._looks[room_id] = _Look(now_ns, pause_ns)
        return True


def _now_ts() -> int:
    return time.time_ns() // 1_000_000
