"""A session with our homeserver: discover it, log in, join, send, ask; each call bounded in time.

In: an account. Out: what the homeserver answers, and every fault as an exception of ours; what it
tells by itself is `sync`.

Homeservers allow only a few logins an hour, so there are as few as possible. An access token of the
settings is used as it is. With a password, token and device of each login are kept in the store;
only where no token works is the password used again, for the same device, because transaction IDs
are counted by device.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Protocol, Self, TypeVar

from nio import (
    DiscoveryInfoResponse,
    ErrorResponse,
    JoinedMembersResponse,
    JoinedRoomsResponse,
    JoinResponse,
    LoginInfoResponse,
    MessageDirection,
    RoomGetEventResponse,
    RoomGetStateEventResponse,
    RoomMessagesResponse,
    RoomSendResponse,
    SyncResponse,
    UploadFilterResponse,
    WhoamiResponse,
)
from nio.responses import RoomEventRelationsResponse

from pingboard.matrix import clock
from pingboard.matrix.client import CALL_TIMEOUT_S, Client, checked
from pingboard.matrix.protocol import Event
from pingboard.matrix.retry import retry_until_answered
from pingboard.model import (
    AccountError,
    ConfigurationError,
    EncryptedRoomError,
    HomeserverError,
    RateLimitedError,
    RoomState,
    to_ts,
)
from pingboard.servername import server_of
from pingboard.store.ingest import SavedSession

SYNC_GRACE_S = 30.0
"""What a sync may take beyond the time it may be held open: a first sync can be slow."""

JOIN_TIMEOUT_S = 600.0
"""What a join may take: that of a large room, over federation, takes minutes."""

EVENT_TYPES = [
    "m.room.message",
    "m.room.redaction",
    "m.room.member",
    "m.room.tombstone",
    "m.room.encryption",
]

MAX_ANSWERS = 1_000
"""More pongs of one ping than there are servers in any ping room."""

REFUSED_STATES = {
    "M_FORBIDDEN": RoomState.DENIED,
    "M_USER_LOCKED": RoomState.LOCKED,
    "M_USER_SUSPENDED": RoomState.SUSPENDED,
    "M_RESOURCE_LIMIT_EXCEEDED": RoomState.RESOURCE_LIMIT,
    "M_CONSENT_NOT_GIVEN": RoomState.NO_CONSENT,
}
"""What a room is to us where our homeserver refuses a send with one of these error codes."""

ABSENT = frozenset({"M_NOT_FOUND", "M_FORBIDDEN"})
"""What a homeserver says of an event that is not there, or not for us."""

_REFUSED_LOGIN = frozenset({"M_FORBIDDEN", "M_INVALID_USERNAME"})

DISCOVERY_URL = "https://{host}"
"""Where a server name's `/.well-known/matrix/client` is, and its homeserver if there is none."""

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Account:
    """Who we are on which homeserver: a token, or a user ID and a password, or all of them."""

    homeserver: str
    """the address that a client uses, or a server name"""
    user_id: str | None = None
    access_token: str | None = None
    password: str | None = None


