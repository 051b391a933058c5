"""What the model keeps of a ping and of its pongs."""

from __future__ import annotations

from dataclasses import dataclass, field

from pingboard.model import PONG_TIMEOUT_MS, Ping

UNSEEN_TS = -1
"""Of a pong that nobody saw arrive."""


@dataclass
class PongRecord:
    """A pong that counts."""

    server: str
    one_way_ms: int
    round_trip_ms: int | None
    seen_ts: int
    """or UNSEEN_TS, until its ping says where that can have been"""
    origin_server_ts: int
    provenance: str
    event_hash: int | None


@dataclass
class PingRecord:
    """A ping, and what came of it."""

    room_id: str
    event_id: str
    server: str
    origin_server_ts: int
    seen_ts: int
    vantage: str | None
    sent_ts: int | None
    is_estimated: bool
    """its times are concluded from a pong's"""
    is_retired: bool = False
    """single events of its hour are not kept any more; boards stay as they are"""
    pongs: dict[str, PongRecord] = field(default_factory=dict)
    expected: set[str] = field(default_factory=set)
    withdrawn: set[str] = field(default_factory=set)
    """servers whose pong was redacted"""

    def knows_less(self, other: Ping | PingRecord, *, knows_sends: bool = True) -> bool:
        """Return whether another account of the ping is fuller.

        `knows_sends`: that one knows when ours was sent better than this one, where this does not.
        """
        fullness, others = (
            0 if ping.is_estimated else 1 + (ping.vantage is not None) + (ping.sent_ts is not None)
            for ping in (self, other)
        )
        if not knows_sends and not other.is_estimated:
            others = 1 + (other.vantage is not None)
        return fullness < others


def numbers_of(pong: PongRecord) -> tuple[object, ...]:
    """Return what boards are made of."""
    return pong.server, pong.one_way_ms, pong.round_trip_ms, pong.seen_ts


def replace_unmeasured(ping: PingRecord, pong: PongRecord) -> None:
    """Make room for another account of a pong, if only that has its round trip."""
    known = ping.pongs.get(pong.server)
    is_measured = ping.vantage is not None and pong.round_trip_ms is not None
    if known is not None and known.round_trip_ms is None and is_measured:
        del ping.pongs[pong.server]


def add_pong(ping: PingRecord, pong: PongRecord) -> None:
    """Keep a pong, unless its server has one or took one back."""
    known = ping.pongs.get(pong.server)
    if known is not None and known.event_hash is None and _is_same(known, pong):
        known.event_hash = pong.event_hash
    if known is not None or pong.server in ping.withdrawn:
        return
    ping.pongs[pong.server] = pong
    ping.expected.discard(pong.server)
    place_pong(ping, pong)


def is_later_history(known: PongRecord, pong: PongRecord) -> bool:
    """Return whether what is known was fetched, and was sent after this one."""
    is_other = known.event_hash not in (None, pong.event_hash)
    return is_other and known.provenance == "gap_fill" and known.seen_ts > pong.seen_ts


def _is_same(known: PongRecord, pong: PongRecord) -> bool:
    """Return whether an imported pong, whose event is not known, is one that now is heard."""
    return (known.one_way_ms, known.origin_server_ts) == (pong.one_way_ms, pong.origin_server_ts)


def place_pong(ping: PingRecord, pong: PongRecord) -> None:
    """Put a pong near its ping: where nobody saw it arrive, behind it as its own time says."""
    earliest_ts, latest_ts = ping.seen_ts - PONG_TIMEOUT_MS, ping.seen_ts + PONG_TIMEOUT_MS
    ts = pong.seen_ts
    if ts == UNSEEN_TS:
        earliest_ts, ts = ping.seen_ts, pong.origin_server_ts
    pong.seen_ts = min(max(ts, earliest_ts), latest_ts)


def as_ping(record: PingRecord) -> Ping:
    """Return the ping as the store is told of it."""
    return Ping(
        record.event_id, record.room_id, record.server, record.origin_server_ts, record.seen_ts,
        record.vantage, record.sent_ts, record.is_estimated,
    )  # fmt: skip
