"""What the store gained or lost since a version, as rows, in microseconds.

On SQLite it keeps a connection and uses the driver itself: SQLAlchemy's own part of a statement
takes longer than the database needs to read a new pong, and every new pong is read.
"""

from __future__ import annotations

import sqlite3
import weakref
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from sqlalchemy import BigInteger, and_, bindparam, func, literal_column, select
from sqlalchemy.exc import SQLAlchemyError

from pingboard.columns.blocks import HOUR_MS
from pingboard.columns.hours import Loss, Pong, Pongs
from pingboard.lineage import RoomRow, Rooms
from pingboard.model import PONG_TIMEOUT_MS, StoreError
from pingboard.store.columns import NO_OFFSET
from pingboard.store.tables import change, ping, room, sample, server, unanswered

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import ColumnElement, Connection, Engine, Select

CHUNK = 500
"""Pings in one IN list."""


class Cursor(Protocol):
    """What is used of a driver's cursor."""

    def execute(self, sql: str, parameters: Mapping[str, object], /) -> object: ...
    def fetchall(self) -> list[tuple[Any, ...]]: ...


class _Statement(NamedTuple):
    """What a driver takes."""

    sql: str
    parameters: Mapping[str, object]
    """those that are always the same"""

    def run(self, cursor: Cursor, **parameters: int) -> list[tuple[Any, ...]]:
        """The rows that it selects."""
        cursor.execute(self.sql, {**self.parameters, **parameters})
        return cursor.fetchall()


class Changed(NamedTuple):
    """One change."""

    version: int
    ping: int | None
    """None: a room changed"""
    room: int | None
    hour: int | None
    """where the ping is; None where it is gone"""
    pong: Pong | None
    """the new sample, as it is now"""
    is_unclear: bool
    """more than a new sample: all of the ping has to be read again"""


def _number(number: int) -> ColumnElement[int]:
    """In the statement itself: to bind it each time anew takes a third of a microsecond."""
    return literal_column(str(number), BigInteger)


_HOUR = ping.c.seen_ts.op("/")(_number(HOUR_MS))
# A pong belongs to the hour of its ping; so it must not be far from it.
_IS_NEAR = sample.c.delay_ms.between(_number(-PONG_TIMEOUT_MS), _number(PONG_TIMEOUT_MS))
_PONG: tuple[ColumnElement[Any], ...] = (
    ping.c.seen_ts + sample.c.delay_ms,
    ping.c.server,
    sample.c.pong_server,
    sample.c.one_way_ms,
    func.coalesce(sample.c.round_trip_ms, _number(-1)),
    func.coalesce(
        ping.c.origin_server_ts + sample.c.one_way_ms - ping.c.sent_ts - sample.c.lag_ms,
        _number(NO_OFFSET),
    ),
    ping.c.vantage.is_not(None),
)
_NEWS = (
    select(change.c.id, change.c.ping, change.c.pong_server, ping.c.room, _HOUR, *_PONG)
    .select_from(change)
    .outerjoin(ping, ping.c.id == change.c.ping)
    .outerjoin(
        sample,
        and_(
            sample.c.ping == change.c.ping, sample.c.pong_server == change.c.pong_server, _IS_NEAR
        ),
    )
    .where(change.c.id >= bindparam("version"))
    .order_by(change.c.id)
    .limit(bindparam("most"))
)
_SAMPLES = select(ping.c.id, *_PONG).join_from(ping, sample, sample.c.ping == ping.c.id)
_SAMPLES = _SAMPLES.where(_IS_NEAR)
_LOSSES = select(ping.c.id, ping.c.seen_ts, unanswered.c.pong_server).join_from(
    ping, unanswered, unanswered.c.ping == ping.c.id
)
_ONE = ping.c.id == bindparam("ping")


