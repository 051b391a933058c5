"""Backfill: what was not heard live, asked for later.

A gap in a room's history, left while we were down or when too much came at once, is read from its
newest event backwards, page by page. Each page is committed together with where to go on, so that
it can be interrupted anywhere. A pong is met before the ping that it answers and is pending until
then; what is pending when the gap is filled is looked up, then given up.

Pings that pending pongs name are looked up a few at a time, beside receiving and recording: whoever
invents pings delays nobody's pong.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import time
from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import stamina
import structlog

from pingboard.matrix import clock
from pingboard.matrix.pongs import PongMatcher
from pingboard.matrix.protocol import Event, read_redacted_ping
from pingboard.matrix.record import Judge, Recorder, TimelineReader, events_since
from pingboard.matrix.retry import Outage
from pingboard.matrix.session import Page, Session
from pingboard.matrix.store_writer import Writer
from pingboard.matrix.sync import read_position
from pingboard.model import Batch, Gap, HomeserverError, Ping, RateLimitedError
from pingboard.store.backlog import read_open_gaps
from pingboard.store.pings import find_latest_pings, find_pings

ATTEMPTS = 6
"""How often a page is asked for before the gap is left for later."""

PAGE_LIMIT = 250
"""Events asked for at once: parsing a page takes about 20 ms, and delays any arrival by that."""

MIN_PAGE = 10
"""Events in the smallest page that is asked for."""

LATER_S = 600.0
"""How long a gap that could not be filled is left alone."""

LOOKUP_PAUSE_S = 1.0
"""Between lookups. Most pongs that come before their ping have it before the first."""

MAX_LOOKUPS = 5
"""Pings of a room that our homeserver is asked for at once."""

MAX_LAST_LOOKUPS = 100
"""The same once a gap is closed, when nothing else can bring them any more."""

MAX_REFUSALS = 3
"""How often a ping is looked up where the answer is no Matrix error, and all else is answered."""

MAX_FOUND = 500
"""Pings of a room that are looked for in the store at once."""

MAX_ASKED = 10_000
"""Pings remembered that it was asked for: nobody makes us ask for the same again and again."""

# An answer of these kinds will not get better by asking again.
_FINAL = frozenset({"M_FORBIDDEN", "M_NOT_FOUND", "M_INVALID_PARAM", "M_UNRECOGNIZED"})

log = structlog.get_logger()


class _Again(NamedTuple):
    """How to ask once more where a gap seems to have ended."""

    position: str | None
    """the token to go back from; None for now, which covers the gap too"""
    limit: int


class Backfill:
    """Fills one gap after the other, and looks up what is pending once a room has no more."""

    def __init__(
        self,
        session: Session,
        writer: Writer,
        reader: TimelineReader,
        recorder: Recorder,
        lookup: PingLookup,
    ) -> None:
        self._session = session
        self._writer = writer
        self._reader = reader
        self._recorder = recorder
        self._lookup = lookup
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
            for gap in await self._writer.call(read_open_gaps):
                await self._fill(gap)
            # A gap that is noticed from here on may not be among the answers.
            self._noticed.clear()
            still_open = {gap.room_id for gap in await self._writer.call(read_open_gaps)}
            for room_id in self._filling - still_open - self._noticed:
                if not await self._lookup.finish_room(room_id):
                    still_open.add(room_id)
                elif room_id not in self._noticed:
                    self._filling.discard(room_id)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LATER_S if still_open else None):
                    await self._wake.wait()

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
                closed_ts = clock.now_ts() if error.errcode in _FINAL else None
                # It is tried again and again, and an absence is said by the sync.
                is_said = error.errcode is None or gap.fault == str(error)
                write = log.debug if is_said else log.warning
                write("gap not filled", room_id=gap.room_id, error=str(error))
                gap = dataclasses.replace(gap, fault=str(error), closed_ts=closed_ts)
                await self._recorder.record(_judged(Batch(gaps=[gap])))
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
            batch = await self._reader.read_page(list(reversed(page.events)), gap)
            advanced = _advance(gap, page, before, len(batch.samples))
            return dataclasses.replace(batch, gaps=[advanced])

        return (await self._recorder.record(judge, len(page.events))).gaps[0]

    async def _fill_by_relations(self, gap: Gap) -> None:
        """The second way, where history can't be had: the pongs of the pings before the gap."""
        try:
            for event_id in await self._writer.call(find_latest_pings, gap.room_id):
                pongs = await self._session.answers(gap.room_id, event_id)
                read = functools.partial(self._reader.read_page, list(reversed(pongs)), gap)
                await self._recorder.record(read, len(pongs))
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


