"""`import` and `export`: a database's samples from and to files; needs no account and no room."""

from __future__ import annotations

import contextlib
import sys
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal, Self, cast

import typer

from pingboard.cli.open_database import opened_boards, writable
from pingboard.cli.output import say
from pingboard.model import ConfigurationError, Window, from_ts, hide_password, to_ts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.progress import Progress

    from pingboard.cli.import_sources import Read
    from pingboard.file_formats import Record
    from pingboard.store.importer import Importer

CHUNK = 20_000
"""Rows a transaction."""

SHOWN = 20
"""Rejected rows that are listed on the terminal; a file takes all."""

import_app = typer.Typer(help="Import samples (safe to repeat).", no_args_is_help=True)

Source = Annotated[str, typer.Argument(metavar="FILE|URL", help="`-` reads from stdin.")]
Rejects = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write all rejected rows here, with reasons.")
]


@import_app.command("pingstat")
def import_pingstat(source: Source, rejected: Rejects = None) -> None:
    """Import maubot/pingstat's stats.raw.json.

    Ask for all of it with `stats.raw.json?max_age=1000000000`.
    """
    _import("pingstat", source, rejected)


@import_app.command("ndjson")
def import_ndjson(source: Source, rejected: Rejects = None) -> None:
    """Import what `pingboard export --format ndjson` wrote."""
    _import("ndjson", source, rejected)


@import_app.command("csv")
def import_csv(source: Source, rejected: Rejects = None) -> None:
    """Import what `pingboard export --format csv` wrote."""
    _import("csv", source, rejected)


