"""The commands. This package is the only place where the parts are wired together.

    run     worker and API, each in a process; with nothing configured, on a lab of its own
    worker  the worker alone            serve   the API alone, needs no account
    echo    the echo bot                lab     a local network of real homeservers
    table   a board, drawn or Markdown  section the section for This Week in Matrix
    import  samples from a file         export  all samples into one
    db      the database's tables, a copy, a check
    doctor  what is wrong           health  whether a command lives, for containers

Exit codes: 0 ended as asked, 2 a setting or an argument is wrong, 3 another worker writes to the
database, 4 the homeserver turns the account away, 130 an import was interrupted, 1 anything else.
What may pass is waited for.
What a user can fix is one line on stderr, never a traceback.
"""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

from pingboard import simd
from pingboard.cli import db, doctor, lab, services, tables, transfer
from pingboard.cli.output import say, without_user_ids
from pingboard.model import (
    AccountError,
    ConfigurationError,
    LeaseError,
    PingboardError,
    UnknownRoomError,
)

# What a command needs is imported inside it: the whole stack takes 0.4 s, `--help` needs none,
# not even asyncio.

EXIT_CODES: dict[type[PingboardError], int] = {
    ConfigurationError: 2,
    LeaseError: 3,
    AccountError: 4,
    UnknownRoomError: 2,
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
        sys.exit(app(standalone_mode=False))
    except typer.TyperException as error:
        message = error.format_message().replace("Value error, ", "")
        is_help = message.startswith("Usage:")  # of a command that was given nothing
        say(message if is_help else f"pingboard: {message.rstrip('.')}; see --help")
        sys.exit(error.exit_code)
    except PingboardError as error:
        # A wrong setting is shown as it is; what a homeserver says may name anybody.
        is_ours = isinstance(error, ConfigurationError)
        for line in (str(error) if is_ours else without_user_ids(str(error))).splitlines():
            say(f"pingboard: {line}")
        sys.exit(next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind)))


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
for command in (
    services.run,
    services.echo,
    tables.table,
    tables.section,
    services.worker,
    services.serve,
    doctor.doctor,
    lab.lab,
):
    app.command()(command)
app.add_typer(transfer.import_app, name="import")
app.command()(transfer.export)
app.add_typer(db.app, name="db")
app.command()(doctor.health)
