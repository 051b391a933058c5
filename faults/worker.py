"""pingboard's processes as an operator runs them, told by their environment."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic

from faults.claims import CaseError, until
from faults.faultproxy import FaultProxy
from pingboard.lab import LabError
from pingboard.lab.process import ChildProcess

COMMAND = ("pingboard", "worker")


class PingboardProcess(ChildProcess):
    """One that says in a log file what it does."""

    grace_s = 20.0

    def __init__(
        self, name: str, command: Sequence[str], directory: Path, settings: Mapping[str, str]
    ) -> None:
        super().__init__(
            name,
            command,
            directory=directory,
            on_progress=lambda _line: None,
            environment={f"PINGBOARD_{name}": value for name, value in settings.items()},
        )

    @property
    def log(self) -> str:
        """All that it has said, over restarts too."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def memory_mib(self) -> float:
        """Its resident memory."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024


class WorkerProcess(PingboardProcess):
    """Ready when the proxy has seen it sync from a position."""

    def __init__(
        self,
        proxy: FaultProxy,
        settings: Mapping[str, str],
        directory: Path,
        command: Sequence[str] = COMMAND,
        name: str = "worker",
    ) -> None:
        super().__init__(name, command, directory, settings)
        self._proxy = proxy
        self._started_at = 0.0
        self._last: asyncio.subprocess.Process | None = None
        self.was_asked_to_end = False
        """whether its last end was the case's doing"""

    async def is_ready(self) -> bool:
        # The newest first: a proxy has seen thousands.
        for seen in reversed(self._proxy.seen):
            if seen.at < self._started_at:
                return False
            if seen.endpoint == "sync" and "since=" in seen.path:
                return True
        return False

    @property
    def was_started(self) -> bool:
        """Whether a case has made use of it."""
        return self._last is not None

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended since."""
        return self._last is not None and self._last.returncode is None

    async def launch(self) -> None:
        """Start it, and don't wait for it to be ready."""
        self._process = await self._spawn()

    async def says(self, words: str, within_s: float) -> None:
        """Wait until these words are in its log."""

        await until(lambda: words in self.log, within_s, f"{self.name} does not say: {words}")

    async def terminate(self) -> tuple[int, float]:
        """SIGTERM, and wait: its exit code and how many seconds it took."""
        begin = monotonic()
        await self.stop()
        return self.exit_code(), monotonic() - begin

    async def end(self, within_s: float) -> int:
        """Wait until it ends by itself; its exit code."""
        if self._last is None:
            raise LabError("the worker was not started")
        try:
            async with asyncio.timeout(within_s):
                await self._last.wait()
        except TimeoutError:
            raise CaseError(f"still runs after {within_s:g} s, and should have ended") from None
        self._process = None
        return self.exit_code()

    def cpu_s(self) -> float:
        """The processor time that it has taken."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def exit_code(self) -> int:
        """With which it ended; negative for a signal."""
        if self._last is None or self._last.returncode is None:
            raise LabError("the worker has not ended")
        return self._last.returncode

    async def _end(self, how: signal.Signals) -> None:
        self.was_asked_to_end |= self.is_running
        await super()._end(how)

    async def _spawn(self) -> asyncio.subprocess.Process:
        self.was_asked_to_end = False
        self._started_at = monotonic()
        self._last = await super()._spawn()
        return self._last
