"""The bots in the ping room: commands, editions, and what is told about watched homeservers.

In: events as they arrive, boards, and watches of the store. Out: notices, because no bot answers a
notice; they mention nobody. Answers are rate-limited, because a room full of them is worse than one
without.
"""

from __future__ import annotations

import asyncio
import html
import json
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, ParamSpec, TypeVar

import structlog

from pingboard import editions, homeservers
from pingboard.boards import Boards
from pingboard.edition_schedule import Schedule
from pingboard.homeservers import Change
from pingboard.matrix import clock
from pingboard.matrix.protocol import Event, message_content
from pingboard.matrix.session import Session
from pingboard.matrix.store_writer import Writer
from pingboard.model import (
    Board,
    BoardName,
    HomeserverError,
    PingboardError,
    Standing,
    UnknownHomeserverError,
    UnknownRoomError,
    Window,
    from_ts,
    to_ts,
)
from pingboard.render.change_point import describe_change
from pingboard.render.markdown import shortest_decimal
from pingboard.servername import is_server_name, read_server_name
from pingboard.store.editions import Edition, insert_edition
from pingboard.store.engine import explained
from pingboard.store.watches import (
    MAX_WATCHES,
    Watch,
    add_watch,
    read_watches,
    record_told,
    remove_watch,
)

BURST = 3
REFILL_S = 20.0
"""Three answers at once in a room, then one in so many seconds."""

MAX_AGE_MS = 60_000
"""An older command, read after a downtime, gets no answer."""

MAX_QUEUED = 20
"""Commands that can be queued, of all rooms."""

EDITION_CHECK_S = 60.0
"""Also before the first check: by then a worker that was down knows which gaps it has to fill."""

EMPTY_PAUSE = timedelta(hours=1)
"""How long a week in which nothing was heard is not looked at again: history may still come."""

WATCH_CHECK_S = 600.0
"""Change-points are hours: to look more often would find no more."""

MIN_WATCH_PAUSE = timedelta(days=1)
"""From one notice about a homeserver in a room to the next."""

MAX_ANNOUNCEMENT_AGE = timedelta(days=1)
"""An edition that is made up later is announced no more."""

TOP = 5

MAX_SIMILAR = 3
"""Names that may have been meant."""

HELP = (
    "!pingboard shows the fastest homeservers of the past week, !pingboard one.example where that "
    "homeserver stands, !pingboard watch one.example tells this room when it falls silent, comes "
    "back, or gets much slower or faster (unwatch ends that), !pingboard help this. To add your "
    "homeserver, run an echo bot on it."
)

_WATCH = re.compile(r"(?P<verb>watch|unwatch)(?:\s+(?P<homeserver>\S+))?", re.IGNORECASE)
_COMMAND = re.compile(r"!pingboard(?:\s+(?P<argument>\S.*))?", re.DOTALL)

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger()


class Command(NamedTuple):
    """A command in a room."""

    room_id: str
    event_id: str
    argument: str
    """as it was written, without white space around it; can be empty"""


def read_command(event: Event, room_id: str, now_ts: int) -> Command | None:
    """The command in a timeline event; None where there is none that is to be answered."""
    content = message_content(event)
    # A bot writes notices; an edit and a pong are no new message of a person.
    if content is None or content.get("msgtype") != "m.text" or "pong" in content:
        return None
    relation, body = content.get("m.relates_to"), content.get("body")
    if isinstance(relation, dict) and relation.get("rel_type") == "m.replace":
        return None
    event_id, sent_ts = event.get("event_id"), event.get("origin_server_ts")
    match = _COMMAND.fullmatch(body.strip()) if isinstance(body, str) else None
    if match is None or not isinstance(event_id, str) or type(sent_ts) is not int:
        return None
    if now_ts - sent_ts > MAX_AGE_MS:
        return None
    return Command(room_id, event_id, (match["argument"] or "").strip())


class Bot(ABC):
    """Does something beside the measuring, on the worker's session; it never raises."""

    def hear(self, event: Event, room_id: str, user_id: str) -> None:  # noqa: B027 (most don't)
        """Look at an event of a room as it arrives; `user_id` is our own."""

    @abstractmethod
    async def run(self, session: Session) -> None:
        """Work until cancelled."""


