"""The lab as a command, and as what `run` brings where no account is configured."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from pingboard.cli.output import say
from pingboard.cli.signals import run_until_stopped
from pingboard.model import ConfigurationError, parse_duration

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from pingboard.lab import Lab
    from pingboard.settings import Settings

LAB_DELAYS = {"hs2": 0.06, "hs3": 0.15, "hs4": 0.03, "hs5": 0.1, "hs6": 0.25}
"""Delays of the lab that `run` starts by itself, seconds each way: its ranks differ visibly."""

LARGE_LAB, SMALL_LAB = 6, 3
"""Homeservers of that lab, with memory for all of them and without."""

LARGE_LAB_KB = 3 << 20
"""What must be available for a large lab: a Synapse takes some 200 MB, an echo bot 60."""

LAB_INTERVAL = timedelta(seconds=2)


def lab(
    servers: Annotated[
        int, typer.Option(min=1, max=20, metavar="N", help="How many homeservers.")
    ] = 3,
    delay: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=DURATION", help="Added each way, such as hs2=150ms; repeatable."
        ),
    ] = None,
) -> None:
    """Run a local network of homeservers with echo bots."""
    from pingboard.cli.logs import set_up_logs
    from pingboard.lab import Lab, LabError

    set_up_logs("WARNING")
    delays = dict(_parse_delay(text) for text in delay or [])
    try:
        network = Lab(servers=servers, delays=delays, on_progress=say)
    except LabError as error:
        raise ConfigurationError(f"--delay: {error}") from None
    run_until_stopped(_run_lab(network))


async def _run_lab(lab: Lab) -> None:
    """Run a lab, and say how to run pingboard on it."""
    import asyncio

    async with lab:
        account = await lab.register(lab.homeservers[0], "pingboard")
        say("")
        for homeserver in lab.homeservers:
            say(f"{homeserver.name}: {homeserver.server_name} at {homeserver.url}")
        say("")
        say("To run pingboard on it, in another terminal:")
        say(f"  export PINGBOARD_HOMESERVER={account.homeserver_url}")
        say(f"  export PINGBOARD_USER={account.user_id}")
        say(f"  export PINGBOARD_ACCESS_TOKEN={account.access_token}")
        say(f"  export PINGBOARD_ROOMS='{lab.room_alias}'")
        say("  export PINGBOARD_INTERVAL=2s")
        say("  pingboard run")
        say("")
        say("Ctrl-C ends it")
        await asyncio.Event().wait()


@contextlib.contextmanager
def lab_database(settings: Settings) -> Iterator[Settings]:
    """The settings with a database that is gone afterwards.

    A lab's rooms and homeservers are new each time, and a real site must never see them.
    """
    import tempfile

    with tempfile.TemporaryDirectory(prefix="pingboard-lab-") as folder:
        yield settings.model_copy(update={"database_url": f"sqlite:///{folder}/lab.db"})


def count_homeservers() -> int:
    """How many homeservers of a lab this machine has the memory for."""
    from pathlib import Path

    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        available_kb = next(int(line.split()[1]) for line in lines if line.startswith("MemAvail"))
    except (OSError, StopIteration):  # not every system tells
        return SMALL_LAB
    return LARGE_LAB if available_kb >= LARGE_LAB_KB else SMALL_LAB


@contextlib.asynccontextmanager
async def lab_settings(settings: Settings) -> AsyncIterator[Settings]:
    """A lab, and the settings with an account on its first homeserver."""
    import secrets

    from pydantic import SecretStr

    from pingboard.lab import Lab

    say("no account is configured, so pingboard brings a network of its own (a lab)")
    servers = count_homeservers()
    names = {f"hs{number}" for number in range(1, servers + 1)}
    delays = {name: delay for name, delay in LAB_DELAYS.items() if name in names}
    async with Lab(servers=servers, delays=delays, on_progress=say) as lab:
        # A new name each time: what the database remembers of an earlier lab's account, its
        # sync token above all, is not this one's.
        account = await lab.register(lab.homeservers[0], f"pingboard-{secrets.token_hex(3)}")
        changed = {
            "homeserver": account.homeserver_url,
            "user": account.user_id,
            "access_token": SecretStr(account.access_token),
            "rooms": (lab.room_alias,),
        }
        if "interval" not in settings.model_fields_set:
            changed["interval"] = LAB_INTERVAL
        yield settings.model_copy(update=changed)


def _parse_delay(text: str) -> tuple[str, float]:
    """`hs2=150ms` as a name and seconds; ConfigurationError for anything else."""
    name, _, duration = text.partition("=")
    try:
        return name, parse_duration(duration).total_seconds()
    except ValueError as error:
        raise ConfigurationError(
            f"--delay {text!r}: {error}; for example --delay hs2=150ms"
        ) from None
