"""A session with our homeserver: log in, join, send, ask. Each call is bounded in time.

In: an account. Out: what the homeserver answers, and every fault as an exception of ours; what it
tells by itself is `stream`.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeVar

from nio import (
    ErrorResponse,
    JoinedMembersResponse,
    JoinResponse,
    MessageDirection,
    RoomGetEventResponse,
    RoomGetStateEventResponse,
    RoomMessagesResponse,
    RoomSendResponse,
    SyncResponse,
)
from nio.responses import RoomEventRelationsResponse

from pingboard.matrix.account import Account, OnLogin, ask_who_we_are, authenticate
from pingboard.matrix.client import CALL_TIMEOUT_S, Client, checked
from pingboard.matrix.patience import patiently
from pingboard.model import AccountError, ConfigurationError, HomeserverError, RateLimitedError
from pingboard.servername import server_of

if TYPE_CHECKING:
    from pingboard.matrix.protocol import Event

SYNC_GRACE_S = 30.0
"""What a sync may take beyond the time it may be held open: a first sync can be slow."""

PAGE_LIMIT = 1000
"""Events asked for at once; Synapse gives at most 1,000 in a page of history."""

EVENT_TYPES = ["m.room.message", "m.room.redaction", "m.room.member", "m.room.tombstone"]

MAX_ANSWERS = 1_000
"""More pongs of one ping than there are servers in any ping room."""

ABSENT = frozenset({"M_NOT_FOUND", "M_FORBIDDEN"})
"""What a homeserver says of an event that is not there, or not for us."""

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Synced:
    """A sync response and when it began to arrive."""

    response: SyncResponse
    arrived_ns: int
    """`clock.now_ns()`"""
    arrived_ts: int


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a room's history, newest first."""

    events: list[Event]
    end: str | None
    """where the next, older page begins; None where there is none"""


