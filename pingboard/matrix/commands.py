"""`!pingboard` in the room: who is fastest, and where a homeserver stands.

Rate-limited, because a room full of answers is worse than one without; what is beyond the limit is
ignored. It never answers a notice, itself, or an old message.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from pingboard.matrix import replies
from pingboard.model import BoardName, HomeserverError, PingboardError, Window, from_ts
from pingboard.servername import is_server_name
from pingboard.store.engine import explained

if TYPE_CHECKING:
    from collections.abc import Callable

    from pingboard.boards import Boards
    from pingboard.matrix.protocol import Event
    from pingboard.matrix.session import Session
    from pingboard.model import Board

BURST = 3
REFILL_S = 20.0
"""Three answers at once in a room, then one in so many seconds."""

MAX_AGE_MS = 60_000
"""An older command, read after a downtime, gets no answer."""

WAITING = 20
"""Commands that may wait, of all rooms."""

_COMMAND = re.compile(r"!pingboard(?:\s+(?P<argument>\S.*))?", re.DOTALL)

log = structlog.get_logger()


class Command(NamedTuple):
    """A command in a room."""

    room_id: str
    event_id: str
    argument: str
    """lower case for `help`, a homeserver's name, or empty"""


def read_command(event: Event, room_id: str, now_ts: int) -> Command | None:
    """The command in a timeline event; None where there is none that is to be answered."""
    content, body = event.get("content"), None
    if event.get("type") == "m.room.message" and isinstance(content, dict):
        body = content.get("body")
    if not isinstance(content, dict) or not isinstance(body, str):
        return None
    # A bot writes notices; an edit and a pong are no new message of a person.
    relation = content.get("m.relates_to")
    if content.get("msgtype") != "m.text" or "pong" in content:
        return None
    if isinstance(relation, dict) and relation.get("rel_type") == "m.replace":
        return None
    event_id, sent_ts = event.get("event_id"), event.get("origin_server_ts")
    match = _COMMAND.fullmatch(body.strip())
    if match is None or not isinstance(event_id, str) or type(sent_ts) is not int:
        return None
    if now_ts - sent_ts > MAX_AGE_MS:
        return None
    return Command(room_id, event_id, (match["argument"] or "").strip())


class Commands:
    """Answers the commands of all rooms, one after the other. `hear`, while `run` runs."""

    def __init__(self, boards: Boards, clock: Callable[[], float] = time.monotonic) -> None:
        self._boards = boards
        self._clock = clock
        self._waiting: asyncio.Queue[Command] = asyncio.Queue(WAITING)
        self._allowed: dict[str, tuple[float, float]] = {}

    def hear(self, event: Event, room_id: str, user_id: str) -> None:
        """Look at an event of a room as it arrives; `user_id` is our own."""
        if event.get("sender") == user_id:
            return
        command = read_command(event, room_id, time.time_ns() // 1_000_000)
        if command is not None and not self._waiting.full() and self._allow(room_id):
            self._waiting.put_nowait(command)

    async def run(self, session: Session) -> None:
        """Answer until cancelled."""
        while True:
            command = await self._waiting.get()
            try:
                answer = await asyncio.to_thread(self._answer, command)
                tx_id = f"pingboard-answer-{command.event_id[1:]}"
                await session.send(command.room_id, answer, tx_id)
            except HomeserverError as error:
                log.warning("answer not sent", error=str(error))
            except PingboardError as error:
                log.warning("no answer", error=str(error))
            finally:
                self._waiting.task_done()

    def _allow(self, room_id: str) -> bool:
        """Take one answer from the room's allowance (a token bucket)."""
        now = self._clock()
        left, since = self._allowed.get(room_id, (float(BURST), now))
        left = min(float(BURST), left + (now - since) / REFILL_S)
        self._allowed[room_id] = (max(left - 1, 0.0) if left >= 1 else left, now)
        return left >= 1

    def _answer(self, command: Command) -> dict[str, Any]:
        argument = command.argument
        if not argument:
            return replies.top(self._ask(command.room_id))
        if argument.lower() == "help" or not is_server_name(argument):
            return replies.notice(replies.HELP)
        return replies.standing(argument, self._ask(command.room_id))

    def _ask(self, room_id: str) -> list[Board]:
        now = from_ts(time.time_ns() // 1_000_000)
        window = Window.named("7d", now)
        with explained():
            return [self._boards.board(name, window, now=now, room=room_id) for name in BoardName]
