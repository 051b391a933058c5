"""The heartbeat of a command, for systemd and for `pingboard health` in a container.

systemd is told through its socket (`Type=notify`, `WatchdogSec`). For `health` a command keeps a
file of its own in PINGBOARD_RUNTIME_DIR: its age says whether the command lives, and its content
where it serves.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import urllib.request
from pathlib import Path

from sdnotify import SystemdNotifier

from pingboard.model import ConfigurationError

PAUSE_S = 10.0
"""Between two beats; a unit's `WatchdogSec` is some times as long."""

MAX_SILENCE_S = 60.0
"""A command without a heartbeat for so long is not well."""

_SUFFIX = ".alive"


class Heartbeat:
    """That of this process."""

    def __init__(self) -> None:
        self._file: Path | None = None
        self._url = ""
        self._systemd: SystemdNotifier | None = None

    def start(self, command: str, folder: Path | None) -> None:
        """Beat as this command; without a folder only systemd is told."""
        if folder is None:
            return
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = folder / f"{command}{_SUFFIX}"
            self._file.write_text(self._url)
        except OSError as error:
            raise ConfigurationError(
                f"PINGBOARD_RUNTIME_DIR: {folder} can't be written: {error.strerror}"
            ) from None

    def serve_at(self, url: str) -> None:
        """Say where this process serves."""
        self._url = url

    def beat(self) -> None:
        """Say that this process is up and well."""
        if self._systemd is None:
            self._systemd = SystemdNotifier()
        self._systemd.notify("READY=1")
        self._systemd.notify("WATCHDOG=1")
        if self._file is not None:
            with contextlib.suppress(OSError):  # then the file grows old, which tells it too
                self._file.write_text(self._url)

    def stop(self) -> None:
        """End in order: no beat is expected any more."""
        if self._systemd is not None and self._systemd.socket is not None:
            self._systemd.socket.close()
        if self._file is not None:
            self._file.unlink(missing_ok=True)


HEART = Heartbeat()


async def keep_beating() -> None:
    """Beat until cancelled, which says that the event loop is well."""
    while True:
        HEART.beat()
        await asyncio.sleep(PAUSE_S)


def find_fault(folder: Path) -> str | None:
    """Return what is wrong with the commands whose heartbeats are in a folder, if anything."""
    files = sorted(folder.glob(f"*{_SUFFIX}"))
    # Not by the proxy that HTTP_PROXY names: it is on this machine.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    if not files:
        return f"no command has a heartbeat in {folder}"
    for file in files:
        try:
            age_s = time.time() - file.stat().st_mtime
            url = file.read_text()
        except FileNotFoundError:  # that command has just ended
            continue
        if age_s > MAX_SILENCE_S:
            return f"the last heartbeat of {file.stem} was {age_s:.0f} s ago"
        if not url:
            continue
        try:
            direct.open(f"{url}healthz", timeout=5).close()
        except OSError as error:
            return f"{url}healthz does not answer: {error}"
    return None
