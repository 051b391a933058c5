"""A session with our homeserver: log in, join, send, and one faithful stream of room events.

In: an account and the sync token up to which everything is stored. Out: one `SyncBatch` after the
other. The next is asked for only when the consumer comes back, so what it has not yet committed
is sent again after a crash.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeVar

import stamina
from nio import (
    ErrorResponse,
    JoinedMembersResponse,
    JoinResponse,
    MessageDirection,
    RoomGetEventResponse,
    RoomGetStateEventResponse,
    RoomInfo,
    RoomMessagesResponse,
    RoomSendResponse,
    SyncResponse,
    WhoamiResponse,
)
from nio.responses import RoomEventRelationsResponse

from pingboard.matrix.client import Client, checked
from pingboard.model import AccountError, ConfigurationError, HomeserverError, RateLimitedError
from pingboard.servername import server_of

if TYPE_CHECKING:
    from pingboard.matrix.protocol import Event

CALL_TIMEOUT_S = 30.0
SYNC_GRACE_S = 30.0
"""What a sync may take beyond the time it may be held open: a first sync can be slow."""

STALL_S = 2.0
"""Our own homeserver answers within this when it is well. What comes later was held up there, and
says nothing about the servers that answered."""

TIMELINE_LIMIT = 1000
"""Events asked for at once; Synapse gives at most 100 in a sync and 1,000 in a page of history."""

MAX_BACKOFF_S = 60.0

MAX_ANSWERS = 1_000
"""More pongs of one ping than there are servers in any ping room."""

EVENT_TYPES = ["m.room.message", "m.room.redaction", "m.room.member", "m.room.tombstone"]

ABSENT = frozenset({"M_NOT_FOUND", "M_FORBIDDEN"})
"""What a homeserver says of an event that is not there, or not for us."""

R = TypeVar("R")
OnLogin = Callable[[str, str], Awaitable[None]]
"""Told the device ID and the access token of a new login."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who we are on which homeserver; a token, or a user ID and a password."""

    homeserver: str
    user_id: str | None = None
    access_token: str | None = None
    password: str | None = None
    device_id: str | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """New events of a joined room, oldest first."""

    room_id: str
    events: list[Event]
    state: list[Event]
    """state that changed among the events left out"""
    limited: bool
    """whether events before these were left out"""
    prev_batch: str | None


