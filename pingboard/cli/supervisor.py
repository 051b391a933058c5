"""What systemd is told of a command that it has started, by `Type=notify` and `WatchdogSec`."""

from __future__ import annotations

import asyncio

from sdnotify import SystemdNotifier

ALIVE_PAUSE_S = 10.0
"""Between two signs of life; a unit's `WatchdogSec` is some times as long."""


def tell_supervisor(*states: str) -> None:
    """Tell systemd, where it started us."""
    systemd = SystemdNotifier()
    for state in states:
        systemd.notify(state)


async def report_alive() -> None:
    """Tell systemd that the command is up, and until cancelled that its event loop is well."""
    tell_supervisor("READY=1")
    while True:
        tell_supervisor("WATCHDOG=1")
        await asyncio.sleep(ALIVE_PAUSE_S)
