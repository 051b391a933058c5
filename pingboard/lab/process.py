"""A child process, from its start to its end: of the lab, or the API beside a worker.

In comes a module with its arguments and environment; out comes a running process that ends with
this one (end_with_parent.py) and whose output goes to a log file. What "ready" means is each
child's own (`is_ready`).
"""

import asyncio
import os
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pingboard.model import LabError

END_WITH_PARENT = Path(__file__).with_name("end_with_parent.py")

POLL_INTERVAL_S = 0.05
LAST_LINES = 15

OnProgress = Callable[[str], None]


async def spawn(command: Sequence[str], **options: Any) -> asyncio.subprocess.Process:
    """Start a module, or a .py file, with its arguments; it ends with this process at the latest.

    `options` are those of `asyncio.create_subprocess_exec`.
    """
    # -P keeps this package's directory off the module path: its config.py is not meant to be
    # anybody's `import config`.
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", str(END_WITH_PARENT), *command),
        stdin=asyncio.subprocess.PIPE,
        **options,
    )


async def end(
    process: asyncio.subprocess.Process, grace_s: float, how: signal.Signals = signal.SIGTERM
) -> None:
    """Ask a process to end and wait; after `grace_s` make it."""
    with suppress(ProcessLookupError):  # it has ended already
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)  # a paused process acts on SIGTERM only after this
    try:
        async with asyncio.timeout(grace_s):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


class ChildProcess(ABC):
    """A child process that ends with this one at the latest. Subclasses say when it is ready."""

    ready_timeout_s: float = 180.0
    """Wide: six homeservers that start at once on a small or busy machine take minutes."""
    grace_s: float = 5.0
    """From SIGTERM to SIGKILL. Synapse takes 0.15 s."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        directory: Path,
        on_progress: OnProgress,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.name = name
        self.log_file = directory / f"{name}.log"
        self._command = command
        self._directory = directory
        self._environment = environment
        self._on_progress = on_progress
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """Its process ID; a `LabError` while it does not run."""
        return self._running().pid

    @abstractmethod
    async def is_ready(self) -> bool:
        """Whether it does its work. Asked repeatedly after the start."""

    async def start(self) -> None:
        """Start it and wait until it is ready; nothing happens where it runs already."""
        if self._process is not None:
            return
        self._process = await self._spawn()
        await self._until_ready(self._process)
        self._watch = asyncio.create_task(self._report_death(self._process))

    async def stop(self) -> None:
        """Ask it to end (SIGTERM) and wait; after a grace time make it (SIGKILL)."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """End it at once (SIGKILL) and wait until it is gone."""
        await self._end(signal.SIGKILL)

    async def pause(self) -> None:
        """Freeze it (SIGSTOP) and wait until it stands: its ports stay open and nobody answers."""
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        # On a busy machine it goes on for a while; if we ended before, nobody would wake it again.
        await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)

    async def resume(self) -> None:
        """Let it go on after `pause` (SIGCONT)."""
        self._running().send_signal(signal.SIGCONT)

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise LabError(f"{self.name} is not running")
        return self._process

    async def _spawn(self) -> asyncio.subprocess.Process:
        # Opening a local file is no reason for a thread.
        with self.log_file.open("ab") as log:
            return await spawn(
                self._command,
                stdout=log,
                stderr=log,
                cwd=self._directory,  # not the user's: there may be a .env
                env=_clean_environment() | dict(self._environment),
            )

    async def _until_ready(self, process: asyncio.subprocess.Process) -> None:
        try:
            async with asyncio.timeout(self.ready_timeout_s):
                # Readiness announces itself nowhere; it has to be asked for.
                while process.returncode is None and not await self.is_ready():  # noqa: ASYNC110
                    await asyncio.sleep(POLL_INTERVAL_S)
        except TimeoutError:
            raise LabError(
                f"{self.name} is not ready after {self.ready_timeout_s:g} s{self._end_of_log()}"
            ) from None
        if process.returncode is not None:
            self._process = None
            raise LabError(self._obituary(process.returncode))

    async def _report_death(self, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        if self._process is process:  # `_end` takes it away first
            self._process = None
            self._on_progress(self._obituary(code))

    async def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            await end(process, self.grace_s, how)

    def _obituary(self, code: int) -> str:
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return f"{self.name} has ended {how}{self._end_of_log()}"

    def _end_of_log(self) -> str:
        log = self.log_file.read_text(encoding="utf-8", errors="replace")
        if not log:
            return "; its log is empty"
        return "\n    ".join(["; its log ends with", *log.splitlines()[-LAST_LINES:]])


def _clean_environment() -> dict[str, str]:
    """Ours, without the settings of the pingboard that runs the lab."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PINGBOARD_")}
