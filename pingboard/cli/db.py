"""`db`: upgrade, backup, check, copy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pingboard.cli.open_database import opened, opened_boards
from pingboard.cli.output import say
from pingboard.model import ConfigurationError, PingboardError

app = typer.Typer(help="Upgrade, back up, check or copy the database.", no_args_is_help=True)


@app.command()
def upgrade() -> None:
    """Bring the database's tables up to date.

    Every start does this unless PINGBOARD_MIGRATE=0.
    """
    from pingboard.settings import load_settings
    from pingboard.store.engine import migrate

    settings = load_settings()
    with opened(settings.database_url) as engine:
        migrate(engine)


@app.command()
def backup(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The copy to make; it must not exist yet.")
    ],
) -> None:
    """Copy a SQLite database to a file, even while in use."""
    from pingboard.settings import load_settings
    from pingboard.store.engine import back_up

    settings = load_settings()
    with opened(settings.database_url, read_only=True) as engine:
        back_up(engine, file)
    say(f"copied to {file}")


@app.command()
def check() -> None:
    """Look for damage, even while in use.

    Exit code 1 if there is any, with what to do.
    """
    from pingboard.model.findings import Verdict
    from pingboard.settings import load_settings
    from pingboard.store.check import check_database

    settings = load_settings()
    is_damaged = False
    with opened_boards(settings) as boards:
        for finding in check_database(boards.engine):
            typer.echo(str(finding))
            is_damaged |= finding.verdict is Verdict.FAULT
    if is_damaged:
        raise typer.Exit(1)


@app.command("copy")
def copy_to(
    target: Annotated[str, typer.Argument(metavar="URL", help="An empty PostgreSQL database.")],
) -> None:
    """Copy all of a SQLite database into PostgreSQL.

    Stop the worker first. Every row is read back and compared. If it is interrupted, start it
    again.
    """
    import sqlite3

    from pingboard.settings import load_settings
    from pingboard.store.copy import copy_database
    from pingboard.store.lease import hold_lease

    settings = load_settings()
    if not target.startswith(("postgresql://", "postgres://")):
        raise ConfigurationError(
            "the target is not PostgreSQL; for example postgresql://USER:PASSWORD@HOST/NAME"
        )
    with opened_boards(settings) as boards, hold_lease(boards.engine):
        try:
            with opened(target) as other, hold_lease(other):
                rows = copy_database(
                    boards.engine,
                    other,
                    on_progress=lambda name, count: say(f"  {name}: {count:,} rows"),
                )
        except PingboardError as error:
            if isinstance(error.__cause__, sqlite3.Error):  # the source can't be read
                raise
            text = str(error).replace("PINGBOARD_DATABASE_URL", "the target")
            raise type(error)(text) from error
    say(f"copied {rows:,} rows; all were read back and are equal")
    say("now set PINGBOARD_DATABASE_URL to the new database; the file stays as it is")