class Logins(Protocol):
    """Where logins are kept."""

    async def saved_session(self) -> SavedSession: ...

    async def save_login(self, device_id: str, access_token: str) -> None: ...


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

    def __init__(self, client: Client, account: Account, logins: Logins | None) -> None:
        self._client = client
        self._account = account
        self._logins = logins
        self._logging_in = asyncio.Lock()
        # Pings have connections of their own, so that nothing else takes the open one from them.
        self._ping_client = Client(client.homeserver)
        self._pinging = asyncio.Lock()
        self._is_encrypted: dict[str, bool] = {}
        self.user_id = ""
        self.server = ""

    @classmethod
    async def open(cls, account: Account, logins: Logins | None = None) -> Self:
        """Find the homeserver and log in, or check the access token where there is one.

        `logins` are needed for a password alone. Raises AccountError where the homeserver does not
        accept the account, HomeserverError where it can't be asked; both name the variable.
        """
        session = cls(Client(await find_homeserver(account.homeserver)), account, logins)
        try:
            await session._authenticate()
        except HomeserverError as error:
            await session.aclose()
            raise _name_variable(account, error) from error
        except BaseException:
            await session.aclose()
            raise
        return session

    async def _authenticate(self) -> None:
        """Use the first token that the homeserver accepts, of the settings or of the last login."""
        kept = await self._logins.saved_session() if self._logins is not None else None
        self._client.device_id = (kept.device_id if kept is not None else None) or ""
        refusal: AccountError | None = None
        for token in (self._account.access_token, kept.access_token if kept is not None else None):
            if token is None or (refusal is not None and self._account.password is None):
                continue
            self._client.access_token = token
            try:
                await self._learn_who_we_are()
            except AccountError as error:
                refusal = error
            else:
                return
        if self._account.password is None:
            raise AccountError(
                f"PINGBOARD_ACCESS_TOKEN: {self._account.homeserver} does not accept it ({refusal})"
            )
        await self._log_in()
        await self._learn_who_we_are()

    async def _learn_who_we_are(self) -> None:
        me: WhoamiResponse = await checked(self._client.whoami(), CALL_TIMEOUT_S)
        if self._account.user_id not in (None, me.user_id):
            raise ConfigurationError(
                "PINGBOARD_USER is not the user whom PINGBOARD_ACCESS_TOKEN belongs to; leave it "
                "out, or take the token of that user"
            )
        self.user_id, self.server = me.user_id, server_of(me.user_id) or ""

    async def _log_in(self) -> None:
        """Log in with the password, on the device that we had if we had one; keep the login."""
        self._client.access_token = ""
        await self._require_password_login()
        self._client.user = self._account.user_id or self.user_id
        try:
            await checked(
                self._client.login(self._account.password, device_name="pingboard"), CALL_TIMEOUT_S
            )
        except (AccountError, HomeserverError) as error:
            is_refusal = isinstance(error, AccountError) or error.errcode in _REFUSED_LOGIN
            if not is_refusal:
                raise
            raise AccountError(
                f"PINGBOARD_PASSWORD: {self._account.homeserver} does not accept it for "
                f"PINGBOARD_USER ({error})"
            ) from error
        if self._logins is not None:
            await self._logins.save_login(self._client.device_id, self._client.access_token)

    async def _require_password_login(self) -> None:
        """Ask which ways to log in there are, before a password is sent."""
        flows = await read_login_flows(self._client)
        if "m.login.password" not in flows:
            raise ConfigurationError(
                f"PINGBOARD_PASSWORD: {self._account.homeserver} has no login with a password "
                f"({', '.join(flows) or 'nor any other'}); set PINGBOARD_ACCESS_TOKEN instead, "
                "which a client shows in its settings, or the homeserver on the account's page"
            )

    async def aclose(self) -> None:
        """Let go of the connections; the login stays."""
        await self._client.close()
        await self._ping_client.close()

    async def join(self, room: str, via: Sequence[str] = ()) -> str:
        """Join a room by alias or ID, also where we are in it already; return its ID.

        It can take minutes. Raises HomeserverError where it can't be joined, or not yet.
        """
        joined: JoinResponse = await retry_until_answered(
            lambda: self._call(lambda: self._client.join_via(room, via), JOIN_TIMEOUT_S),
            on=RateLimitedError,
        )
        return str(joined.room_id)

    async def leave(self, room_id: str) -> None:
        await self._call(lambda: self._client.room_leave(room_id))

    async def joined_rooms(self) -> list[str]:
        """The IDs of the rooms that the account is in."""
        answer: JoinedRoomsResponse = await self._call(self._client.joined_rooms)
        return list(answer.rooms)

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

        Raises EncryptedRoomError, RateLimitedError and HomeserverError; one without an error code
        leaves open whether it was sent.
        """
        await self._require_clear(room_id)
        sent: RoomSendResponse = await self._call(
            lambda: self._client.room_send(room_id, "m.room.message", content, tx_id)
        )
        return str(sent.event_id)

    async def send_ping(
        self, room_id: str, content: Event, tx_id: str, on_sending: Callable[[], None]
    ) -> str:
        """Send a ping as `send` does, over a connection that is open, with a token that works.

        `on_sending` is called just before the request: from then on no DNS, TCP, TLS or login
        lengthens a round trip.
        """
        await self._require_clear(room_id)
        async with self._pinging:
            await self._call(self._warm_up)
            connections = self._ping_client.connections
            on_sending()
            try:
                sent: RoomSendResponse = await checked(
                    self._ping_client.room_send(room_id, "m.room.message", content, tx_id),
                    CALL_TIMEOUT_S,
                )
            except AccountError as error:
                await self._log_in_again(self._ping_client.access_token)
                raise HomeserverError("had ended our login", "M_UNKNOWN_TOKEN") from error
            if self._ping_client.connections != connections:
                # aiohttp has repeated it by itself: when it was sent is not known.
                raise HomeserverError("closed the connection while a ping was sent")
        return str(sent.event_id)

    async def _warm_up(self) -> WhoamiResponse | ErrorResponse:
        """Use the pings' connection; servers close one that is idle for seconds to minutes."""
        self._ping_client.access_token = self._client.access_token
        return await self._ping_client.whoami()

    async def is_encrypted(self, room_id: str) -> bool:
        """Whether a room is encrypted, which can't be undone: nothing may be sent there."""
        if room_id not in self._is_encrypted:
            encryption = await self.state(room_id, "m.room.encryption")
            self._is_encrypted.setdefault(room_id, encryption is not None)
        return self._is_encrypted[room_id]

    async def _require_clear(self, room_id: str) -> None:
        if await self.is_encrypted(room_id):
            raise EncryptedRoomError

    def _notice_encryption(self, response: SyncResponse) -> None:
        """Remember the rooms that became encrypted."""
        for room_id, room in response.rooms.join.items():
            for event in (*room.state, *room.timeline.events):
                if event.source.get("type") == "m.room.encryption" and "state_key" in event.source:
                    self._is_encrypted[room_id] = True

    async def event(self, room_id: str, event_id: str) -> Event | None:
        """One event of a room, None where we may not see it or there is none."""
        try:
            answer: RoomGetEventResponse = await self._call(
                lambda: self._client.room_get_event(room_id, event_id)
            )
        except HomeserverError as error:
            if error.errcode in ABSENT:
                return None
            raise
        source = answer.event.source
        return source if isinstance(source, dict) else None

    async def page(self, room_id: str, position: str, until: str | None, limit: int) -> Page:
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

    async def upload_filter(self, sync_filter: Event) -> str:
        """Keep a sync filter at our homeserver; return its ID."""
        uploaded: UploadFilterResponse = await self._call(
            lambda: self._client.upload_filter(**sync_filter)
        )
        return str(uploaded.filter_id)

    async def sync(self, since: str | None, sync_filter: Event | str, held_ms: int) -> Synced:
        """What happened after a token, held open so long while nothing does.

        The filter is given whole, or by the ID of an uploaded one.
        """
        answer: SyncResponse = await self._call(
            lambda: self._client.sync(held_ms, sync_filter, since=since),
            held_ms / 1000 + SYNC_GRACE_S,
        )
        self._notice_encryption(answer)
        return Synced(answer, self._client.arrived_ns, self._client.arrived_ts)

    def agreed_ts(self) -> int:
        """Return what both clocks say is past, ours and our homeserver's, ms since the epoch.

        For what can't be undone: one of them may have been set ahead.
        """
        now_ts = clock.now_ts()
        try:
            date = parsedate_to_datetime(self._client.date).replace(tzinfo=UTC)
        except ValueError:  # our homeserver sends none
            return now_ts
        since_ms = (clock.now_ns() - self._client.dated_ns) // 1_000_000
        return min(now_ts, to_ts(date) + since_ms)

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
        """After a soft logout or an expired token: one login, whoever finds it out first."""
        async with self._logging_in:
            if self._client.access_token not in (None, "", refused_token):
                return
            if self._account.password is None:
                raise AccountError(
                    f"PINGBOARD_ACCESS_TOKEN: {self._account.homeserver} does not accept it any "
                    "more; log in again, or set PINGBOARD_PASSWORD"
                )
            await self._log_in()


