"""The commands. This package is the only place where the parts are wired together.

    run     worker and API, a process each; with nothing configured, on a lab of its own
    worker  the worker alone            serve   the API alone, needs no account
    echo    the echo bot                lab     a local network of real homeservers
    table   a board, drawn or Markdown  section the section for This Week in Matrix
    import  samples from a file         export  all samples into one
    db      the database's tables, a copy, a check
    doctor  what is wrong           health  whether a command lives, for containers

Exit codes: 0 ended as asked, 2 a setting or an argument is wrong, 3 another worker writes to the
database, 4 the homeserver turns the account away, 1 anything else. What may pass is waited for.
What a user can fix is one line on stderr, never a traceback.
"""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

from pingboard import simd
from pingboard.cli import databases, doctor, jobs, labs, serving, tables, transfer
from pingboard.cli.start import (
    say,
    start,
    without_user_ids,
)
from pingboard.model import (
    AccountError,
    ConfigurationError,
    LeaseError,
    PingboardError,
)

# What a command needs is imported inside it: the whole stack takes 0.4 s, `--help` needs none,
# not even asyncio.

EXIT_CODES: dict[type[PingboardError], int] = {
    ConfigurationError: 2,
    LeaseError: 3,
    AccountError: 4,
    PingboardError: 1,
}

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich would take longer to load than all of `--help`
)


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


def _name_setting(_context: typer.Context, parameter: typer.CallbackParam, value: str) -> None:
    """Say which setting it is that was looked for as an option."""
    if value is not None:
        name = f"PINGBOARD_{(parameter.name or '').upper()}"
        raise ConfigurationError(f"--{parameter.name} is a setting: set {name}={value}")


Host = Annotated[str | None, typer.Option(hidden=True, callback=_name_setting)]
Port = Annotated[str | None, typer.Option(hidden=True, callback=_name_setting)]


def run(host: Host = None, port: Port = None) -> None:
    """Run worker and API, a process each. With no account configured, on a lab of its own."""
    del host, port  # their callback has refused them
    settings = start("run")
    jobs.until_stopped(jobs.run(settings))


def worker() -> None:
    """Run the worker alone: ping, listen, record."""
    settings = start("worker")
    settings.require_account()
    jobs.until_stopped(jobs.work(settings))


def serve(
    host: Host = None,
    port: Port = None,
    listener_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Serve the boards of a database; needs no account."""
    del host, port
    settings = start("serve")
    with (
        serving.open_listener(settings, listener_fd) as listener,
        serving.open_server(settings, listener) as server,
    ):
        jobs.until_stopped(jobs.serve(server, is_alone=listener_fd is None))


def echo() -> None:
    """Answer `!ping` as maubot/echo does, to add a homeserver."""
    settings = start("echo")
    settings.require_account()
    jobs.until_stopped(jobs.echo(settings))


def lab(
    servers: Annotated[int, typer.Option(min=1, max=20, help="How many homeservers.")] = 3,
    delay: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DURATION", help="Each way, such as hs2=150ms; repeatable."),
    ] = None,
) -> None:
    """Run a local network of homeservers with echo bots."""
    from pingboard.cli.logs import set_up_logs

    set_up_logs("WARNING")
    jobs.until_stopped(labs.run_lab(servers, dict(labs.parse_delay(text) for text in delay or [])))


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from importlib.metadata import version

        typer.echo(f"pingboard {version('pingboard')}")
        raise typer.Exit


@app.callback()
def pingboard(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Rank Matrix homeservers by message latency."""


# In the order of `--help`: what most come for stands first.
for command in (run, echo, tables.table, tables.section, worker, serve, doctor.doctor, lab):
    app.command()(command)
app.add_typer(transfer.import_app, name="import")
app.command()(transfer.export)
app.add_typer(databases.app, name="db")
app.command()(doctor.health)