class PingLookup:
    """Looks up the pings that pending pongs name: in the store, then at our homeserver."""

    def __init__(
        self, session: Session, writer: Writer, pongs: PongMatcher, recorder: Recorder
    ) -> None:
        self._session = session
        self._writer = writer
        self._pongs = pongs
        self._recorder = recorder
        self._outage = Outage("pings can't be looked up", "pings are looked up again")
        self._asked: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._refusals: Counter[tuple[str, str]] = Counter()

    async def run(self) -> None:
        """Look up what is pending without end."""
        while True:
            await asyncio.sleep(LOOKUP_PAUSE_S)
            for room_id in self._pongs.pending.rooms():
                pings = self._pongs.pending.pings(room_id)
                new = [ping for ping in pings if (room_id, ping) not in self._asked]
                await self._look_up(room_id, new, MAX_LOOKUPS)

    async def finish_room(self, room_id: str) -> bool:
        """Look up what is pending in a room whose gaps are closed, and decide it.

        False where our homeserver can't be asked just now.
        """
        return await self._look_up(room_id, self._pongs.pending.pings(room_id), MAX_LAST_LOOKUPS)

    async def _look_up(self, room_id: str, event_ids: Sequence[str], limit: int) -> bool:
        """Find out what these events are, and judge the pongs that name them.

        Our homeserver is asked for at most so many; False where it can't be.
        """
        if not event_ids:
            return True
        pings = await self._writer.call(find_pings, room_id, event_ids[:MAX_FOUND])
        events: dict[str, Event] = {}
        is_answered = True
        for event_id in [name for name in event_ids if name not in pings][:limit]:
            try:
                event = await self._session.event(room_id, event_id)
            except HomeserverError as error:
                if not await self._is_refused(error):
                    self._outage.note(error)
                    is_answered = False
                    break
                if self._doubts(room_id, event_id, error):
                    continue
                event = None
            self._outage.end()
            self._remember(room_id, event_id)
            if event is not None:
                events[event_id] = event
        if pings or events:
            stored = list(pings.values())
            judge = functools.partial(self._judge, room_id, stored, events)
            await self._recorder.record(judge)
        return is_answered

    async def _is_refused(self, error: HomeserverError) -> bool:
        """Whether it is the event that is refused, maybe by a proxy, while others are answered."""
        if error.errcode is not None:
            return error.errcode in _FINAL
        if error.status is None or error.status >= 500:
            return False
        try:
            await self._session.joined_rooms()
        except HomeserverError:
            return False
        return True

    def _doubts(self, room_id: str, event_id: str, error: HomeserverError) -> bool:
        """Whether to ask once more: what is no Matrix error may be a proxy's, and pass."""
        if error.errcode is not None:
            return False
        self._refusals[room_id, event_id] += 1
        return self._refusals[room_id, event_id] < MAX_REFUSALS

    async def _judge(self, room_id: str, pings: list[Ping], events: dict[str, Event]) -> Batch:
        self._pongs.learn(pings)
        now_ts = clock.latest_ts()
        history = self._pongs.read_history(events.values(), room_id, now_ts)
        known = {ping.event_id for ping in history.pings}
        for event_id, event in events.items():
            redacted = read_redacted_ping(event, room_id, now_ts)
            if redacted is not None:
                self._pongs.learn([redacted])
            elif event_id not in known:
                self._pongs.learn_no_ping(room_id, event_id)
        return self._pongs.judge(self._pongs.read_history([], room_id, now_ts))

    def _remember(self, room_id: str, event_id: str) -> None:
        self._refusals.pop((room_id, event_id), None)
        self._asked[room_id, event_id] = None
        if len(self._asked) > MAX_ASKED:
            self._asked.popitem(last=False)


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
        closed_ts=clock.now_ts() if is_done or fault else None,
        fault=fault,
    )


def _is_too_old(events: Sequence[Event], oldest_ts: int | None) -> bool:
    """Whether most of a page is older than wanted; one liar's clock must not end a gap early."""
    if oldest_ts is None or not events:
        return False
    return 2 * len(events_since(events, oldest_ts)) < len(events)
