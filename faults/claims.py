"""What a case claims of the worker, at once or within a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class CaseError(AssertionError):
    """The worker did not do what the case wants; the message says what it did."""


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
