"""The short form of `make faults`: real homeservers, a real worker, seconds a case."""

from __future__ import annotations

import pytest

from faults import chapters
from faults.case import Case
from faults.run import Outcome, play_all
from faults.stage import Stage

PATIENCE = 12.0
"""Bounds of time are for an idle machine; tests don't depend on its speed."""

AT_ONCE = 8
"""Most of a case is waiting."""

SHORT = [case for case in chapters.cases() if case.short]


@pytest.fixture(scope="module")
async def outcomes() -> dict[Case, Outcome]:
    """What each case came to; a case that fails once has failed."""
    async with Stage(short=True, patience=PATIENCE) as stage:
        return {outcome.case: outcome async for outcome in play_all(stage, SHORT, AT_ONCE)}


@pytest.mark.timeout(3600)  # the first waits for all, beside whatever else the machine does
@pytest.mark.parametrize("case", SHORT, ids=lambda case: case.name)
def test_the_worker_survives(outcomes: dict[Case, Outcome], case: Case) -> None:
    assert not outcomes[case].fault, f"{case.title}: {outcomes[case].fault}"
