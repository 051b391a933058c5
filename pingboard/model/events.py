"""From a room event to a sample, and what one response of the homeserver leads to."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TypeGuard

PONG_TIMEOUT_MS = 600_000
"""A pong counts up to 10 minutes after its ping; later it is lost. pingstat ends at the same
number."""

MAX_ONE_WAY_MS = 2**31 - 1
"""The largest one-way that is stored: 24 days, far beyond what any board takes."""

MAX_VANTAGE_LENGTH = 255

_EVENT_ID = re.compile(r"\$[!-~]{1,254}", re.ASCII)


def is_vantage(text: str) -> bool:
    """Whether it can be the name of the place that a worker pings from."""
    return 1 <= len(text) <= MAX_VANTAGE_LENGTH and text.isprintable()


def is_event_id(value: object) -> TypeGuard[str]:
    """Whether it can be an event ID."""
    return isinstance(value, str) and _EVENT_ID.fullmatch(value) is not None


def hash_event_id(event_id: str) -> int:
    """Return 48 bits that stand for an event ID: enough to find a room's pong, in six bytes."""
    return int.from_bytes(hashlib.sha256(event_id.encode()).digest()[:6])


class Provenance(IntEnum):
    """How a sample came to us; stored as its integer, so the numbers never change."""

    LIVE = 0
    GAP_FILL = 1
    IMPORT = 2


class Rejection(StrEnum):
    """Why a pong does not count. A closed list: an admin looks the reason up."""

    INVALID_SERVER_NAME = "invalid_server_name"
    INVALID_MS = "invalid_ms"
    EDIT_OR_REPLY = "edit_or_reply"
    CONTRADICTORY = "contradictory"
    UNKNOWN_PING = "unknown_ping"
    NOT_A_PING = "not_a_ping"
    FORGED_FROM = "forged_from"
    IMPOSSIBLE_TIME = "impossible_time"
    """Its time, or that of a ping, is before Matrix began or in the future."""
    LATE = "late"
    DUPLICATE = "duplicate"
    IMPLAUSIBLE = "implausible"
    """It counts on `response`, where nothing that it claims matters; its one-way contradicts the
    round trip, and on the other boards it is only as good as its clock."""


class VoidReason(StrEnum):
    """Why a ping of ours measures nothing. A closed list: an operator looks the reason up."""

    LIMITED = "limited"
    """our homeserver limits how often we may send, so it was not sent"""
    REFUSED = "refused"
    """our homeserver did not let us send it, for another reason"""
    RETRIED = "retried"
    """it was not known whether it was sent, so when it was is not either"""
    SLOW = "slow"
    """our homeserver took long to take it, or to show it to us"""
    STALLED = "stalled"
    """our homeserver was held up, or away, while pongs to it could come"""
    MISSED = "missed"
    """we did not see it arrive: it was found in the room's history"""


class RoomState(StrEnum):
    """Whether a room can be measured in, and if not, why."""

    JOINED = "joined"
    UNJOINED = "unjoined"
    """not joined yet; tried again and again"""
    LEFT = "left"
    """kicked, banned, or left by the account elsewhere"""
    DENIED = "denied"
    """joined, but not allowed to send"""
    ENCRYPTED = "encrypted"
    """nothing may be sent in the clear"""
    LOCKED = "locked"
    """the homeserver's admin has locked the account"""
    SUSPENDED = "suspended"
    """the homeserver's admin has suspended the account"""
    RESOURCE_LIMIT = "resource_limit"
    """our homeserver has reached a limit that its admin has set"""
    NO_CONSENT = "no_consent"
    """the account has not agreed to our homeserver's terms"""
    UPGRADED = "upgraded"
    """replaced by a room that names it as its predecessor"""


class WorkerState(StrEnum):
    """How the worker is doing."""

    STARTING = "starting"
    """logged in, and not synced yet"""
    RUNNING = "running"
    UNREACHABLE = "unreachable"
    """the homeserver does not answer, or answers with errors"""
    JOINING = "joining"
    """no room could be joined yet"""
    LOCKED = "locked"
    """the homeserver's admin has locked the account"""
    AUTH = "auth"
    """the homeserver does not accept the account"""
    STOPPED = "stopped"


PingKey = tuple[str, str]
"""Room ID and event ID of a ping."""


@dataclass(frozen=True, slots=True)
class Ping:
    """A `!ping` message in a room."""

    event_id: str
    room_id: str
    server: str
    """the homeserver of its authenticated sender: the ping server"""
    origin_server_ts: int
    """by the ping server's clock; a claim where the server is not ours"""
    seen_ts: int
    """our receipt; for history that we did not see arrive, `origin_server_ts`"""
    vantage: str | None = None
    """the vantage that it was sent from, for our own pings"""
    sent_ts: int | None = None
    """our clock at the send, for our own pings that this process sent and that are not void"""
    is_estimated: bool = False
    """its times follow from a pong's, as of what pingstat kept"""


@dataclass(frozen=True, slots=True)
class Pong:
    """An echo bot's answer to one ping, as it claims it; nothing here is believed yet."""

    event_id: str
    room_id: str
    server: str
    """the homeserver of its authenticated sender: the pong server"""
    ping_event_id: str
    claimed_from: str | None
    """the ping server that its content names"""
    one_way_ms: int
    origin_server_ts: int
    seen_ts: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """A pong that does not count."""

    event_hash: int
    """of its event ID; each counts once under a reason, however often it is told"""
    room_id: str
    server: str
    """the pong server; empty where the sender has no valid server name"""
    reason: Rejection
    seen_ts: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A pong that counts: one ping x one pong server."""

    ping: Ping
    pong: Pong
    round_trip_ms: int | None
    """only for our own pings whose pong we saw arrive"""
    provenance: Provenance = Provenance.LIVE


@dataclass(frozen=True, slots=True)
class Pending:
    """A pong whose ping is not known yet, as long as it can still become known."""

    pong: Pong
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of a room's history that we did not see arrive, to be filled backwards."""

    room_id: str
    position: str
    """the token to go on from"""
    until: str | None
    """the token where it ends; None where it is bounded by `oldest_ts` alone"""
    oldest_ts: int | None
    opened_ts: int
    """our clock when it was found; nothing in it is newer"""
    id: int | None = None
    """None before it is stored"""
    closed_ts: int | None = None
    pongs: int = 0
    """that were found in it and count"""
    fault: str | None = None
    """why it could not be filled, or not yet"""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one response of the homeserver leads to; the store commits it as one transaction."""

    pings: Sequence[Ping] = ()
    samples: Sequence[Sample] = ()
    rejected: Sequence[Rejected] = ()
    expected: Sequence[tuple[Ping, Collection[str]]] = ()
    """pings of ours, with the servers that should answer"""
    voided: Sequence[Ping] = ()
    """pings of ours of which nothing is expected any more"""
    pending: Sequence[Pending] = ()
    no_longer_pending: Sequence[Pong] = ()
    redacted: Sequence[tuple[str, str]] = ()
    """(room ID, event ID)"""
    gaps: Sequence[Gap] = ()
    """opened (no id yet), or filled further"""
    void_rounds: Sequence[tuple[str, VoidReason]] = ()
    """rounds of ours that measured nothing: (vantage, why)"""
