"""What a case claims of the worker, at once or within a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar, overload

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


@overload
async def until(
    ask: Callable[[], Awaitable[T]],
    within_s: float = ...,
    otherwise: str = ...,
    every_s: float = ...,
) -> T: ...


@overload
async def until(
    ask: Callable[[], T], within_s: float = ..., otherwise: str = ..., every_s: float = ...
) -> T: ...


async def until(
    ask: Callable[[], Any], within_s: float = 240, otherwise: str = "", every_s: float = 0.1
) -> Any:
    """Ask again until the answer is true; `CaseError` when the time is over."""
    answer = None
    try:
        async with asyncio.timeout(within_s):
            while True:
                answer = ask()
                if isinstance(answer, Awaitable):
                    answer = await answer
                if answer:
                    return answer
                await asyncio.sleep(every_s)
    except TimeoutError:
        said = otherwise or f"the last answer is {answer!r}"
        raise CaseError(f"{said}, after {within_s:g} s") from None
