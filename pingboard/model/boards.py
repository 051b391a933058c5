"""From samples to a board, and the rooms that they are of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, assert_never

from pingboard.model.times import Window

ONE_WAY_MIN_MS = 10
"""The least one-way claim that a board takes. It is pingstat's, and `delivery` equals pingstat."""


class BoardName(StrEnum):
    """Which number is ranked, and for whom."""

    RESPONSE = "response"
    """pong servers by the round trip of our own pings"""
    DELIVERY = "delivery"
    """ping servers by one-way, pooled over all pongs (pingstat's method)"""
    RECEPTION = "reception"
    """pong servers by one-way, over everybody's pings"""


DEFAULT_BOARD = BoardName.RESPONSE
"""The board that is shown where none is named; where it has no samples, the first that has."""


def describe_board(board: BoardName) -> str:
    """Return which number a board has, as a sentence of Markdown."""
    match board:
        case BoardName.RESPONSE:
            return "Ranked by *response*: the median round trip of our own pings."
        case BoardName.DELIVERY:
            return "Ranked by *delivery*: the median time until their pings reached the bots."
        case BoardName.RECEPTION:
            return "Ranked by *reception*: the median time until pings reached their bot."
        case _:
            assert_never(board)


class ChangeKind(StrEnum):
    """What happened to a homeserver."""

    SLOWER = "slower"
    FASTER = "faster"
    SILENT = "silent"
    BACK = "back"


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