async def find_homeserver(homeserver: str) -> str:
    """The address that a client uses: as it is set, or discovered from a server name.

    As the specification says ("Server Discovery"), but for a `/.well-known` that can't be used:
    the server's own name is then tried too, as where there is none.
    """
    if "://" in homeserver:
        return homeserver
    host, _, port = homeserver.rpartition(":")
    own = DISCOVERY_URL.format(host=host if port.isdigit() else homeserver)
    client = Client(own, follows_redirects=True)
    try:
        discovery: DiscoveryInfoResponse = await checked(client.discovery_info(), CALL_TIMEOUT_S)
    except (HomeserverError, AccountError):
        return own
    finally:
        await client.close()
    return str(discovery.homeserver_url)


async def read_login_flows(client: Client) -> list[str]:
    """Return the ways to log in that a homeserver offers; [] where it has none of its own."""
    try:
        offer: LoginInfoResponse = await checked(client.login_info(), CALL_TIMEOUT_S)
    except HomeserverError as error:
        if error.errcode != "M_UNRECOGNIZED":
            raise
        return []
    return [str(flow) for flow in offer.flows]


def _name_variable(account: Account, error: HomeserverError) -> HomeserverError:
    if isinstance(error, RateLimitedError):
        return RateLimitedError(f"{account.homeserver} {error}", error.retry_after_s)
    return HomeserverError(
        f"PINGBOARD_HOMESERVER: {account.homeserver} {error}; it is a server name or the address "
        "that a client uses, for example PINGBOARD_HOMESERVER=https://matrix.example.org",
        error.errcode,
    )
