"""Settings -> the worker with all that it needs: the lease, the writer, its bots."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pingboard.cli.database import RETRY_S, writable
from pingboard.cli.output import say
from pingboard.model import LeaseError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pingboard.matrix.bot import Bot
    from pingboard.matrix.session import Account
    from pingboard.matrix.store_writer import Writer
    from pingboard.matrix.worker import Worker
    from pingboard.settings import Settings
    from pingboard.store.engine import Engine
    from pingboard.store.lease import Lease

# What is needed is imported inside: the whole stack takes 0.4 s, and `--help` needs none of it.


@contextlib.asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[tuple[Engine, Lease]]:
    """The database and the right to write to it, waited for while it is away.

    On PostgreSQL a second worker stands by for the right.
    """
    import asyncio

    from pingboard.cli.heartbeat import HEART
    from pingboard.store.engine import PassingStoreError
    from pingboard.store.lease import SETTLE_S

    message = ""
    was_standby = False
    while True:
        # A start that waits is a start that worked, to a supervisor.
        HEART.beat()
        try:
            async with contextlib.AsyncExitStack() as opening:
                engine, lease = await asyncio.to_thread(_open, settings, opening)
                opened = opening.pop_all()
            break
        except (LeaseError, PassingStoreError) as error:
            is_standby = isinstance(error, LeaseError)
            if is_standby and settings.database_url.startswith("sqlite"):
                raise
            was_standby |= is_standby
            if str(error) != message:
                message = str(error)
                say(f"pingboard: {error}; {'standing by' if is_standby else 'waiting for it'}")
            await asyncio.sleep(RETRY_S)
    async with opened:
        if was_standby:
            await asyncio.sleep(SETTLE_S)
        if message:
            say("pingboard: the database is ours now")
        yield engine, lease


def _open(
    settings: Settings, stack: contextlib.AsyncExitStack[bool | None]
) -> tuple[Engine, Lease]:
    from pingboard.store.lease import take_lease

    engine = stack.enter_context(writable(settings))
    lease = take_lease(engine)
    stack.callback(lease.release)
    return engine, lease


@contextlib.asynccontextmanager
async def made_worker(settings: Settings, engine: Engine, lease: Lease) -> AsyncIterator[Worker]:
    """A worker; it logs in, joins and pings once it is run."""
    import asyncio

    from pingboard.cli.heartbeat import HEART
    from pingboard.matrix.store_writer import Writer
    from pingboard.matrix.worker import Worker
    from pingboard.store.ingest import Ingest
    from pingboard.store.lease import CONFIRM_PAUSE_S

    async def guard() -> None:
        while True:
            await asyncio.to_thread(lease.confirm)
            HEART.beat()
            await asyncio.sleep(CONFIRM_PAUSE_S)

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
        guard=guard,
        may_ping=lease.is_confirmed,
        bots=_bots(settings, writer),
    )
    try:
        yield worker
    finally:
        await worker.close()
        writer.close()


def _bots(settings: Settings, writer: Writer) -> list[Bot]:
    """Return what the worker does beside the measuring. It reads through an engine of its own."""
    from pingboard.boards import Boards
    from pingboard.matrix.bot import CommandBot, EditionBot, WatchBot
    from pingboard.store.engine import open_engine

    boards = Boards(open_engine(settings.database_url, read_only=True))
    bots: list[Bot] = []
    if settings.edition is not None:
        bots.append(EditionBot(boards, writer, settings.edition, announces=settings.announce))
    if settings.commands:
        bots += [CommandBot(boards, writer), WatchBot(boards, writer)]
    return bots


def account_of(settings: Settings) -> Account:
    """The account that is set."""
    from pingboard.matrix.session import Account

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
