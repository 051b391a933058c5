"""Settings -> the worker with all that it needs: the lease, the writer, its bots."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pingboard.cli.open_database import opened, wait_for_database, writable
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


@contextlib.asynccontextmanager
async def leased_database(settings: Settings) -> AsyncIterator[tuple[Engine, Lease]]:
    """The database and the right to write to it, waited for while it is away.

    On PostgreSQL a second worker stands by for the right.
    """
    import asyncio

    from pingboard.store.lease import SETTLE_S

    was_standby = False

    def open_once() -> tuple[contextlib.ExitStack, Engine, Lease]:
        nonlocal was_standby
        try:
            return _open(settings)
        except LeaseError:
            was_standby = True
            raise

    can_stand_by = not settings.database_url.startswith("sqlite")
    resources, engine, lease = await wait_for_database(open_once, can_stand_by=can_stand_by)
    with resources:
        if was_standby:
            await asyncio.sleep(SETTLE_S)
            say("pingboard: the database is ours now")
        yield engine, lease


def _open(settings: Settings) -> tuple[contextlib.ExitStack, Engine, Lease]:
    from pingboard.store.lease import take_lease

    with contextlib.ExitStack() as stack:
        engine = stack.enter_context(writable(settings))
        lease = take_lease(engine)
        stack.callback(lease.release)
        return stack.pop_all(), engine, lease


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
    with opened(settings.database_url, read_only=True) as reader:
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
            bots=_bots(settings, writer, reader),
        )
        try:
            yield worker
        finally:
            await worker.close()
            writer.close()


def _bots(settings: Settings, writer: Writer, reader: Engine) -> list[Bot]:
    """Return what the worker does beside the measuring."""
    from pingboard.boards import Boards
    from pingboard.matrix.bot import CommandBot, EditionBot, WatchBot

    boards = Boards(reader)
    bots: list[Bot] = []
    if settings.edition is not None:
        bots.append(EditionBot(boards, writer, settings.edition, announces=settings.announce))
    if settings.commands:
        bots += [CommandBot(boards, writer), WatchBot(boards, writer)]
    return bots


def account_of(settings: Settings) -> Account:
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
