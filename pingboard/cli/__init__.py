"""The commands. The only place where the parts are wired together.

    run     worker and API in one process; with nothing configured, on a lab of its own
    worker  the worker alone            serve   the API alone, needs no account
    echo    the echo bot                lab     a local network of real homeservers
    table   a board, drawn or Markdown  section the section for This Week in Matrix
    import  samples from a file         export  all samples into one
    db      the database's tables

Exit codes: 0 ended as asked, 2 a setting, an argument or the homeserver at start is at fault,
3 another worker writes to the database, 4 the homeserver turned the account away while running,
1 anything else. What a user can mend is one line on stderr, never a traceback.
"""

from __future__ import annotations

import contextlib
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from pingboard import simd
from pingboard.cli import tables, transfer
from pingboard.cli.start import (
    configured,
    say,
    start,
    without_user_ids,
    wording,
    writable,
)
from pingboard.model import (
    AccountError,
    AccountLostError,
    ConfigurationError,
    HomeserverError,
    LeaseError,
    PingboardError,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Coroutine, Iterator

    from pingboard.matrix.account import Account
    from pingboard.matrix.worker import Attendant, Worker
    from pingboard.matrix.writer import Writer
    from pingboard.settings import Settings
    from pingboard.store.engine import Engine
    from pingboard.store.lease import Lease
    from pingboard.web.server import Server

# What a command needs is imported inside it: the whole stack takes 0.4 s, `--help` needs none,
# not even asyncio.

LAB_DELAYS = {"hs2": 0.06, "hs3": 0.15}
"""Delays of the lab that `run` starts by itself, seconds each way: its ranks differ visibly."""

LAB_INTERVAL = timedelta(seconds=2)

EXIT_CODES: dict[type[PingboardError], int] = {
    ConfigurationError: 2,
    HomeserverError: 2,
    LeaseError: 3,
    AccountLostError: 4,
    PingboardError: 1,
}

STANDBY_S = 5.0
"""How often a worker that stands by on PostgreSQL asks whether it is its turn."""

app = typer.Typer(
    help="The leaderboard of Matrix homeservers by message latency.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich would take longer to load than all of `--help`
)
database = typer.Typer(help="The database: its tables, a copy of it.", no_args_is_help=True)
app.add_typer(database, name="db")
app.command()(tables.table)
app.command()(tables.section)
app.command()(transfer.export)
app.add_typer(transfer.import_app, name="import")


def main() -> NoReturn:
    """Run the command line."""
    simd.choose()
    try:
        app()
    except PingboardError as error:
        # A wrong setting is shown as it is; what a homeserver says may name anybody.
        is_ours = isinstance(error, ConfigurationError)
        for line in (str(error) if is_ours else without_user_ids(str(error))).splitlines():
            say(f"pingboard: {line}")
        sys.exit(next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind)))
    sys.exit(0)


@app.command()
def run() -> None:
    """Run worker and API in one process. With no account configured, on a lab of its own."""
    settings = start()
    _until_stopped(_run(settings))


@app.command()
def worker() -> None:
    """Run the worker alone: ping, listen, record."""
    settings = start()
    settings.require_account()
    _until_stopped(_work(settings))


@app.command()
def serve() -> None:
    """Serve the boards of the database; needs no account."""
    settings = start()
    with _listener(settings) as listener, _server(settings, listener) as server:
        _until_stopped(_serve(server))


@app.command()
def echo() -> None:
    """Answer `!ping` as maubot/echo does: with this a homeserver joins the game."""
    settings = start()
    settings.require_account()
    _until_stopped(_echo(settings))


@app.command()
def lab(
    servers: Annotated[int, typer.Option(min=1, max=20, help="How many homeservers.")] = 3,
    delay: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DURATION", help="Each way, such as hs2=150ms; repeatable."),
    ] = None,
) -> None:
    """Run a local network of real homeservers with a ping room and an echo bot on each."""
    from pingboard.cli.logs import set_up_logs

    set_up_logs("WARNING")
    _until_stopped(_lab(servers, dict(_parse_delay(text) for text in delay or [])))


@database.command()
def upgrade() -> None:
    """Bring the database's tables up to date, as every start does unless PINGBOARD_MIGRATE=0."""
    settings = configured()
    from pingboard.store.engine import migrate, open_engine

    migrate(open_engine(settings.database_url))


@database.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The copy to make; it must not exist yet.")],
) -> None:
    """Copy the database to a file, also while pingboard runs (SQLite)."""
    settings = configured()
    from pingboard.store.engine import back_up, open_engine

    back_up(open_engine(settings.database_url, read_only=True), file)
    say(f"copied to {file}")


