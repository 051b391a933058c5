"""Does this pong count, and if not, why? Pure; the reason is the first rule broken.

The content's own faults were found while reading it (`protocol`), and that a pong server's second
pong for a ping is dropped is the store's key. What is left is what needs the ping.
"""

from __future__ import annotations

from pingboard.model import PONG_TIMEOUT_MS, Ping, Pong, Rejection, Sample

CLOCK_STEP_MS = 100
"""How far two times of one homeserver, or of its bot beside it, may contradict each other."""


def verify(pong: Pong, ping: Ping | None) -> Rejection | None:
    """Why a pong does not count, None where it does; `ping` is the one that it names, if known.

    The ping server is the one of the ping's own authenticated sender: a pong that says otherwise
    is a lie, whoever gains by it.
    """
    if ping is None or ping.room_id != pong.room_id:
        return Rejection.UNKNOWN_PING
    if pong.claimed_from is not None and pong.claimed_from != ping.server:
        return Rejection.FORGED_FROM
    if pong.seen_ts - ping.seen_ts > PONG_TIMEOUT_MS:
        return Rejection.LATE
    return None


def is_implausible(sample: Sample) -> bool:
    """Whether the one-way that a pong claims contradicts what we measured ourselves.

    A ping is not longer under way than there and back; a bot has not seen it after its homeserver
    sent the answer; and one that says it saw it at once (in under a tenth of the round trip), and
    then held the answer back for two fifths of it, has more likely a wrong clock, or a wish. False
    where we measured nothing.
    """
    if sample.round_trip_ms is None:
        return False
    round_trip_ms, one_way_ms = sample.round_trip_ms, sample.pong.one_way_ms
    held_ms = sample.pong.origin_server_ts - (sample.ping.origin_server_ts + one_way_ms)
    return (
        one_way_ms > round_trip_ms + CLOCK_STEP_MS
        or held_ms < -CLOCK_STEP_MS
        or (10 * one_way_ms < round_trip_ms and 5 * held_ms > 2 * round_trip_ms > 2 * CLOCK_STEP_MS)
    )
