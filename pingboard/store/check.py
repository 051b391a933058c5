"""Whether what is stored can be true: a database -> findings, with what to do. Reads only."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from sqlalchemy import Connection, Engine, func, inspect, select, text

from pingboard.model import DamagedHourError
from pingboard.model.findings import Finding, Verdict
from pingboard.sample_blocks import HOUR_MS
from pingboard.store.engine import read_snapshot
from pingboard.store.hours import iterate_hours, name_hour, read_hour
from pingboard.store.schema import (
    hour,
    journal_entry,
    metadata,
    ping,
    room,
    sample,
    server,
    unanswered,
)

_RESTORE = "restore the last backup; what happened since is filled in from the rooms' history"
_REPORT = "restore the last backup, and report it: this is a fault of pingboard"


def check_database(engine: Engine) -> Iterator[Finding]:
    """Yield a finding for each thing looked at: integrity, references, journal, closed hours."""
    with read_snapshot(engine) as connection:
        missing = metadata.tables.keys() - set(inspect(connection).get_table_names())
        if missing:
            yield _judge("tables", "", [f"{name} is not there" for name in sorted(missing)])
            return
        if engine.dialect.name == "sqlite":
            yield from _check_file(connection)
        else:
            yield from _check_tables(connection)
        yield from _check_journal(connection)
        yield _check_hours(connection)


def check_hours(engine: Engine) -> Finding:
    """Return what is wrong with closed hours."""
    with read_snapshot(engine) as connection:
        return _check_hours(connection)


def _check_file(connection: Connection) -> Iterator[Finding]:
    faults = [str(row[0]) for row in connection.execute(text("PRAGMA integrity_check(20)"))]
    yield _judge("integrity", "the file is whole", [line for line in faults if line != "ok"])
    broken = connection.execute(text("PRAGMA foreign_key_check")).fetchmany(20)
    yield _judge(
        "references",
        "every row refers to one that is there",
        [f"{table}, row {row} refers to no {parent}" for table, row, parent, _ in broken],
    )


def _check_tables(connection: Connection) -> Iterator[Finding]:
    """PostgreSQL keeps its references itself; that each row can be read is what is looked at."""
    rows = sum(
        connection.execute(select(func.count()).select_from(table)).scalar_one()
        for table in metadata.sorted_tables
    )
    yield Finding("integrity", Verdict.OK, f"{rows:,} rows can be read")


def _check_journal(connection: Connection) -> Iterator[Finding]:
    known = select(room.c.id)
    unknown = select(func.count()).where(
        journal_entry.c.room.is_not(None), journal_entry.c.room.not_in(known)
    )
    count = connection.execute(unknown).scalar_one()
    faults = [f"{count} entries are of rooms that are not there"] if count else []
    newest = connection.execute(select(func.max(journal_entry.c.version))).scalar_one() or 0
    later = select(func.count()).where(sample.c.version > newest)
    if above := connection.execute(later).scalar_one():
        faults.append(f"{above} samples are newer than its last entry")
    yield _judge("journal", f"version {newest}", faults, _REPORT)


def _check_hours(connection: Connection) -> Finding:
    """Compare what each closed hour says of itself with what is in it, and with the rows."""
    damaged: list[str] = []
    faults: list[str] = []
    servers = set(connection.scalars(select(server.c.id)))
    listed = connection.execute(
        select(hour.c.room, hour.c.hour, hour.c.samples, hour.c.cold.is_not(None)).order_by(
            hour.c.room, hour.c.hour
        )
    ).all()
    total = 0
    for room_row, number, samples, is_whole in listed:
        try:
            fault = _find_fault(connection, room_row, number, samples, servers, is_whole=is_whole)
            faults += [f"{name_hour(connection, room_row, number)} {fault}"] if fault else []
        except DamagedHourError as error:
            damaged.append(error.description)
        total += samples
    for table in (sample, unanswered):
        double = (
            select(ping.c.room, hour.c.hour)
            .select_from(table.join(ping, ping.c.id == table.c.ping))
            .join(hour, (hour.c.room == ping.c.room) & (hour.c.hour == ping.c.seen_ts // HOUR_MS))
            .distinct()
        )
        faults += [
            f"{name_hour(connection, *key)} is closed, and has rows in {table.name}"
            for key in connection.execute(double).all()
        ]
    remedy = _REPORT if faults else _RESTORE
    text = f"{len(listed):,} closed, {total:,} samples in them"
    return _judge("hours", text, damaged + faults, remedy)


def _find_fault(
    connection: Connection,
    room_row: int,
    number: int,
    samples: int,
    servers: set[int],
    *,
    is_whole: bool,
) -> str | None:
    dict(iterate_hours(connection, room_row, number, number + 1))
    stored = read_hour(connection, room_row, number) if is_whole else None
    if stored is None:
        return None
    if len(stored.samples.ping) != samples:
        return f"has {len(stored.samples.ping)} samples, and says {samples}"
    if not set(np.unique(stored.samples.pong_server).tolist()) <= servers:
        return "names homeservers that are not there"
    return None


def _judge(topic: str, text: str, faults: list[str], remedy: str = _RESTORE) -> Finding:
    if not faults:
        return Finding(topic, Verdict.OK, text)
    more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
    return Finding(topic, Verdict.FAULT, "; ".join(faults[:5]) + more, remedy)
