"""The pingboard command as a user starts it, told by its environment.

It is a process of its own; where it does one thing and ends, this one does, ten times as quick.
"""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import httpx
import pytest

from pingboard import cli, simd
from pingboard.lab import LabAccount


@dataclass(frozen=True, slots=True)
class Ended:
    """What is left of a command: its exit code and what it said on stderr."""

    code: int
    stderr: str


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with just these PINGBOARD_* variables."""
    inherited = {key: value for key, value in os.environ.items() if key[:10] != "PINGBOARD_"}
    return inherited | {f"PINGBOARD_{name}": value for name, value in settings.items()}


def account_settings(account: LabAccount, room: str) -> dict[str, str]:
    """The settings of an account with its token, in one room; of what is now, not of before."""
    return {
        # The lab's room is everybody's: what other tests did there is in its history.
        "BACKFILL": "0",
        "HOMESERVER": account.homeserver_url,
        "USER": account.user_id,
        "ACCESS_TOKEN": account.access_token,
        "ROOMS": room,
    }


def run(
    url: str,
    *arguments: str,
    folder: Path,
    stdin: bytes = b"",
    settings: Mapping[str, str] = MappingProxyType({}),
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `pingboard ...` on a database, in this process."""
    stdout, stderr = io.StringIO(newline=""), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, chdir(folder):
        for name in [name for name in os.environ if name.startswith("PINGBOARD_")]:
            patch.delenv(name)
        for name, value in {"DATABASE_URL": url, **settings}.items():
            patch.setenv(f"PINGBOARD_{name}", value)
        patch.setenv(simd.VARIABLE, "")  # numpy is loaded already
        patch.setattr(sys, "argv", ["pingboard", *arguments])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with redirect_stdout(stdout), redirect_stderr(stderr), pytest.raises(SystemExit) as ended:
            cli.main()
    return int(ended.value.code or 0), stdout.getvalue(), stderr.getvalue()


async def start(
    command: str, settings: Mapping[str, str], folder: Path
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pingboard", *command.split()),
        env=environment(settings),
        cwd=folder,
        stderr=asyncio.subprocess.PIPE,
    )


async def read_until(process: asyncio.subprocess.Process, words: str) -> str:
    """What a command says on stderr up to the end of a line with these words."""
    assert process.stderr is not None
    said = ""
    async with asyncio.timeout(240):
        while words not in said:
            line = (await process.stderr.readline()).decode()
            assert line, f"it has ended: {said}"
            said += line
    return said


async def until_it_answers(url: str) -> httpx.Response:
    """The first answer, of whatever status, of a server that has just been started."""
    async with asyncio.timeout(240), httpx.AsyncClient(timeout=240) as client:
        while True:
            try:
                return await client.get(url)
            except httpx.TransportError:
                await asyncio.sleep(0.1)


def is_alive(pid: int) -> bool:
    """Whether it still runs; a zombie that nobody has waited for does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


async def end_of(process: asyncio.subprocess.Process, within_s: float = 120) -> Ended:
    """Wait for the end of a command."""
    try:
        async with asyncio.timeout(within_s):
            _, stderr = await process.communicate()
    except TimeoutError:
        process.kill()
        _, stderr = await process.communicate()
        raise AssertionError(f"still running after {within_s} s: {stderr.decode()}") from None
    assert process.returncode is not None
    return Ended(process.returncode, stderr.decode())


async def run_to_end(command: str, settings: Mapping[str, str], folder: Path) -> Ended:
    return await end_of(await start(command, settings, folder))


@asynccontextmanager
async def running(
    command: str, settings: Mapping[str, str], folder: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A command while it runs; ended by SIGTERM, and it must end well."""
    process = await start(command, settings, folder)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        ended = await end_of(process)
    assert ended.code == 0, ended.stderr
    assert "Traceback" not in ended.stderr, ended.stderr