async def _run(settings: Settings) -> None:
    async with contextlib.AsyncExitStack() as stack:
        if not settings.wants_lab:
            settings.require_account()
        listener = stack.enter_context(_listener(settings))
        engine = stack.enter_context(writable(settings))
        lease = await stack.enter_async_context(_leased(engine))
        if settings.wants_lab:
            settings = await stack.enter_async_context(_lab_settings(settings))
        server = stack.enter_context(_server(settings, listener))
        async with _started_worker(settings, engine, lease) as worker:
            server.start()
            stack.callback(server.stop)
            say(f"pingboard is at {server.url}")
            say(f"  the table to paste: {server.url}rankings.md")
            say("  Ctrl-C ends it")
            await worker.run()


async def _work(settings: Settings) -> None:
    with writable(settings) as engine:
        async with (
            _leased(engine) as lease,
            _started_worker(settings, engine, lease) as worker,
        ):
            await worker.run()


async def _serve(server: Server) -> None:
    import asyncio

    server.start()
    try:
        say(f"pingboard serves {server.url}")
        await asyncio.Event().wait()
    finally:
        server.stop()


async def _echo(settings: Settings) -> None:
    from pingboard.matrix.echo import EchoBot
    from pingboard.matrix.login import log_in
    from pingboard.matrix.session import Session
    from pingboard.matrix.writer import Writer
    from pingboard.store.ingest import Ingest

    account = _account(settings)
    if account.access_token is not None:
        session = await Session.open(account)
    else:
        with writable(settings) as engine:
            writer = Writer(engine, Ingest(engine, _account_key(account)))
            session = await log_in(account, writer)
    async with contextlib.aclosing(session):
        bot = EchoBot(session, settings.rooms)
        await bot.start()
        try:
            await bot.run()
        except AccountError as error:
            raise AccountLostError(str(error)) from None


async def _lab(servers: int, delays: dict[str, float]) -> None:
    import asyncio

    from pingboard.lab import Lab

    async with Lab(servers=servers, delays=delays, on_progress=say) as lab:
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


@contextlib.asynccontextmanager
async def _lab_settings(settings: Settings) -> AsyncIterator[Settings]:
    """A lab, and the settings with an account on its first homeserver."""
    import secrets

    from pydantic import SecretStr

    from pingboard.lab import Lab

    say("no account is configured, so pingboard brings a network of its own (a lab)")
    async with Lab(servers=3, delays=LAB_DELAYS, on_progress=say) as lab:
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


@contextlib.asynccontextmanager
async def _leased(engine: Engine) -> AsyncIterator[Lease]:
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
async def _started_worker(
    settings: Settings, engine: Engine, lease: Lease
) -> AsyncIterator[Worker]:
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

    account = _account(settings)
    writer = Writer(engine, Ingest(engine, _account_key(account)))
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


def _listener(settings: Settings) -> socket.socket:
    """The port, taken before anything slow is started: it may be another program's."""
    from pingboard.web.server import listen

    return listen(settings.host, settings.port)


@contextlib.contextmanager
def _server(settings: Settings, listener: socket.socket) -> Iterator[Server]:
    """The API, reading from the database and never writing to it."""
    from pingboard.boards import Boards
    from pingboard.store.engine import is_current, open_engine
    from pingboard.web.app import cache_answers, create_app, stop_streams
    from pingboard.web.server import Server

    engine = open_engine(settings.database_url, read_only=True)
    if not is_current(engine):
        with writable(settings):
            pass
    boards = Boards(engine, next(iter(settings.rooms), None))
    app = create_app(
        boards,
        wording=wording(settings),
        configured=settings.rooms,
        per_minute=settings.rate_limit,
        embed_origins=settings.embed_origins,
    )
    try:
        cached = cache_answers(app, boards)
        yield Server(
            cached,
            listener,
            before_stop=lambda: stop_streams(app),
            root_path=settings.root_path,
            trusted_proxies=settings.forwarded_allow_ips,
        )
    finally:
        boards.close()
        engine.dispose()


def _account(settings: Settings) -> Account:
    from pingboard.matrix.account import Account

    token, password = settings.access_token, settings.password
    return Account(
        homeserver=settings.homeserver or "",
        user_id=settings.user,
        access_token=token.get_secret_value() if token else None,
        password=password.get_secret_value() if password else None,
    )


def _account_key(account: Account) -> str:
    return f"{account.homeserver} {account.user_id}"


def _until_stopped(work: Coroutine[None, None, None]) -> None:
    """Run to the end, or until Ctrl-C or SIGTERM; both end in order, with exit code 0."""
    import asyncio
    import signal

    async def stoppable() -> None:
        task = asyncio.ensure_future(work)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(stoppable())


def _parse_delay(text: str) -> tuple[str, float]:
    from pingboard.settings import parse_duration

    name, _, duration = text.partition("=")
    try:
        return name, parse_duration(duration).total_seconds()
    except ValueError as error:
        raise ConfigurationError(
            f"--delay {text!r}: {error}; for example --delay hs2=150ms"
        ) from None
