"""Does this pong count, and if not, why? Pure: the rules of the method, in their order.

The content's own faults were found while reading it (`protocol`), and that a pong server's second
pong for a ping is dropped is the store's key. What is left is what needs the ping.
"""

from __future__ import annotations

from pingboard.model import PONG_TIMEOUT_MS, Ping, Pong, Rejection


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
