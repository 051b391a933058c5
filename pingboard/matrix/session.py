"""A session with our homeserver: log in, join, send, and one faithful stream of room events.

In: an account and the sync token up to which everything is stored. Out: one `SyncBatch` after the
other. The next is asked for only when the consumer comes back, so what it has not yet committed
is sent again after a crash.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeVar

import stamina
from nio import (
    JoinedMembersResponse,
    JoinResponse,
    RoomGetEventResponse,
    RoomSendResponse,
    SyncResponse,
    WhoamiResponse,
)

from pingboard.matrix.client import Client, checked
from pingboard.model import AccountError, ConfigurationError, HomeserverError, RateLimitedError
from pingboard.servername import server_of

if TYPE_CHECKING:
    from pingboard.matrix.protocol import Event

SYNC_TIMEOUT_MS = 30_000
"""How long our homeserver may hold a sync open when nothing happens."""

CALL_TIMEOUT_S = 30.0
SYNC_GRACE_S = 30.0
"""What a sync may take beyond that: a homeserver's first sync can be slow."""

MAX_BACKOFF_S = 60.0

R = TypeVar("R")


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
    limited: bool
    """whether events before these were left out"""
    prev_batch: str | None


@dataclass(frozen=True, slots=True)
class SyncBatch:
    """One sync response: what happened between two tokens."""

    next_batch: str
    arrived_ns: int
    """`time.monotonic_ns()` of its arrival"""
    arrived_ts: int
    timelines: list[Timeline]
    left_rooms: list[str]
    """rooms that we were kicked or banned from, or left"""


class Session:
    """Logged in; made by `Session.open`."""

    def __init__(self, client: Client, user_id: str, device_id: str | None) -> None:
        self._client = client
        self.user_id = user_id
        self.device_id = device_id
        self.server = server_of(user_id) or ""

    @classmethod
    async def open(cls, account: Account) -> Self:
        """Log in, or check the access token where there is one.

        Raises AccountError where the homeserver does not accept it, HomeserverError where it
        can't be asked; both name the variable.
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
        client.user_id = me.user_id
        client.device_id = me.device_id or ""
        return cls(client, me.user_id, me.device_id)

    @property
    def access_token(self) -> str:
        """The token in use, to be kept after a login with a password."""
        return str(self._client.access_token)

    async def aclose(self) -> None:
        """Let go of the connections; the login stays."""
        await self._client.close()

    async def join(self, room: str) -> str:
        """Join a room by alias or ID, also where we are in it already; return its ID.

        Raises ConfigurationError where there is no such room or it does not let us in.
        """
        try:
            joined: JoinResponse = await _patiently(
                lambda: checked(self._client.join(room), CALL_TIMEOUT_S), on=RateLimitedError
            )
        except HomeserverError as error:
            if error.errcode is None:
                raise
            raise ConfigurationError(
                f"PINGBOARD_ROOMS: {room} can't be joined, the homeserver {error}; "
                "for example PINGBOARD_ROOMS=#ping:maunium.net"
            ) from error
        return str(joined.room_id)

    async def joined_members(self, room_id: str) -> list[str]:
        """The user IDs that are in a room now."""
        answer: JoinedMembersResponse = await checked(
            self._client.joined_members(room_id), CALL_TIMEOUT_S
        )
        return [member.user_id for member in answer.members]

    async def send(self, room_id: str, content: Event, tx_id: str) -> str:
        """Send a message once, without waiting or trying again; return its event ID.

        Raises RateLimitedError and HomeserverError.
        """
        sent: RoomSendResponse = await checked(
            self._client.room_send(room_id, "m.room.message", content, tx_id), CALL_TIMEOUT_S
        )
        return str(sent.event_id)

    async def event(self, room_id: str, event_id: str) -> Event | None:
        """One event of a room, None where we may not see it or there is none."""
        try:
            found: RoomGetEventResponse = await checked(
                self._client.room_get_event(room_id, event_id), CALL_TIMEOUT_S
            )
        except RateLimitedError:
            raise
        except HomeserverError as error:
            if error.errcode in ("M_NOT_FOUND", "M_FORBIDDEN"):
                return None
            raise
        source = found.event.source
        return source if isinstance(source, dict) else None

    async def position(self) -> str:
        """The sync token of now: where a stream without a past begins."""
        first = await _patiently(functools.partial(self._sync, None, _filter([], 1)))
        return str(first.next_batch)

    async def batches(self, since: str, rooms: list[str]) -> AsyncIterator[SyncBatch]:
        """Everything that happens in these rooms (IDs) after `since`, without end.

        Faults of the homeserver are logged and backed off from; AccountError ends the stream.
        """
        sync_filter = _filter(rooms, 1000)
        while True:
            response = await _patiently(functools.partial(self._sync, since, sync_filter))
            since = str(response.next_batch)
            yield SyncBatch(
                next_batch=since,
                arrived_ns=self._client.arrived_ns,
                arrived_ts=self._client.arrived_ts,
                timelines=[
                    Timeline(
                        room_id,
                        [event.source for event in info.timeline.events],
                        info.timeline.limited,
                        info.timeline.prev_batch,
                    )
                    for room_id, info in response.rooms.join.items()
                    if room_id in rooms
                ],
                left_rooms=[room_id for room_id in response.rooms.leave if room_id in rooms],
            )

    async def _sync(self, since: str | None, sync_filter: Event) -> SyncResponse:
        timeout_ms = SYNC_TIMEOUT_MS if since else 0
        return await checked(
            self._client.sync(timeout_ms, sync_filter, since=since),
            timeout_ms / 1000 + SYNC_GRACE_S,
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
                f"PINGBOARD_USER={account.user_id} ({error.errcode})"
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
            f"PINGBOARD_USER is {account.user_id}, but the access token belongs to {me.user_id}"
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
            "state": {"types": [], "lazy_load_members": True},
            "timeline": {"limit": limit, "types": ["m.room.message"]},
        },
    }