@dataclass(frozen=True, slots=True)
class SyncBatch:
    """One sync response: what happened between two tokens."""

    since: str | None
    next_batch: str
    arrived_ns: int
    """`time.monotonic_ns()` of its arrival"""
    arrived_ts: int
    stalled: bool
    """whether our homeserver held it up, or failed before it: no arrival in it is a measurement"""
    timelines: list[Timeline]
    left_rooms: list[str]
    """rooms that we were kicked or banned from, or left"""


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
                await _log_in(client, account)
            else:
                client.access_token = account.access_token
            me = await _ask_who_we_are(client, account)
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
            joined: JoinResponse = await _patiently(
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

    async def page(self, room_id: str, position: str, until: str | None) -> Page:
        """The events before a token, at most `TIMELINE_LIMIT`, none at or before `until`."""
        answer: RoomMessagesResponse = await self._call(
            lambda: self._client.room_messages(
                room_id,
                position,
                until,
                MessageDirection.back,
                TIMELINE_LIMIT,
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

    async def position(self) -> str:
        """The sync token of now: where a stream without a past begins."""
        first = await _patiently(functools.partial(self._sync, None, _filter([], 1), 0))
        return str(first.next_batch)

    async def batches(
        self, since: str | None, rooms: list[str], hold_ms: Callable[[], int]
    ) -> AsyncIterator[SyncBatch]:
        """Everything that happens in these rooms (IDs) after `since`, without end.

        Without `since`, the first batch is the present state, every timeline limited. `rooms`
        may be changed on the way; `hold_ms` is asked each time how long our homeserver may hold
        the next sync open while nothing happens. Faults of the homeserver are logged and backed
        off from; AccountError ends the stream.
        """
        while True:
            limit, held_ms = (TIMELINE_LIMIT, hold_ms()) if since else (1, 0)
            asked_ns = time.monotonic_ns()
            sync = functools.partial(self._sync, since, _filter(rooms, limit), held_ms)
            response = await _patiently(sync)
            arrived_ns = self._client.arrived_ns
            yield SyncBatch(
                since=since,
                next_batch=str(response.next_batch),
                arrived_ns=arrived_ns,
                arrived_ts=self._client.arrived_ts,
                stalled=arrived_ns - asked_ns > (held_ms / 1000 + STALL_S) * 1e9,
                timelines=[
                    _timeline(room_id, info)
                    for room_id, info in response.rooms.join.items()
                    if room_id in rooms
                ],
                left_rooms=[room_id for room_id in response.rooms.leave if room_id in rooms],
            )
            since = str(response.next_batch)

    async def _sync(self, since: str | None, sync_filter: Event, held_ms: int) -> SyncResponse:
        answer: SyncResponse = await self._call(
            lambda: self._client.sync(held_ms, sync_filter, since=since),
            held_ms / 1000 + SYNC_GRACE_S,
        )
        return answer

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
            await _log_in(self._client, dataclasses.replace(self._account, device_id=device_id))
            if self._on_login is not None:
                await self._on_login(self._client.device_id, self._client.access_token)


def _timeline(room_id: str, info: RoomInfo) -> Timeline:
    return Timeline(
        room_id,
        [event.source for event in info.timeline.events],
        [event.source for event in info.state],
        info.timeline.limited,
        info.timeline.prev_batch,
    )


async def _log_in(client: Client, account: Account) -> None:
    if account.device_id:
        client.device_id = account.device_id
    try:
        await checked(client.login(account.password, device_name="pingboard"), CALL_TIMEOUT_S)
    except HomeserverError as error:
        if error.errcode in ("M_FORBIDDEN", "M_USER_DEACTIVATED", "M_INVALID_USERNAME"):
            raise AccountError(
                f"PINGBOARD_PASSWORD: {account.homeserver} does not accept it for "
                f"PINGBOARD_USER ({error.errcode})"
            ) from error
        raise _unreachable(account, error) from error


async def _ask_who_we_are(client: Client, account: Account) -> WhoamiResponse:
    try:
        me: WhoamiResponse = await checked(client.whoami(), CALL_TIMEOUT_S)
    except AccountError as error:
        raise AccountError(
            f"PINGBOARD_ACCESS_TOKEN: {account.homeserver} does not accept it ({error})"
        ) from error
    except HomeserverError as error:
        raise _unreachable(account, error) from error
    if account.user_id and me.user_id != account.user_id:
        raise AccountError(
            "PINGBOARD_USER is not the user whom PINGBOARD_ACCESS_TOKEN belongs to; leave it out, "
            "or take the token of that user"
        )
    return me


def _unreachable(account: Account, error: HomeserverError) -> HomeserverError:
    return HomeserverError(
        f"PINGBOARD_HOMESERVER: {account.homeserver} {error}; it is the address that a client "
        "uses, for example PINGBOARD_HOMESERVER=https://matrix.example.org",
        error.errcode,
    )


async def _patiently(
    call: Callable[[], Awaitable[R]], on: type[HomeserverError] = HomeserverError
) -> R:
    """The answer of a call, asked for again after each error of the kind `on`, without end.

    Pauses grow to a minute and are jittered, so that a homeserver that comes back is not met by
    all its clients at once; where it says how long to wait, it is that long.
    """

    def pause(error: Exception) -> bool | float:
        if isinstance(error, RateLimitedError):
            return error.retry_after_s
        return isinstance(error, on)

    async for attempt in stamina.retry_context(
        on=pause, attempts=None, timeout=None, wait_initial=1.0, wait_max=MAX_BACKOFF_S
    ):
        with attempt:
            return await call()
    raise AssertionError("attempts are unlimited")


def _filter(rooms: list[str], limit: int) -> Event:
    """A tight filter: whatever else a homeserver can send costs time, and can break the parser."""
    nothing: Event = {"types": []}
    return {
        "presence": nothing,
        "account_data": nothing,
        "room": {
            "rooms": rooms,
            "account_data": nothing,
            "ephemeral": nothing,
            "state": {"types": ["m.room.tombstone"], "lazy_load_members": True},
            "timeline": {"limit": limit, "types": EVENT_TYPES},
        },
    }
