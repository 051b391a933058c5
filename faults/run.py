"""One case from its beginning to its verdict."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

from faults.case import Case
from faults.claims import CaseError
from faults.invariants import check_invariants
from faults.scene import Scene
from faults.stage import Stage
from pingboard.lab import LabError


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a case. `fault` is empty where it passed."""

    case: Case
    figure: str
    fault: str
    seconds: float


async def play(stage: Stage, case: Case) -> Outcome:
    """Act a case out and check what has to hold after it."""
    begin = monotonic()
    figure = ""
    faults: list[str] = []
    with _noted(faults):
        async with Scene(stage) as scene:
            for step in (case.act, check_invariants):
                with _noted(faults):
                    figure = await step(scene) or figure
    return Outcome(case, figure, "; ".join(faults), monotonic() - begin)


@contextmanager
def _noted(faults: list[str]) -> Iterator[None]:
    """Add what goes wrong to the faults: one case's end is not the others'."""
    try:
        yield
    except ExceptionGroup as group:
        faults.append(str(group.exceptions[0]))
    except (CaseError, LabError) as error:
        faults.append(str(error))
    except Exception as error:  # noqa: BLE001 (whatever it is)
        faults.append(f"{type(error).__name__}: {error}")


async def play_all(stage: Stage, cases: Sequence[Case], at_once: int) -> AsyncIterator[Outcome]:
    """Play those that run alone, then the others, some at once; yield outcomes as they come.

    Of the others the last begin first: those of two workers take longest.
    """
    for case in cases:
        if case.alone:
            yield await play(stage, case)
    places = asyncio.Semaphore(at_once)

    async def play_in_turn(case: Case) -> Outcome:
        async with places:
            return await play(stage, case)

    others = [case for case in reversed(cases) if not case.alone]
    for outcome in asyncio.as_completed(
        [asyncio.create_task(play_in_turn(case)) for case in others]
    ):
        yield await outcome
