"""maubot/pingstat's algorithm, restated from the method, on a database like its own.

One row a pong, all of it text and without an index on time; a statistic reads every row of the
room through SQLAlchemy, sorts them into dicts and takes `statistics.median`, mean and geometric
mean of each ping server and of each pong server inside.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from statistics import fmean, geometric_mean, median
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text, create_engine, select

if TYPE_CHECKING:
    from bench.pongs import Pongs

ROOM = "!bench:server0.example"
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


def write(pongs: Pongs, path: Path) -> None:
    """Write a database as pingstat keeps it."""
    create(path)
    names = pongs.names
    columns = (
        pongs.ping,
        pongs.pong_server,
        pongs.ping_server,
        pongs.one_way_ms,
        pongs.pong_seen_ts,
    )
    rows = (
        (ROOM, f"$ping-{ping:016}-of-a-usual-event-id", names[by], names[to], ms, ts)
        for ping, by, to, ms, ts in zip(*(column.tolist() for column in columns), strict=True)
    )
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany("INSERT INTO pong VALUES (?, ?, ?, ?, ?, ?)", rows)


def create(path: Path) -> None:
    """Create the empty database."""
    engine = create_engine(f"sqlite:///{path}")
    pong.metadata.create_all(engine)
    engine.dispose()


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
    """Return median and mean of each ping server in ms, by median."""
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
        for of_pong_server in by_pong.values():
            _summarise([*of_pong_server.values()])
        pooled = [ms for of_pong_server in by_pong.values() for ms in of_pong_server.values()]
        middle, mean, _ = _summarise(pooled)
        numbers[server] = (middle, mean)
    return dict(sorted(numbers.items(), key=lambda item: item[1][0]))


def _summarise(diffs: list[int]) -> tuple[float, float, float]:
    return median(diffs), fmean(diffs), geometric_mean(diffs)


if __name__ == "__main__":
    read_and_rank(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
