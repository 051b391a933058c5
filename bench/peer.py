"""maubot/pingstat's algorithm, restated from the method, on a database like its own.

One row a pong, all of it text and without an index on time; a statistic reads every row of the
room through SQLAlchemy, sorts them into dicts and takes `statistics.median`, mean and geometric
mean of each ping server and of each pong server inside.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from statistics import fmean, geometric_mean, median
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text, create_engine, select

if TYPE_CHECKING:
    from bench.pongs import Pongs

ROOM = "!bench:server0.example"
Row = tuple[str, int]
"""ping server and receive_diff (ms)"""

pong = Table(
    "pong",
    MetaData(),
    Column("room_id", Text, primary_key=True),
    Column("ping_id", Text, primary_key=True),
    Column("pong_server", Text, primary_key=True),
    Column("ping_server", Text, nullable=False),
    Column("receive_diff", Integer, nullable=False),
    Column("pong_timestamp", BigInteger, nullable=False),
)


def rank(rows: Iterable[Row]) -> dict[str, tuple[float, float]]:
    """Median and mean of each ping server in ms, by median, from rows in memory."""
    diffs: dict[str, list[int]] = {}
    for ping_server, receive_diff in rows:
        if 10 <= receive_diff <= 600_000:
            diffs.setdefault(ping_server, []).append(receive_diff)
    numbers = {server: (median(each), sum(each) / len(each)) for server, each in diffs.items()}
    return dict(sorted(numbers.items(), key=lambda item: item[1][0]))


def write(pongs: Pongs, path: Path) -> None:
    """A database as pingstat keeps it."""
    create(path)
    names = pongs.names
    rows = (
        (ROOM, f"$ping-{ping + 1:016}-of-a-usual-event-id", names[to], names[by], ms, seen)
        for ping, by, to, ms, seen in zip(
            pongs.ping.tolist(),
            pongs.ping_server.tolist(),
            pongs.pong_server.tolist(),
            pongs.one_way_ms.tolist(),
            (pongs.ping_seen_ts[pongs.ping] + pongs.one_way_ms).tolist(),
            strict=True,
        )
    )
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany("INSERT INTO pong VALUES (?, ?, ?, ?, ?, ?)", rows)


def create(path: Path) -> None:
    """The empty database."""
    engine = create_engine(f"sqlite:///{path}")
    pong.metadata.create_all(engine)
    engine.dispose()


def insert_one(path: Path) -> Inserter:
    """What it does with each pong that it hears."""
    return Inserter(path)


class Inserter:
    """A row and a commit a pong, as SQLite does it when nothing is set."""

    def __init__(self, path: Path) -> None:
        create(path)
        self._engine = create_engine(f"sqlite:///{path}")
        self._count = 0

    def __call__(self, pongs: int) -> None:
        for _ in range(pongs):
            self._count += 1
            row = (ROOM, f"$ping{self._count}", "a.example", "b.example", 213, 1_780_000_000_000)
            with self._engine.begin() as connection:
                connection.execute(
                    pong.insert().values(dict(zip(pong.columns.keys(), row, strict=True)))
                )


def read_and_rank(path: Path, oldest_ts: int, newest_ts: int) -> dict[str, tuple[float, float]]:
    """Median and mean of each ping server in ms, by median, from the database."""
    diffs: dict[str, dict[str, dict[str, int]]] = {}
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        for row in connection.execute(select(pong).where(pong.c.room_id == ROOM)):
            if oldest_ts <= row.pong_timestamp <= newest_ts and 10 <= row.receive_diff <= 600_000:
                of_ping = diffs.setdefault(row.ping_server, {})
                of_ping.setdefault(row.pong_server, {})[row.ping_id] = row.receive_diff
    engine.dispose()
    numbers = {}
    for server, by_pong in diffs.items():
        for one in by_pong.values():
            _summarise(list(one.values()))
        middle, mean, _ = _summarise([ms for one in by_pong.values() for ms in one.values()])
        numbers[server] = (middle, mean)
    return dict(sorted(numbers.items(), key=lambda item: item[1][0]))


def _summarise(diffs: list[int]) -> tuple[float, float, float]:
    return median(diffs), fmean(diffs), geometric_mean(diffs)


if __name__ == "__main__":
    read_and_rank(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
