"""What runs until it is stopped: worker and API together or apart, and the echo bot."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pingboard.cli.api_process import api_process, run_beside
from pingboard.cli.labs import lab_database, lab_settings
from pingboard.cli.serving import listener_url, open_listener
from pingboard.cli.start import say, writable
from pingboard.cli.working import account_key, account_of, database, made_worker

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from pingboard.settings import Settings
    from pingboard.web.server import Server

STOP_TIMEOUT_S = 9.0
"""How long to wait for an end in order after Ctrl-C or SIGTERM."""

# What is needed is imported inside: the whole stack takes 0.4 s, and `--help` needs none of it.


async def run(settings: Settings) -> None:
    """The worker in this process, the API in one beside it."""
    async with contextlib.AsyncExitStack() as stack:
        if not settings.wants_lab:
            settings.require_account()
        listener = stack.enter_context(open_listener(settings))
        url = listener_url(listener)
        variables: dict[str, str] = {}
        if settings.wants_lab:
            settings = stack.enter_context(lab_database(settings))
            variables["PINGBOARD_DATABASE_URL"] = settings.database_url
            variables["PINGBOARD_DATABASE_URL_FILE"] = ""
        engine, lease = await stack.enter_async_context(database(settings))
        # What has run for a few minutes has all of its samples in the last hour.
        start = f"{url}?window=1h" if settings.wants_lab else url
        if settings.wants_lab:
            settings = await stack.enter_async_context(lab_settings(settings))
        api = await stack.enter_async_context(api_process(settings, listener, variables))
        worker = await stack.enter_async_context(made_worker(settings, engine, lease))
        say(f"pingboard is at {start}")
        say(f"  the table to paste: {url}rankings.md")
        say("  Ctrl-C ends it")
        await run_beside(worker.run(), api)


async def work(settings: Settings) -> None:
    """The worker alone."""
    async with (
        database(settings) as (engine, lease),
        made_worker(settings, engine, lease) as worker,
    ):
        await worker.run()


async def serve(server: Server, *, is_alone: bool) -> None:
    """The API, alone or beside a worker that says where it is."""
    from pingboard.cli.supervisor import SIGNS, report_alive

    server.start()
    SIGNS.serve_at(server.url)
    try:
        if is_alone:
            say(f"pingboard serves {server.url}")
        await report_alive()
    finally:
        server.stop()


async def echo(settings: Settings) -> None:
    """The echo bot. It needs a database only for the login that a password makes."""
    import asyncio

    from pingboard.cli.supervisor import report_alive
    from pingboard.matrix.echo import EchoBot
    from pingboard.matrix.retry import retry_until_answered
    from pingboard.matrix.session import Session
    from pingboard.matrix.writer import Writer
    from pingboard.store.ingest import Ingest

    account = account_of(settings)
    async with contextlib.AsyncExitStack() as stack:
        alive = asyncio.create_task(report_alive())
        stack.callback(alive.cancel)
        logins = None
        if account.password is not None:
            engine = stack.enter_context(writable(settings))
            logins = Writer(engine, Ingest(engine, account_key(account)))
            stack.callback(logins.close)
        session = await retry_until_answered(lambda: Session.open(account, logins))
        await stack.enter_async_context(contextlib.aclosing(session))
        await EchoBot(session, settings.rooms).run()


def until_stopped(work: Coroutine[None, None, None]) -> None:
    """Run to the end, or until Ctrl-C or SIGTERM; both end in order, with exit code 0."""
    import asyncio
    import signal

    from pingboard.cli.supervisor import SIGNS

    async def stoppable() -> None:
        task = asyncio.ensure_future(work)

        def stop() -> None:
            _end_by_force_later()
            task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    try:
        asyncio.run(stoppable())
    finally:
        SIGNS.end()


def _end_by_force_later() -> None:
    """End this process where it has not ended in time: a database can keep a thread for ever.

    What is not committed by then comes again: the sync token was not committed either.
    """
    import os
    import threading

    def end() -> None:
        say("pingboard: the last write does not end, the database is locked or away; leaving it")
        os._exit(0)

    timer = threading.Timer(STOP_TIMEOUT_S, end)
    timer.daemon = True
    timer.start()
