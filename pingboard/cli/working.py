"""Settings -> the worker with all that it needs: the lease, the writer, its attendants."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pingboard.cli.start import say
from pingboard.model import LeaseError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pingboard.matrix.account import Account
    from pingboard.matrix.worker import Attendant, Worker
    from pingboard.matrix.writer import Writer
    from pingboard.settings import Settings
    from pingboard.store.engine import Engine
    from pingboard.store.lease import Lease

# What is needed is imported inside: the whole stack takes 0.4 s, and `--help` needs none of it.

STANDBY_S = 5.0
"""How often a worker that stands by on PostgreSQL asks whether it is its turn."""


@contextlib.asynccontextmanager
async def leased(engine: Engine) -> AsyncIterator[Lease]:
    """The right to write to the database. On PostgreSQL a second worker stands by for it."""
    import asyncio

    from pingboard.store.lease import take_lease

    is_told = False
    while True:
        try:
            lease = await asyncio.to_thread(take_lease, engine)
            break
        except LeaseError as error:
            if engine.dialect.name == "sqlite":
                raise
            if not is_told:
                say(f"pingboard: {error}; standing by")
                is_told = True
            await asyncio.sleep(STANDBY_S)
    try:
        yield lease
    finally:
        lease.release()


@contextlib.asynccontextmanager
async def started_worker(settings: Settings, engine: Engine, lease: Lease) -> AsyncIterator[Worker]:
    """A worker that has joined its rooms; it pings once it is run."""
    import asyncio

    from sdnotify import SystemdNotifier

    from pingboard.matrix.worker import Worker
    from pingboard.matrix.writer import Writer
    from pingboard.store.ingest import Ingest

    systemd = SystemdNotifier()

    async def on_alive() -> None:
        if not await asyncio.to_thread(lease.is_held):
            raise LeaseError("another pingboard worker took the database over")
        systemd.notify("WATCHDOG=1")

    account = account_of(settings)
    writer = Writer(engine, Ingest(engine, account_key(account)))
    worker = Worker(
        writer,
        account,
        settings.rooms,
        interval=settings.interval,
        vantage=settings.vantage,
        backfill=settings.backfill,
        retention=settings.retention,
        on_alive=on_alive,
        attendants=_attendants(settings, writer),
    )
    try:
        await worker.start()
        systemd.notify("READY=1")
        yield worker
    finally:
        await worker.close()
        writer.close()


def _attendants(settings: Settings, writer: Writer) -> list[Attendant]:
    """What the worker does beside the measuring. It reads through an engine of its own."""
    from pingboard.boards import Boards
    from pingboard.matrix.commands import Commands
    from pingboard.matrix.press import Press
    from pingboard.store.engine import open_engine

    boards = Boards(open_engine(settings.database_url, read_only=True))
    attendants: list[Attendant] = []
    if settings.edition is not None:
        attendants.append(Press(boards, writer, settings.edition, announces=settings.announce))
    if settings.commands:
        attendants.append(Commands(boards))
    return attendants


def account_of(settings: Settings) -> Account:
    """The account that is set."""
    from pingboard.matrix.account import Account

    token, password = settings.access_token, settings.password
    return Account(
        homeserver=settings.homeserver or "",
        user_id=settings.user,
        access_token=token.get_secret_value() if token else None,
        password=password.get_secret_value() if password else None,
    )


def account_key(account: Account) -> str:
    """Under which the store remembers an account."""
    return f"{account.homeserver} {account.user_id}"
