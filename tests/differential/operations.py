"""What can happen to a store, and what can be asked of it.

Plain data, so that a run can be printed, shortened and repeated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from pingboard.model import Batch

Row = dict[str, Any]
"""of a file that is imported"""


class Call(NamedTuple):
    """A method that the store and the model both have, and its arguments."""

    name: str
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Step:
    """One operation, our clock meanwhile, and what is asked afterwards."""

    now_ts: int
    operation: Call
    questions: tuple[Call, ...] = ()


def shorten(operation: Call) -> list[Call]:
    """The operation with less in it, in each way that leaves something."""
    name, arguments = operation
    shorter: list[Any] = []
    if name == "hear":
        batch: Batch = arguments[0]
        shorter = [
            replace(batch, **{part: [*rows[:at], *rows[at + 1 :]]})
            for part in ("samples", "pings", "expected", "redacted", "voided")
            for rows in [getattr(batch, part)]
            for at in range(len(rows))
        ]
    elif name in ("import_pingstat", "import_export") and len(arguments[0]) > 1:
        rows = arguments[0]
        shorter = [[*rows[:at], *rows[at + 1 :]] for at in range(len(rows))]
    return [Call(name, (less, *arguments[1:])) for less in shorter]
