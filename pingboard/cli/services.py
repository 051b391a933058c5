"""`run`, `worker`, `serve` and `echo`: the commands that run until they are stopped."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from pingboard.cli.api import (
    api_process,
    make_tables,
    open_listener,
    open_server,
    run_beside,
)
from pingboard.cli.lab import lab_database, lab_settings
from pingboard.cli.open_database import writable
from pingboard.cli.output import say
from pingboard.cli.signals import run_until_stopped
from pingboard.cli.worker import account_key, account_of, leased_database, made_worker
from pingboard.model import ConfigurationError

if TYPE_CHECKING:
    from pingboard.settings import Settings
    from pingboard.web.server import Server


def _name_setting(_context: typer.Context, parameter: typer.CallbackParam, value: str) -> None:
    """Say which setting it is that was looked for as an option."""
    if value is not None:
        name = f"PINGBOARD_{(parameter.name or '').upper()}"
        raise ConfigurationError(f"--{parameter.name} is a setting: set {name}={value}")


Host = Annotated[str | None, typer.Option(hidden=True, callback=_name_setting)]
Port = Annotated[str | None, typer.Option(hidden=True, callback=_name_setting)]


def _start(command: str) -> Settings:
    """Read the settings, set up the logs, and let the heart beat."""
    from pingboard.cli.heartbeat import HEART
    from pingboard.cli.logs import set_up_logs
    from pingboard.settings import load_settings

    settings = load_settings()
    set_up_logs(settings.log_level.upper(), settings.log_format)
    HEART.start(command, settings.runtime_dir)
    return settings


def run(host: Host = None, port: Port = None) -> None:
    """Run worker and API, each in a process. With no account configured, on a lab of its own."""
    del host, port  # their callback has refused them
    run_until_stopped(_run(_start("run")))


def worker() -> None:
    """Run the worker alone: ping, listen, record."""
    settings = _start("worker")
    settings.require_account()
    run_until_stopped(_work(settings))


def serve(
    host: Host = None,
    port: Port = None,
    listener_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Serve the boards of a database; needs no account."""
    del host, port
    settings = _start("serve")
    with (
        open_listener(settings, listener_fd) as listener,
        open_server(settings, listener) as server,
    ):
        run_until_stopped(_serve(settings, server, is_alone=listener_fd is None))


def echo() -> None:
    """Answer `!ping` as maubot/echo does, to add a homeserver."""
    settings = _start("echo")
    settings.require_account()
    run_until_stopped(_echo(settings))


async def _run(settings: Settings) -> None:
    """The worker in this process, the API in one beside it."""
    from pingboard.web.server import url_of

    async with contextlib.AsyncExitStack() as stack:
        if not settings.wants_lab:
            settings.require_account()
        listener = stack.enter_context(open_listener(settings))
        url = url_of(listener)
        page = url
        variables: dict[str, str] = {}
        if settings.wants_lab:
            # What has run for a few minutes has all of its samples in the last hour.
            page = f"{url}?window=1h"
            settings = stack.enter_context(lab_database(settings))
            variables["PINGBOARD_DATABASE_URL"] = settings.database_url
            variables["PINGBOARD_DATABASE_URL_FILE"] = ""
            settings = await stack.enter_async_context(lab_settings(settings))
        # The API first: while the worker waits for something, it says for what.
        api = await stack.enter_async_context(api_process(settings, listener, variables))
        say(f"pingboard is at {page}")
        say(f"  the table to paste: {url}rankings.md")
        say("  Ctrl-C ends it")
        await run_beside(_work(settings), api)


async def _work(settings: Settings) -> None:
    async with (
        leased_database(settings) as (engine, lease),
        made_worker(settings, engine, lease) as worker,
    ):
        await worker.run()


async def _serve(settings: Settings, server: Server, *, is_alone: bool) -> None:
    """Serve, alone or beside a worker that says where this is, and that makes the tables."""
    import asyncio

    from pingboard.cli.heartbeat import HEART, keep_beating

    server.start()
    HEART.serve_at(server.url)
    beating = asyncio.create_task(keep_beating())
    try:
        if is_alone:
            say(f"pingboard serves {server.url}")
            await make_tables(settings)
        await beating
    finally:
        beating.cancel()
        server.stop()


async def _echo(settings: Settings) -> None:
    """Answer pings. It needs a database only for the login that a password makes."""
    import asyncio

    from pingboard.cli.heartbeat import keep_beating
    from pingboard.matrix.echo import EchoBot
    from pingboard.matrix.retry import retry_until_answered
    from pingboard.matrix.session import Session
    from pingboard.matrix.store_writer import Writer
    from pingboard.store.ingest import Ingest

    account = account_of(settings)
    async with contextlib.AsyncExitStack() as stack:
        beating = asyncio.create_task(keep_beating())
        stack.callback(beating.cancel)
        logins = None
        if account.password is not None:
            engine = stack.enter_context(writable(settings))
            logins = Writer(engine, Ingest(engine, account_key(account)))
            stack.callback(logins.close)
        session = await retry_until_answered(lambda: Session.open(account, logins))
        await stack.enter_async_context(contextlib.aclosing(session))
        await EchoBot(session, settings.rooms).run()
