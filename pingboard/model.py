"""What flows through pingboard, from a room event to a board, and the errors.

    room events -> Ping, Pong -> Sample -> (store) -> Standing, Board

Everything here is plain data: no I/O, no clock. Times are either `datetime` (aware, UTC; names
end in `_at` or stand in a `Window`) or Matrix timestamps (`int`, milliseconds since the Unix
epoch; names end in `_ts`). Latencies are `int` milliseconds, names end in `_ms`.

The tree of errors:

    PingboardError
      ConfigurationError      a setting or an argument is wrong; refuse to start
        AccountError          the homeserver does not accept the account
      AccountLostError        the homeserver did accept the account, and does not any more
      HomeserverError         the homeserver can't be reached or answers with an error; passes
        RateLimitedError      it asks to wait
      StoreError              the database can't be opened or is not ours
        LeaseError            another worker writes to it
      UnknownRoomError        no such room in the store
      UnknownHomeserverError  no such homeserver in that room and window
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from typing import NamedTuple

PONG_TIMEOUT_MS = 600_000
"""A pong counts up to 10 minutes after its ping; later it is lost (method: "What makes a pong
count", rule 5). pingstat ends at the same number."""

ONE_WAY_MIN_MS = 10
"""The least one-way claim that a board takes. It is pingstat's, and `delivery` equals pingstat."""

WINDOWS = {
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "90d": timedelta(days=90),
    "365d": timedelta(days=365),
}
"""The windows that can be asked for by name, all ending now."""

DEFAULT_WINDOW = "7d"


class PingboardError(Exception):
    """Something that pingboard tells its user in one line."""


class ConfigurationError(PingboardError):
    """A setting or an argument is wrong; the message names it and gives an example."""


class AccountError(ConfigurationError):
    """The homeserver does not accept the account: wrong password, revoked token, unknown user."""


class AccountLostError(PingboardError):
    """The homeserver turned away an account that it had accepted: logged out, or deactivated."""


class HomeserverError(PingboardError):
    """The homeserver can't be reached or answered with an error; trying again may help.

    `errcode` is the Matrix error code (`M_FORBIDDEN`), None where the answer carried none.
    """

    def __init__(self, message: str, errcode: str | None = None) -> None:
        super().__init__(message)
        self.errcode = errcode


class RateLimitedError(HomeserverError):
    """The homeserver asks to wait `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message, "M_LIMIT_EXCEEDED")
        self.retry_after_s = retry_after_s


class StoreError(PingboardError):
    """The database can't be opened, or is not one of ours."""


class LeaseError(StoreError):
    """Another worker writes to the database; there is one at a time."""


class UnknownRoomError(PingboardError):
    """No room of that alias or ID is configured or has samples."""


class UnknownHomeserverError(PingboardError):
    """Nothing was heard of a homeserver of that name."""


class BoardName(StrEnum):
    """Which number is ranked, and for whom."""

    RESPONSE = "response"
    """pong servers by the round trip of our own pings"""
    DELIVERY = "delivery"
    """ping servers by one-way, pooled over all pongs (pingstat's method)"""
    RECEPTION = "reception"
    """pong servers by one-way, over everybody's pings"""


class Provenance(IntEnum):
    """How a sample came to us; stored as its integer, so the numbers never change."""

    LIVE = 0
    GAP_FILL = 1
    IMPORT = 2


class Rejection(StrEnum):
    """Why a pong does not count. A closed list: an admin looks the reason up."""

    INVALID_SERVER_NAME = "invalid_server_name"
    INVALID_MS = "invalid_ms"
    CONTRADICTORY = "contradictory"
    UNKNOWN_PING = "unknown_ping"
    NOT_A_PING = "not_a_ping"
    FORGED_FROM = "forged_from"
    LATE = "late"
    DUPLICATE = "duplicate"
    IMPLAUSIBLE = "implausible"
    """It counts on `response`, where nothing that it claims matters; its one-way contradicts the
    round trip, and on the other boards it is only as good as its clock."""


class RoomState(StrEnum):
    """Whether a room can be measured in."""

    JOINED = "joined"
    LEFT = "left"
    """kicked, banned, or left by the account elsewhere"""
    DENIED = "denied"
    """joined, but not allowed to send"""
    UPGRADED = "upgraded"
    """replaced by a room that names it as its predecessor"""


class WorkerState(StrEnum):
    """How the worker is doing."""

    RUNNING = "running"
    UNREACHABLE = "unreachable"
    """the homeserver does not answer, or answers with errors"""
    AUTH = "auth"
    """the homeserver does not accept the account any more"""
    STOPPED = "stopped"


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
    """our clock at the send, for our own pings that this process sent"""


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
    """A pong that does not count. Only this much of it is kept, as a count."""

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
    settled: Sequence[Pong] = ()
    """pongs that are pending no longer"""
    redacted: Sequence[tuple[str, str]] = ()
    """(room ID, event ID)"""
    gaps: Sequence[Gap] = ()
    """opened (no id yet), or filled further"""


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open interval [start, end) of pong times, aware UTC datetimes."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("a window has aware datetimes")
        if self.start > self.end:
            raise ValueError("a window starts before it ends")

    @classmethod
    def named(cls, name: str, end: datetime) -> Window:
        """The window of a name in `WINDOWS` that ends at `end`; KeyError for any other name."""
        return cls(end - WINDOWS[name], end)

    @property
    def start_ts(self) -> int:
        """The first timestamp inside, ms since the epoch."""
        return to_ts(self.start)

    @property
    def end_ts(self) -> int:
        """The first timestamp after it, ms since the epoch."""
        return to_ts(self.end)


class Standing(NamedTuple):
    """One row of a board. Latencies in ms; percentiles interpolate linearly between ranks.

    A named tuple, because a board of thousands of frozen dataclasses takes longer to build than
    its samples take to sort.
    """

    rank: int
    homeserver: str
    median_ms: float
    mean_ms: float
    p5_ms: float
    p25_ms: float
    p75_ms: float
    p95_ms: float
    samples: int
    ci95_ms: tuple[float, float] | None = None
    """where the true median lies with at least 95 %; None below 6 samples, which can't say"""
    tied_with_previous: bool = False
    """both have an interval, and they overlap: the ranks of the two may be chance"""
    sent: int | None = None
    """pongs to our own pings that came or are lost; this and the rest on `response` alone"""
    lost: int | None = None
    loss: float | None = None
    """lost / sent; None where nothing was sent"""
    clock_offset_ms: float | None = None
    """how far its clock is ahead of ours; None where no ping of ours says"""
    clock_uncertainty_ms: float | None = None
    """the offset is right to within this; one that is larger is a clock that is wrong"""
    previous_rank: int | None = None
    """its rank in the last edition before the window's end; None where it had none"""


class PingstatRow(NamedTuple):
    """One pong as maubot/pingstat keeps it, in its names and its order."""

    room_id: str
    ping_id: str
    pong_server: str
    ping_server: str
    receive_diff: int
    """one-way, ms"""
    pong_timestamp: int
    """the pong's `origin_server_ts`"""


@dataclass(frozen=True, slots=True)
class Room:
    """A room as the store knows it."""

    room_id: str
    alias: str | None
    samples: int
    last_pong_at: datetime | None


@dataclass(frozen=True, slots=True)
class Board:
    """The ordered standings of one room and one window."""

    room_id: str
    room_alias: str | None
    name: BoardName
    window: Window
    generated_at: datetime
    samples: int
    """of all standings, also those that `limit` or `min_samples` left out"""
    standings: Sequence[Standing]


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_ts(at: datetime) -> int:
    """An aware datetime as a Matrix timestamp: ms since the epoch, rounded up.

    Up, so that `ts >= to_ts(start)` selects no millisecond before a `start` between two.
    """
    since = at - _EPOCH
    return since.days * 86_400_000 + since.seconds * 1000 - -since.microseconds // 1000


def from_ts(ts: int) -> datetime:
    """A Matrix timestamp as an aware UTC datetime; OverflowError beyond the year 9999."""
    return _EPOCH + timedelta(milliseconds=ts)


def month_of(ts: int) -> int:
    """The UTC month of a Matrix timestamp, counted from the year 0: 12 x year + month - 1."""
    at = from_ts(ts)
    return 12 * at.year + at.month - 1


def month_start_ts(month: int) -> int:
    """The first timestamp of a month as `month_of` counts them."""
    return to_ts(datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC))
