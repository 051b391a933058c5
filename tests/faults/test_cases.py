"""The short form of `make faults`: real homeservers, a real worker, seconds a case."""

from __future__ import annotations

import re

import pytest

from faults import chapters
from faults.case import Case
from faults.run import Outcome, play, play_all
from faults.stage import Stage

PATIENCE = 4.0
"""Bounds of time are for an idle machine; tests don't depend on its speed."""

AT_ONCE = 8
"""Most of a case is waiting."""

SHORT = [case for case in chapters.cases() if case.short]

LOSS = re.compile("samples (lost|wrong)")

MOST_REPEATED = 4
"""Cases; where more fail it is not the machine."""


@pytest.fixture(scope="module")
async def outcomes() -> dict[Case, Outcome]:
    """What each case came to; of a few that failed among the others, what they came to alone.

    Beside all other tests a machine can be too busy for a case; but however busy it is, nothing
    may be lost, so that is not tried again. `make faults` repeats none.
    """
    async with Stage(short=True, patience=PATIENCE) as stage:
        first = {one.case: one async for one in play_all(stage, SHORT, AT_ONCE)}
        late = [one.case for one in first.values() if one.fault and not LOSS.search(one.fault)]
        if len(late) > MOST_REPEATED:
            return first
        return first | {case: await play(stage, case) for case in late}


@pytest.mark.timeout(600)  # the first waits for all
@pytest.mark.parametrize("case", SHORT, ids=lambda case: case.name)
def test_the_worker_survives(outcomes: dict[Case, Outcome], case: Case) -> None:
    assert not outcomes[case].fault, f"{case.title}: {outcomes[case].fault}"