def export(
    form: Annotated[
        Literal["ndjson", "csv", "pingstat"],
        typer.Option("--format", help="What to write."),
    ] = "ndjson",
    room: Annotated[
        str | None, typer.Option(metavar="ROOM", help="Alias or ID. Default: all rooms.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="Start of the window."),
    ] = None,
    to: Annotated[
        str | None, typer.Option(metavar="TIME", help="End of the window, exclusive.")
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Default: stdout.")] = None,
) -> None:
    """Write every sample as NDJSON, CSV or pingstat's JSON.

    NDJSON and CSV keep all that boards are made of.
    """
    from pingboard.settings import load_settings
    from pingboard.store.exporter import read_records
    from pingboard.store.retention import find_kept_from
    from pingboard.store.rooms import read_lineage

    settings = load_settings()
    start = _read_time("--from", since) or datetime(1970, 1, 1, tzinfo=UTC)
    end = _read_time("--to", to) or datetime(9999, 1, 1, tzinfo=UTC)
    if start > end:
        raise ConfigurationError(f"--from {since} is after --to {to}")
    with opened_boards(settings) as boards, _written(output) as file:
        rooms = None if room is None else read_lineage(boards.engine, boards.find_room(room)[0])
        kept_from = find_kept_from(boards.engine, rooms)
        if kept_from is not None and kept_from > to_ts(start):
            say(f"samples before {from_ts(kept_from):%Y-%m-%dT%H:%MZ} are not kept any more")
        WRITERS[form](read_records(boards.engine, rooms, Window(start, end)), file)


def _read_time(option: str, value: str | None) -> datetime | None:
    """Return the instant that an option names; without an offset it is UTC."""
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(value)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigurationError(
            f"{option} {value!r} is not a time; for example {option} 2026-11-24T00:00:00+01:00"
        ) from None


def _import(form: str, source: str, rejected: Path | None) -> None:
    import io

    from pingboard.cli.import_sources import READERS, Counted, open_source
    from pingboard.settings import load_settings
    from pingboard.store.importer import Importer
    from pingboard.store.lease import hold_lease

    settings = load_settings()
    # Before the database is touched: most mistakes are here.
    with _named(source):
        stream, size = open_source(source)
    with (
        stream,
        writable(settings) as engine,
        hold_lease(engine),
        _progress() as progress,
        Refusals(rejected) as refusals,
    ):
        importer = Importer(engine)
        task = progress.add_task(source.rpartition("/")[2], total=size)
        counted = Counted(stream, size, lambda count: progress.advance(task, count))
        try:
            with (
                _named(source, importer),
                io.BufferedReader(cast("Any", counted), 1 << 20) as buffered,
                importer,
            ):
                _add_all(importer, READERS[form](buffered), refusals)
        except KeyboardInterrupt:
            say(
                f"stopped: {importer.imported:,} samples are imported and kept; "
                "the same command again goes on with the rest"
            )
            raise typer.Exit(130) from None
    say(f"imported {importer.imported:,} samples; {importer.known:,} were there already")
    refusals.report()
    if refusals.count and not (importer.imported or importer.known):
        raise typer.Exit(2)  # whatever it is, it is no export


@contextlib.contextmanager
def _named(source: str, importer: Importer | None = None) -> Iterator[None]:
    """Let an error name the source, and what was imported before it."""
    try:
        yield
    except ConfigurationError as error:
        count = importer.imported if importer is not None else 0
        kept = f" ({count:,} samples are imported)" if count else ""
        raise ConfigurationError(f"{hide_password(source)}: {error}{kept}") from error


def _add_all(importer: Importer, rows: Iterator[Read], refusals: Refusals) -> None:
    numbered = enumerate(rows, 1)
    while chunk := list(islice(numbered, CHUNK)):
        records: list[Record] = []
        numbers: list[int] = []
        for number, row in chunk:
            if isinstance(row, str):
                refusals.add(number, row)
            else:
                records.append(row)
                numbers.append(number)
        for index, reason in importer.add(records):
            refusals.add(numbers[index], reason)


class Refusals:
    """The rows that could not be imported: all of them into a file, the first onto the terminal."""

    def __init__(self, path: Path | None) -> None:
        try:
            self._file = path.open("w", encoding="utf-8") if path else None
        except OSError as error:
            raise ConfigurationError(
                f"--rejected: {path} can't be written: {error.strerror}"
            ) from None
        self._path = path
        self.count = 0
        self._shown: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def add(self, number: int, reason: str) -> None:
        """Row `number`, from 1, was not imported."""
        line = f"row {number}: {reason}"
        self.count += 1
        if len(self._shown) < SHOWN:
            self._shown.append(line)
        if self._file:
            self._file.write(line + "\n")

    def report(self) -> None:
        """Say what was not imported, if anything."""
        if not self.count:
            return
        say(f"rejected {self.count:,} rows")
        for line in self._shown:
            say(f"  {line}")
        if self._path:
            say(f"  all of them are in {self._path}")
        elif self.count > SHOWN:
            say("  --rejected FILE lists all of them")


def _progress() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )


@contextlib.contextmanager
def _written(output: Path | None) -> Iterator[IO[str]]:
    if output is None:
        yield sys.stdout
        return
    try:
        with output.open("w", encoding="utf-8", newline="") as file:
            yield file
    except OSError as error:
        raise ConfigurationError(
            f"--output: {output} can't be written: {error.strerror}"
        ) from error


def _write_ndjson(records: Iterable[Record], file: IO[str]) -> None:
    import json

    for record in records:
        file.write(json.dumps(record._asdict(), separators=(",", ":")) + "\n")


def _write_csv(records: Iterable[Record], file: IO[str]) -> None:
    import csv

    from pingboard.file_formats import Record
    from pingboard.render.csv import harmless

    rows = csv.writer(file)
    rows.writerow(Record._fields)
    for record in records:
        rows.writerow(map(harmless, record))


def _write_pingstat(records: Iterable[Record], file: IO[str]) -> None:
    import json

    from pingboard.file_formats import to_pingstat

    separator = "["
    for row in filter(None, map(to_pingstat, records)):
        file.write(separator + json.dumps(row._asdict()))
        separator = ",\n"
    file.write("[]\n" if separator == "[" else "]\n")


WRITERS: dict[str, Callable[[Iterable[Record], IO[str]], None]] = {
    "ndjson": _write_ndjson,
    "csv": _write_csv,
    "pingstat": _write_pingstat,
}