class News:
    """Reads one database. For one thread at a time.

    `with news as cursor` gives a cursor, of which each statement may see a later moment than the
    one before; StoreError where the database can't be asked.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_sqlite = engine.dialect.name == "sqlite"
        style = "named" if self._is_sqlite else "pyformat"
        self._dialect = type(engine.dialect)(paramstyle=style)  # type: ignore[call-arg]
        self._cursor: sqlite3.Cursor | None = None
        self._connection: Connection | None = None
        """on PostgreSQL, while it is used"""
        self._errors = (engine.dialect.loaded_dbapi.Error, SQLAlchemyError)
        self._seen: object = None

    @cached_property
    def _news(self) -> _Statement:
        return self._compile(_NEWS)

    @cached_property
    def _samples(self) -> _Statement:
        return self._compile(_SAMPLES.where(_ONE))

    @cached_property
    def _losses(self) -> _Statement:
        return self._compile(_LOSSES.where(_ONE))

    def is_due(self) -> bool:
        """Whether anything may be new since this was last asked; on PostgreSQL always."""
        if not self._is_sqlite:
            return True
        try:
            # It changes whenever another connection commits, of whatever process.
            seen = self._connect().execute("PRAGMA data_version").fetchone()
        except self._errors as error:
            raise self._explain(error) from error
        before, self._seen = self._seen, seen
        return bool(before != seen)

    # Not as a generator, which would take two microseconds.
    def __enter__(self) -> Cursor:
        try:
            if self._is_sqlite:
                return self._connect()
            self._connection = self._engine.connect()
            return cursor_of(self._connection)
        except self._errors as error:
            raise self._explain(error) from error

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if isinstance(error, self._errors):
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> StoreError:
        self._cursor = None
        return StoreError(f"the database can't be asked for what is new: {error}")

    def read(self, cursor: Cursor, version: int, most: int) -> list[Changed] | None:
        """What came after a version, in order; None where it is more than `most`, or forgotten."""
        if version < 0:  # nothing was read before: no need to look how much would be new
            return None
        rows = self._news.run(cursor, version=version, most=most + 2)
        # The version's own row says that none behind it was forgotten.
        if not rows or rows[0][0] != version or len(rows) > most + 1:
            return None
        del rows[0]
        return [
            Changed(
                row[0],
                row[1],
                row[3],
                row[4],
                None if row[5] is None else Pong(row[1], *row[5:]),
                row[1] is not None and row[2] is None,
            )
            for row in rows
        ]

    def read_pings(self, cursor: Cursor, pings: Iterable[int]) -> dict[int, Pongs]:
        """All that belongs to these pings now."""
        wanted = sorted(pings)
        found = {one: Pongs() for one in wanted}
        if len(wanted) == 1:
            one = wanted[0]
            _sort(found, self._samples.run(cursor, ping=one), self._losses.run(cursor, ping=one))
            return found
        for start in range(0, len(wanted), CHUNK):
            among = ping.c.id.in_(wanted[start : start + CHUNK])
            samples, losses = (self._compile(one.where(among)) for one in (_SAMPLES, _LOSSES))
            _sort(found, samples.run(cursor), losses.run(cursor))
        return found

    def read_names(self, cursor: Cursor) -> list[str]:
        """The server of each row ID; empty for an ID that is none."""
        rows = self._compile(select(server.c.id, server.c.name)).run(cursor)
        names = [""] * (max((id_ for id_, _ in rows), default=-1) + 1)
        for id_, name in rows:
            names[id_] = name
        return names

    def read_rooms(self, cursor: Cursor) -> Rooms:
        """Every room."""
        columns = (room.c.id, room.c.room_id, room.c.alias, room.c.predecessor)
        rows = self._compile(select(*columns).order_by(room.c.id)).run(cursor)
        return Rooms([RoomRow(*row) for row in rows])

    def _compile(self, statement: Select[Any]) -> _Statement:
        options = {"render_postcompile": True}
        compiled = statement.compile(dialect=self._dialect, compile_kwargs=options)
        return _Statement(str(compiled), compiled.params)

    def _connect(self) -> sqlite3.Cursor:
        if self._cursor is not None:
            return self._cursor
        raw = self._engine.raw_connection()
        connection = cast("sqlite3.Connection", raw.driver_connection)
        raw.detach()
        weakref.finalize(self, connection.close)
        self._cursor = connection.cursor()
        return self._cursor


def cursor_of(connection: Connection) -> Cursor:
    """The driver's cursor in a connection's transaction."""
    return cast("Cursor", connection.connection.cursor())


def _sort(
    found: Mapping[int, Pongs],
    samples: Iterable[tuple[Any, ...]],
    losses: Iterable[tuple[Any, ...]],
) -> None:
    for row in samples:
        pong = Pong(*row)
        found[pong.ping].samples[pong.pong_server] = pong
    for row in losses:
        loss = Loss(*row)
        found[loss.ping].losses[loss.pong_server] = loss