class Session:
    """Logged in; made by `Session.open`."""

    def __init__(
        self, client: Client, account: Account, user_id: str, on_login: OnLogin | None
    ) -> None:
        self._client = client
        self._account = account
        self._on_login = on_login
        self._logging_in = asyncio.Lock()
        self.user_id = user_id
        self.server = server_of(user_id) or ""

    @classmethod
    async def open(cls, account: Account, on_login: OnLogin | None = None) -> Self:
        """Log in, or check the access token where there is one.

        `on_login` is told of each login with the password, also of those that a logout makes
        necessary later. Raises AccountError where the homeserver does not accept the account,
        HomeserverError where it can't be asked; both name the variable.
        """
        client = Client(account.homeserver, account.user_id or "")
        try:
            if account.access_token is None:
                await authenticate(client, account)
            else:
                client.access_token = account.access_token
            me = await ask_who_we_are(client, account)
        except BaseException:
            await client.close()
            raise
        client.user_id, client.device_id = me.user_id, me.device_id or ""
        session = cls(client, account, me.user_id, on_login)
        if account.access_token is None and on_login is not None:
            await on_login(client.device_id, client.access_token)
        return session

    async def aclose(self) -> None:
        """Let go of the connections; the login stays."""
        await self._client.close()

    async def join(self, room: str, via: Sequence[str] = ()) -> str:
        """Join a room by alias or ID, also where we are in it already; return its ID.

        Raises ConfigurationError where there is no such room or it does not let us in.
        """
        try:
            joined: JoinResponse = await patiently(
                lambda: self._call(lambda: self._client.join_via(room, via)), on=RateLimitedError
            )
        except HomeserverError as error:
            if error.errcode is None:
                raise
            raise ConfigurationError(
                f"PINGBOARD_ROOMS: {room} can't be joined, the homeserver {error}; "
                "for example PINGBOARD_ROOMS=#ping:maunium.net"
            ) from error
        return str(joined.room_id)

    async def leave(self, room_id: str) -> None:
        """Leave a room."""
        await self._call(lambda: self._client.room_leave(room_id))

    async def joined_members(self, room_id: str) -> list[str]:
        """The user IDs that are in a room now."""
        answer: JoinedMembersResponse = await self._call(
            lambda: self._client.joined_members(room_id)
        )
        return [member.user_id for member in answer.members]

    async def state(self, room_id: str, event_type: str) -> Event | None:
        """The content of a room's state event with an empty key, None where there is none."""
        try:
            answer: RoomGetStateEventResponse = await self._call(
                lambda: self._client.room_get_state_event(room_id, event_type)
            )
        except HomeserverError as error:
            if error.errcode in ABSENT:
                return None
            raise
        return answer.content if isinstance(answer.content, dict) else None

    async def send(self, room_id: str, content: Event, tx_id: str) -> str:
        """Send a message once, without waiting or trying again; return its event ID.

        Raises RateLimitedError and HomeserverError; one without an error code leaves open
        whether it was sent.
        """
        sent: RoomSendResponse = await self._call(
            lambda: self._client.room_send(room_id, "m.room.message", content, tx_id)
        )
        return str(sent.event_id)

    async def event(self, room_id: str, event_id: str) -> Event | None:
        """One event of a room, None where we may not see it or there is none."""
        try:
            found: RoomGetEventResponse = await self._call(
                lambda: self._client.room_get_event(room_id, event_id)
            )
        except HomeserverError as error:
            if error.errcode in ABSENT:
                return None
            raise
        source = found.event.source
        return source if isinstance(source, dict) else None

    async def page(
        self, room_id: str, position: str, until: str | None, limit: int = PAGE_LIMIT
    ) -> Page:
        """The events before a token, none at or before `until`."""
        answer: RoomMessagesResponse = await self._call(
            lambda: self._client.room_messages(
                room_id,
                position,
                until,
                MessageDirection.back,
                limit,
                {"types": EVENT_TYPES, "lazy_load_members": True},
            ),
            2 * CALL_TIMEOUT_S,
        )
        return Page([event.source for event in answer.chunk], answer.end)

    async def answers(self, room_id: str, ping_event_id: str) -> list[Event]:
        """The pongs that are related to a ping, newest first; at most `MAX_ANSWERS`."""
        events: list[Event] = []
        position: str | None = None
        while len(events) < MAX_ANSWERS:
            at = position
            page: RoomEventRelationsResponse = await self._call(
                lambda: self._client.pongs_of(room_id, ping_event_id, at)  # noqa: B023
            )
            events += [event.source for event in page.events]
            position = page.next_batch
            if position is None or not page.events:
                break
        return events[:MAX_ANSWERS]

    async def sync(self, since: str | None, sync_filter: Event, held_ms: int) -> Synced:
        """What happened after a token, held open so long while nothing does."""
        answer: SyncResponse = await self._call(
            lambda: self._client.sync(held_ms, sync_filter, since=since),
            held_ms / 1000 + SYNC_GRACE_S,
        )
        return Synced(answer, self._client.arrived_ns, self._client.arrived_ts)

    async def _call(
        self, call: Callable[[], Awaitable[R | ErrorResponse]], seconds: float = CALL_TIMEOUT_S
    ) -> R:
        """The answer of a call; after a logout, where we have a password, of a second one."""
        token = self._client.access_token
        try:
            return await checked(call(), seconds)
        except AccountError:
            await self._log_in_again(token)
        return await checked(call(), seconds)

    async def _log_in_again(self, refused_token: str | None) -> None:
        """After a soft logout or an expired token: one login, whoever finds it out first.

        With the same device, because transaction IDs are counted by device.
        """
        async with self._logging_in:
            if self._client.access_token not in (None, "", refused_token):
                return
            if self._account.password is None:
                raise AccountError(
                    f"PINGBOARD_ACCESS_TOKEN: {self._account.homeserver} does not accept it any "
                    "more; log in anew, or set PINGBOARD_PASSWORD"
                )
            device_id = self._client.device_id
            await authenticate(
                self._client, dataclasses.replace(self._account, device_id=device_id)
            )
            if self._on_login is not None:
                await self._on_login(self._client.device_id, self._client.access_token)
