"""The row IDs that the writers ask for: of names, and of the rooms of a lineage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, Table, select

from pingboard.model import Ping
from pingboard.store.rooms import Lineages, read_lineages
from pingboard.store.schema import room, server, vantage
from pingboard.store.sql import chunks, execute, insert_rows, placeholders

MAX_NAMES = 50_000


class Names:
    """The row IDs of names in a dictionary table (`server`, `room`); these are never deleted."""

    def __init__(self, table: Table, column: str) -> None:
        self._table, self._column = table, column
        self._rows: dict[str, int] = {}
        self.has_new = False
        """whether a name was inserted since this was last set to False"""

    def forget(self) -> None:
        """Forget all, because what was inserted may not have been committed."""
        self._rows.clear()

    def find(self, connection: Connection, names: Iterable[str]) -> Mapping[str, int]:
        """Return row IDs of at least these names; new names are inserted."""
        unknown = sorted({name for name in names if name not in self._rows})
        if unknown:
            if len(self._rows) > MAX_NAMES:
                self._rows.clear()
                return self.find(connection, names)
            self._rows |= self._read(connection, unknown)
            new = [(name,) for name in unknown if name not in self._rows]
            if new:
                insert_rows(connection, self._table, (self._column,), new)
                self._rows |= self._read(connection, [name for (name,) in new])
                self.has_new = True
        return self._rows

    def _read(self, connection: Connection, names: Sequence[str]) -> dict[str, int]:
        sql = f"SELECT {self._column}, id FROM {self._table.name} WHERE {self._column} IN "  # noqa: S608
        return {
            name: row
            for chunk in chunks(names)
            for name, row in execute(connection, sql + placeholders(len(chunk)), *chunk)
        }


class RowIDs:
    """The rows that one writer refers to, most of them in memory."""

    def __init__(self) -> None:
        self.rooms, self.servers = Names(room, "room_id"), Names(server, "name")
        self._lineages: Lineages | None = None

    def forget(self) -> None:
        self.rooms.forget()
        self.servers.forget()
        self._lineages = None

    def find_lineage(self, connection: Connection, room_id: str) -> tuple[int, ...]:
        """Return the rows of a room and of all that it was upgraded from or to."""
        self.rooms.find(connection, [room_id])
        if self._lineages is None or not self._lineages.find(room_id):
            self._lineages = read_lineages(connection)
        return self._lineages.find(room_id)

    def find_vantage(self, connection: Connection, ping: Ping) -> int | None:
        """Return the row of the vantage that a ping was sent from, None for a foreign ping."""
        if ping.vantage is None:
            return None
        servers = self.servers.find(connection, [ping.server])
        row = (ping.vantage, servers[ping.server])
        statement = select(vantage.c.id).filter_by(name=row[0], server=row[1])
        vantage_row: int | None = connection.scalar(statement)
        if vantage_row is None:
            insert_rows(connection, vantage, ("name", "server"), [row])
            vantage_row = connection.scalar(statement)
        return vantage_row
