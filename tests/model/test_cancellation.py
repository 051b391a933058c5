"""Work that nobody waits for any more ends between its parts."""

from __future__ import annotations

import asyncio

import pytest

from pingboard.model.cancellation import AbandonedError, abandoned_when, raise_if_abandoned


def test_work_goes_on_as_long_as_somebody_waits() -> None:
    raise_if_abandoned()
    with abandoned_when(lambda: False):
        raise_if_abandoned()


async def test_work_in_a_thread_is_abandoned_with_the_request_that_started_it() -> None:
    with abandoned_when(lambda: True), pytest.raises(AbandonedError):
        await asyncio.to_thread(raise_if_abandoned)
    await asyncio.to_thread(raise_if_abandoned)
