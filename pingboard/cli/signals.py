"""Ctrl-C and SIGTERM: the end, in order and in time, of a command that runs until it is stopped."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pingboard.cli.output import say

if TYPE_CHECKING:
    from collections.abc import Coroutine

STOP_TIMEOUT_S = 9.0
"""How long to wait for an end in order after Ctrl-C or SIGTERM."""


def run_until_stopped(work: Coroutine[None, None, None]) -> None:
    """Run to the end, or until Ctrl-C or SIGTERM; both end in order, with exit code 0."""
    import asyncio
    import signal

    from pingboard.cli.heartbeat import HEART

    async def stoppable() -> None:
        task = asyncio.ensure_future(work)

        def stop() -> None:
            _end_by_force_later()
            task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    try:
        asyncio.run(stoppable())
    finally:
        HEART.stop()


def _end_by_force_later() -> None:
    """End this process where it has not ended in time: no thread can be ended from outside.

    One that waits for a locked database, or for one that is away, may wait for ever.
    What is not committed by then comes again: the sync token was not committed either.
    """
    import os
    import threading

    def end() -> None:
        say(
            f"pingboard: still at work {STOP_TIMEOUT_S:.0f} s after the stop, perhaps because the "
            "database does not answer; ended all the same, and what is not stored comes again"
        )
        os._exit(0)

    timer = threading.Timer(STOP_TIMEOUT_S, end)
    timer.daemon = True
    timer.start()
