"""Redactions: a pong that is taken back loses its sample, and never comes again.

Only the hash of its event says which one it is, and no index leads from there to a closed hour. So
it is looked for read-only, the newest hours first, before anything is written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import Connection, Engine

from pingboard.model import DamagedHourError, hash_event_id
from pingboard.store.engine import read_snapshot
from pingboard.store.hours import find_event_hashes
from pingboard.store.journal import HourKey
from pingboard.store.rooms import read_lineages
from pingboard.store.sample_changes import PING_FIELDS, SampleChanges, StoredPing
from pingboard.store.schema import redacted, withdrawn
from pingboard.store.sql import chunks, execute, insert_rows, placeholders


def find_hours(
    engine: Engine, events: Sequence[tuple[str, str]]
) -> tuple[set[HourKey], list[DamagedHourError]]:
    """Return the closed hours that have one of these pongs, (room ID, event ID); only reads.

    And what is wrong with those that are damaged, so that nobody knows whether they have one.
    """
    hours: set[HourKey] = set()
    damaged: list[DamagedHourError] = []
    if events:
        with read_snapshot(engine) as connection:
            lineages = read_lineages(connection)
            for room_id in {room_id for room_id, _ in events}:
                hashes = [hash_event_id(event) for of_room, event in events if of_room == room_id]
                having, unreadable = find_event_hashes(connection, lineages.find(room_id), hashes)
                hours |= having
                damaged += unreadable
    return hours, damaged


def redact(
    connection: Connection,
    changes: SampleChanges,
    room_row: int,
    lineage: Collection[int],
    event_ids: Sequence[str],
    hours: Iterable[HourKey],
) -> None:
    """Take pongs of a room back; `hours` are the closed ones that have any (see `find_hours`)."""
    hashes = [hash_event_id(event_id) for event_id in event_ids]
    rows = [(room_row, event_hash) for event_hash in hashes]
    insert_rows(connection, redacted, ("room", "event_hash"), rows)
    rooms = placeholders(len(lineage))
    for chunk in chunks(event_ids):
        sql = f"DELETE FROM pending WHERE room IN {rooms} AND event IN {placeholders(len(chunk))}"  # noqa: S608
        execute(connection, sql, *lineage, *chunk)
    withdraw(connection, changes, lineage, hashes, hours)


def withdraw(
    connection: Connection,
    changes: SampleChanges,
    lineage: Collection[int],
    hashes: Sequence[int],
    hours: Iterable[HourKey],
) -> None:
    """Delete the samples whose pongs have these event hashes, and keep them away.

    `hours` are the closed ones that have any.
    """
    in_lineage = [key for key in hours if key[0] in lineage]
    closed = changes.delete_closed(in_lineage, hashes)
    insert_rows(connection, withdrawn, ("ping", "pong_server"), closed)
    sql = f"""
    SELECT pong_server, {PING_FIELDS} FROM sample JOIN ping ON ping.id = sample.ping
    WHERE ping.room IN {placeholders(len(lineage))} AND event_hash IN """  # noqa: S608
    for chunk in chunks(hashes):
        samples = execute(connection, sql + placeholders(len(chunk)), *lineage, *chunk).all()
        keys = [(StoredPing(*row[1:]), row[0]) for row in samples]
        withdrawals = [(stored.id, server) for stored, server in keys]
        insert_rows(connection, withdrawn, ("ping", "pong_server"), withdrawals)
        changes.delete_samples(keys)


def find_redacted(
    connection: Connection, lineage: Collection[int], hashes: Iterable[int]
) -> set[int]:
    """Return those hashes whose pong was taken back, in any room of a lineage."""
    rooms = placeholders(len(lineage))
    sql = f"SELECT event_hash FROM redacted WHERE room IN {rooms} AND event_hash IN "  # noqa: S608
    return {
        row[0]
        for chunk in chunks(hashes)
        for row in execute(connection, sql + placeholders(len(chunk)), *lineage, *chunk)
    }


def find_withdrawn(connection: Connection, pings: Iterable[int]) -> set[tuple[int, int]]:
    """Return the keys (ping and pong server, rows) of the samples of pings that were taken back."""
    sql = "SELECT ping, pong_server FROM withdrawn WHERE ping IN "
    return {
        (row[0], row[1])
        for chunk in chunks(pings)
        for row in execute(connection, sql + placeholders(len(chunk)), *chunk)
    }
