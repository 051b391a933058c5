"""pingboard with a wall clock that jumps when told: SIGUSR1 an hour ahead, SIGUSR2 a day back.

Only the wall clock: `time.time`, `time.time_ns` and `datetime`. The monotonic one goes on as ever,
as it does when an operator or NTP sets the clock.
"""

from __future__ import annotations

import signal
import time
from datetime import UTC, datetime, timedelta

import time_machine

from pingboard.cli import main

SHIFTS = {signal.SIGUSR1: timedelta(hours=1), signal.SIGUSR2: timedelta(days=-1)}


def _shift(number: int, _frame: object) -> None:
    target = datetime.fromtimestamp(time.time(), UTC) + SHIFTS[signal.Signals(number)]
    time_machine.travel(target, tick=True).start()


if __name__ == "__main__":
    for shift in SHIFTS:
        signal.signal(shift, _shift)
    main()
