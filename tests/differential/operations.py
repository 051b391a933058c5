"""What can happen to a store, and what can be asked of it.

Plain data, so that a run can be printed, shortened and repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from pingboard.model import Batch

Row = dict[str, Any]
"""of a file that is imported"""


@dataclass(frozen=True)
class Join:
    """The worker joins a room."""

    room_id: str
    alias: str | None = None


@dataclass(frozen=True)
class Upgrade:
    """The worker follows a room to the one that replaces it."""

    old: str
    new: str
    alias: str | None = None


@dataclass(frozen=True)
class Hear:
    """The worker commits what one response of its homeserver leads to."""

    batch: Batch
    looks_up: bool = False
    """the pings of the samples are not in the worker's memory: it takes them from the store"""


@dataclass(frozen=True)
class ImportPingstat:
    """Somebody imports a pingstat's `stats.raw.json`."""

    rows: Sequence[Row]


@dataclass(frozen=True)
class ImportExport:
    """Somebody imports what another pingboard exported."""

    rows: Sequence[Row]


@dataclass(frozen=True)
class ImportOwnExport:
    """Somebody exports everything and imports it again, which changes nothing."""


@dataclass(frozen=True)
class CloseHours:
    """The worker closes the hours that are over."""


@dataclass(frozen=True)
class Retain:
    """The worker drops what is older than is kept."""

    before_ts: int


@dataclass(frozen=True)
class Restart:
    """The worker ends and starts again."""


@dataclass(frozen=True)
class RestartReader:
    """The API ends and starts again."""


Operation = (
    Join
    | Upgrade
    | Hear
    | ImportPingstat
    | ImportExport
    | ImportOwnExport
    | CloseHours
    | Retain
    | Restart
    | RestartReader
)


class Span(NamedTuple):
    """A half-open window of pong times, Matrix timestamps."""

    start_ts: int
    end_ts: int


@dataclass(frozen=True)
class AskBoards:
    """All boards of a room and window."""

    room_id: str
    span: Span
    min_samples: int = 1
    limit: int | None = None


@dataclass(frozen=True)
class AskPairs:
    """The matrix of ping and pong servers."""

    room_id: str
    span: Span


@dataclass(frozen=True)
class AskHistory:
    """A homeserver's latencies and losses over time, for each board."""

    room_id: str
    span: Span
    homeserver: str
    step_s: int


@dataclass(frozen=True)
class AskExport:
    """All that is kept of single samples; `room_id` None asks for all rooms."""

    room_id: str | None
    span: Span


@dataclass(frozen=True)
class AskSamples:
    """The stream of samples, in pages."""

    room_id: str
    span: Span
    ping_server: str | None
    pong_server: str | None
    page_rows: int


@dataclass(frozen=True)
class AskPingstat:
    """The rows of a pingstat document, in its order; both ends are inside."""

    room_id: str
    oldest_ts: int
    newest_ts: int


@dataclass(frozen=True)
class AskRooms:
    """Every room, with how many samples it has and when the last pong came."""


@dataclass(frozen=True)
class AskDuplicates:
    """How many pongs of each server were not its first for a ping."""


@dataclass(frozen=True)
class AskAnswered:
    """Who answered a ping of ours since then."""

    room_id: str
    since_ts: int


@dataclass(frozen=True)
class AskPings:
    """What is known of pings, for the worker to judge their pongs by."""

    room_id: str
    event_ids: tuple[str, ...]


Question = (
    AskBoards
    | AskPairs
    | AskHistory
    | AskExport
    | AskSamples
    | AskPingstat
    | AskRooms
    | AskDuplicates
    | AskAnswered
    | AskPings
)


@dataclass(frozen=True)
class Step:
    """One operation, our clock meanwhile, and what is asked afterwards."""

    now_ts: int
    operation: Operation
    questions: tuple[Question, ...] = ()


def shorten(operation: Operation) -> list[Operation]:
    """The operation with less in it, in each way that leaves something."""
    if isinstance(operation, Hear):
        batch = operation.batch
        return [
            replace(operation, batch=replace(batch, **{name: [*parts[:at], *parts[at + 1 :]]}))
            for name in ("samples", "pings", "expected", "redacted", "voided")
            for parts in [getattr(batch, name)]
            for at in range(len(parts))
        ]
    if isinstance(operation, ImportPingstat | ImportExport):
        rows = operation.rows
        return [
            replace(operation, rows=[*rows[:at], *rows[at + 1 :]])
            for at in range(len(rows))
            if len(rows) > 1
        ]
    return []
