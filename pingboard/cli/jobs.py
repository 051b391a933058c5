"""What runs until it is stopped: worker and API together or apart, and the echo bot."""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING

from pingboard.cli.labs import lab_settings
from pingboard.cli.serving import open_listener, open_server
from pingboard.cli.start import say, writable
from pingboard.cli.working import account_key, account_of, leased, started_worker
from pingboard.model import AccountError, AccountLostError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from pingboard.settings import Settings
    from pingboard.web.server import Server

_USUAL = gc.get_threshold()

# What is needed is imported inside: the whole stack takes 0.4 s, and `--help` needs none of it.


async def run(settings: Settings) -> None:
    """Worker and API."""
    async with contextlib.AsyncExitStack() as stack:
        if not settings.wants_lab:
            settings.require_account()
        listener = stack.enter_context(open_listener(settings))
        engine = stack.enter_context(writable(settings))
        lease = await stack.enter_async_context(leased(engine))
        if settings.wants_lab:
            settings = await stack.enter_async_context(lab_settings(settings))
        server = stack.enter_context(open_server(settings, listener))
        async with started_worker(settings, engine, lease) as worker:
            server.start()
            stack.callback(server.stop)
            say(f"pingboard is at {server.url}")
            say(f"  the table to paste: {server.url}rankings.md")
            say("  Ctrl-C ends it")
            await worker.run()


async def work(settings: Settings) -> None:
    """The worker alone."""
    with writable(settings) as engine:
        async with (
            leased(engine) as lease,
            started_worker(settings, engine, lease) as worker,
        ):
            await worker.run()


async def serve(server: Server) -> None:
    """The API alone."""
    import asyncio

    server.start()
    try:
        say(f"pingboard serves {server.url}")
        await asyncio.Event().wait()
    finally:
        server.stop()


async def echo(settings: Settings) -> None:
    """The echo bot."""
    from pingboard.matrix.echo import EchoBot
    from pingboard.matrix.login import log_in
    from pingboard.matrix.session import Session
    from pingboard.matrix.writer import Writer
    from pingboard.store.ingest import Ingest

    account = account_of(settings)
    if account.access_token is not None:
        session = await Session.open(account)
    else:
        with writable(settings) as engine:
            writer = Writer(engine, Ingest(engine, account_key(account)))
            session = await log_in(account, writer)
    async with contextlib.aclosing(session):
        bot = EchoBot(session, settings.rooms)
        await bot.start()
        try:
            await bot.run()
        except AccountError as error:
            raise AccountLostError(str(error)) from None


def until_stopped(work: Coroutine[None, None, None]) -> None:
    """Run to the end, or until Ctrl-C or SIGTERM; both end in order, with exit code 0."""
    import asyncio
    import signal

    async def stoppable() -> None:
        task = asyncio.ensure_future(work)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    # What was imported stays; from here on memory counts, not the start.
    gc.freeze()
    gc.set_threshold(*_USUAL)
    asyncio.run(stoppable())
