"""What a case is: number, title, the figure wanted, and a function that returns the figure had."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faults.scene import Scene

Act = Callable[["Scene"], Awaitable[str]]
"""Raises `claims.CaseError` where the worker did not do what it should."""

CASES: list[Case] = []


@dataclass(frozen=True, slots=True)
class Case:
    """A fault or an abuse, done to a worker on a stage of its own."""

    number: int
    title: str
    wanted: str
    act: Act
    short: bool
    """whether it takes seconds, so that it runs with the tests"""
    alone: bool
    """whether it and others beside it suffer from each other: it stops or parts the homeservers, or
    waits for round trips, which a worker keeps none of where our homeserver is slow"""

    @property
    def name(self) -> str:
        """Number and function, `12_lost_answer`."""
        return f"{self.number}_{self.act.__name__}"


def case(
    number: int,
    title: str,
    wanted: str,
    *,
    short: bool = True,
    alone: bool = False,
) -> Callable[[Act], Act]:
    """Put a function into the table of cases."""

    def register(act: Act) -> Act:
        CASES.append(Case(number, title, wanted, act, short, alone))
        return act

    return register
