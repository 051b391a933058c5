"""What a case is: number, title, the figure wanted, and a function that returns the figure had.

A case raises `CaseError` where the worker did not do what it should.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from faults.scene import Scene

Act = Callable[["Scene"], Awaitable[str]]
T = TypeVar("T")

CASES: list[Case] = []


class CaseError(AssertionError):
    """The worker did not do what the case wants; the message says what it did."""


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
    """whether others beside it suffer from it, or its figure from them"""

    @property
    def name(self) -> str:
        """Number and function, `12_lost_answer`."""
        return f"{self.number}_{self.act.__name__}"


def case(
    number: int, title: str, wanted: str, *, short: bool = True, alone: bool = False
) -> Callable[[Act], Act]:
    """Put a function into the table of cases."""

    def register(act: Act) -> Act:
        CASES.append(Case(number, title, wanted, act, short, alone))
        return act

    return register


def expect(claim: object, otherwise: str) -> None:
    """Raise `CaseError` unless the claim holds."""
    if not claim:
        raise CaseError(otherwise)


def now_ts() -> int:
    """The wall clock, ms since the epoch, as the worker's samples have it."""
    return time.time_ns() // 1_000_000


async def run_program(*command: str | Path, **options: Any) -> None:
    """Run a program to its end; `CaseError` with what it said where it failed."""
    process = await asyncio.create_subprocess_exec(
        *command, stderr=asyncio.subprocess.PIPE, **options
    )
    _, stderr = await process.communicate()
    expect(process.returncode == 0, f"{command[0]}: {stderr.decode().strip()}")


async def until(
    ask: Callable[[], Awaitable[T]], within_s: float, otherwise: str, every_s: float = 0.1
) -> T:
    """Ask again until the answer is true; `CaseError` when the time is over."""
    try:
        async with asyncio.timeout(within_s):
            while not (answer := await ask()):  # noqa: ASYNC110 (other processes decide)
                await asyncio.sleep(every_s)
            return answer
    except TimeoutError:
        raise CaseError(f"{otherwise}, after {within_s:g} s") from None