async def _ask(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Read from the database in a thread."""
    return await asyncio.to_thread(explained()(work), *args, **kwargs)


async def _repeat(
    work: Callable[[Session, datetime], Awaitable[None]],
    session: Session,
    pause_s: float,
    fault: str,
) -> None:
    """Do what is due again and again; what fails is logged as `fault`, the same once."""
    told: str | None = None
    while True:
        await asyncio.sleep(pause_s)
        try:
            await work(session, from_ts(session.agreed_ts()))
            told = None
        except PingboardError as error:
            if str(error) != told:
                log.warning(fault, error=str(error))
            told = str(error)


class CommandBot(Bot):
    """Answers the commands of all rooms, one after the other. `hear`, while `run` runs."""

    def __init__(
        self, boards: Boards, writer: Writer, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._boards = boards
        self._writer = writer
        self._monotonic = monotonic
        self._queue: asyncio.Queue[Command] = asyncio.Queue(MAX_QUEUED)
        self._allowance: dict[str, tuple[float, float]] = {}

    def hear(self, event: Event, room_id: str, user_id: str) -> None:
        """Queue the command in an event, if there is one."""
        if event.get("sender") == user_id:
            return
        command = read_command(event, room_id, clock.now_ts())
        if command is not None and not self._queue.full() and self._take_allowance(room_id):
            self._queue.put_nowait(command)

    async def run(self, session: Session) -> None:
        """Answer until cancelled."""
        while True:
            command = await self._queue.get()
            try:
                answer = await self._answer(command)
                tx_id = f"pingboard-answer-{command.event_id[1:]}"
                await session.send(command.room_id, answer, tx_id)
            except HomeserverError as error:
                log.warning("answer not sent", error=str(error))
            except PingboardError as error:
                log.warning("no answer", error=str(error))
            finally:
                self._queue.task_done()

    def _take_allowance(self, room_id: str) -> bool:
        """Take one answer from the room's allowance (a token bucket), if there is one."""
        now = self._monotonic()
        left, since = self._allowance.get(room_id, (float(BURST), now))
        left = min(float(BURST), left + (now - since) / REFILL_S)
        self._allowance[room_id] = (max(left - 1, 0.0) if left >= 1 else left, now)
        return left >= 1

    async def _answer(self, command: Command) -> dict[str, Any]:
        argument = command.argument
        match = _WATCH.fullmatch(argument)
        homeserver = read_server_name(argument if match is None else match["homeserver"] or "")
        if argument.lower() == "help" or (homeserver and not is_server_name(homeserver)):
            return make_notice(HELP)
        if match is not None:
            return await self._change_watch(command.room_id, match["verb"].lower(), homeserver)
        boards = await _ask(self._read_boards, command.room_id)
        return describe_homeserver(homeserver, boards) if homeserver else describe_top(boards)

    async def _change_watch(self, room_id: str, verb: str, homeserver: str) -> dict[str, Any]:
        if not homeserver:
            return make_notice(f"Which homeserver? For example !pingboard {verb} one.example")
        if verb == "unwatch":
            was_watched = await self._writer.call(remove_watch, room_id, homeserver)
            words = "is no longer watched" if was_watched else "was not watched"
            return make_notice(f"{homeserver} {words} in this room.")
        if not await _ask(homeservers.is_known, self._boards, homeserver):
            similar = await _ask(homeservers.find_similar, self._boards, homeserver, MAX_SIMILAR)
            meant = f" Did you mean {' or '.join(similar)}?" if similar else ""
            return make_notice(f"No homeserver {homeserver} was ever seen here.{meant}")
        if await self._writer.call(add_watch, Watch(room_id, homeserver, clock.now_ts())):
            return make_notice(
                f"This room will be told when {homeserver} falls silent, comes back, or gets much "
                f"slower or faster, at most once a day. !pingboard unwatch {homeserver} ends that."
            )
        return make_notice(
            f"This room watches {MAX_WATCHES} homeservers already; unwatch one of them first."
        )

    def _read_boards(self, room_id: str) -> list[Board]:
        now = from_ts(clock.now_ts())
        window = Window.named("7d", now)
        return [self._boards.board(name, window, now=now, room=room_id) for name in BoardName]


class EditionBot(Bot):
    """Closes each edition that is due, and announces it if it shall."""

    def __init__(
        self, boards: Boards, writer: Writer, schedule: Schedule, *, announces: bool
    ) -> None:
        self._boards = boards
        self._writer = writer
        self._schedule = schedule
        self._announces = announces
        self._empty: dict[str, datetime] = {}
        """editions of weeks in which nothing was heard, and when they were last looked for"""

    async def run(self, session: Session) -> None:
        """Make editions until cancelled."""
        await _repeat(self.make_due, session, EDITION_CHECK_S, "no edition")

    async def make_due(self, session: Session | None, now: datetime) -> None:
        """Make each edition that is due, the oldest first."""
        for week in await _ask(editions.due, self._boards.engine, self._schedule, now):
            if week.name in self._empty and now - self._empty[week.name] < EMPTY_PAUSE:
                continue
            edition = await _ask(editions.make, self._boards, week)
            if edition is None:
                self._empty[week.name] = now
                continue
            await self._writer.call(insert_edition, edition)
            log.info("edition closed", edition=week.name)
            if self._announces and session is not None and now - week.end < MAX_ANNOUNCEMENT_AGE:
                await self._announce(session, edition)

    async def _announce(self, session: Session, edition: Edition) -> None:
        for room in json.loads(edition.json)["rooms"]:
            best: dict[str, Any] = next(iter(room["boards"].values()))
            content = describe_edition(edition.name, best["standings"])
            try:
                await session.send(room["room"]["id"], content, f"pingboard-edition-{edition.name}")
            except HomeserverError as error:
                log.warning("edition not announced", room_id=room["room"]["id"], error=str(error))


class WatchBot(Bot):
    """Tells rooms about the homeservers that they watch."""

    def __init__(self, boards: Boards, writer: Writer) -> None:
        self._boards = boards
        self._writer = writer

    async def run(self, session: Session) -> None:
        """Look for changes until cancelled."""
        await _repeat(self.tell_due, session, WATCH_CHECK_S, "watches not looked at")

    async def tell_due(self, session: Session, now: datetime) -> None:
        """Tell each room what it has not been told."""
        for watch in await _ask(read_watches, self._boards.engine):
            if now - from_ts(watch.told_ts) < MIN_WATCH_PAUSE:
                continue
            change = await _ask(self._find_news, watch, now)
            if change is None:
                continue
            words = describe_change(change.kind, change.at, change.ratio)
            tx_id = f"pingboard-watch-{watch.homeserver}-{to_ts(change.at)}"
            try:
                await session.send(
                    watch.room_id, make_notice(f"{watch.homeserver}: {words}."), tx_id
                )
            except HomeserverError as error:
                log.warning("watch not told", room_id=watch.room_id, error=str(error))
                continue
            await self._writer.call(record_told, watch._replace(told_ts=to_ts(now)))

    def _find_news(self, watch: Watch, now: datetime) -> Change | None:
        """Return a homeserver's last change, if it is younger than what the room was told last."""
        window = Window.named("7d", now)
        try:
            profile = homeservers.read_profile(
                self._boards, watch.room_id, window, watch.homeserver, now=now
            )
            if profile.first_board is None:
                return None
            changes = homeservers.read_changes(
                self._boards, watch.room_id, window, watch.homeserver, profile.first_board
            )
        except (UnknownHomeserverError, UnknownRoomError):
            return None
        return changes[-1] if changes and to_ts(changes[-1].at) > watch.told_ts else None


def make_notice(title: str, lines: Sequence[str] = ()) -> dict[str, Any]:
    """The content of a notice: a line, and a list below it."""
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return {
        "msgtype": "m.notice",
        "body": "\n".join([title, *(f"- {line}" for line in lines)]),
        "format": "org.matrix.custom.html",
        "formatted_body": html.escape(title) + (f"<ul>{items}</ul>" if items else ""),
        "m.mentions": {},
    }


def describe_top(boards: Sequence[Board]) -> dict[str, Any]:
    """A notice of the best of the first board that has any."""
    for board in boards:
        if board.standings:
            return make_notice(
                f"Fastest homeservers of the past week ({board.name}):",
                [_describe_standing(row) for row in board.standings[:TOP]],
            )
    return make_notice("There were no pongs here in the past week.")


def describe_homeserver(homeserver: str, boards: Sequence[Board]) -> dict[str, Any]:
    """A notice of a homeserver's place on each board that it is on."""
    lines = [
        f"{board.name}: {row.rank} of {len(board.standings)}, "
        f"{shortest_decimal(row.median_ms)} ms over {row.samples} pongs"
        for board in boards
        for row in board.standings
        if row.homeserver == homeserver
    ]
    if not lines:
        return make_notice(f"{homeserver} has no pings or pongs here in the past week.")
    return make_notice(f"{homeserver} in the past week:", lines)


def describe_edition(name: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A notice of the best of an edition, from the rows of its document."""
    lines = [
        f"{row['rank']}. {row['homeserver']}: {shortest_decimal(row['median_ms'])} ms"
        for row in rows[:TOP]
    ]
    return make_notice(f"The week {name} is closed. Its fastest homeservers:", lines)


def _describe_standing(row: Standing) -> str:
    return f"{row.rank}. {row.homeserver}: {shortest_decimal(row.median_ms)} ms"
