"""changes"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | Sequence[str] | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

HOUR_MS = 3_600_000
EVENTS = {
    "sample": ("INSERT", "UPDATE", "DELETE"),
    "unanswered": ("INSERT", "DELETE"),
}
"""By table, what changes a ping's part in the boards."""

POSTGRESQL_FUNCTION = f"""
CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Held until the commit: so changes become visible in the order of their numbers, and a
    -- reader that has seen one has seen all before it.
    PERFORM pg_advisory_xact_lock(7369621740115);
    INSERT INTO change (ping) SELECT DISTINCT ping FROM touched;
    UPDATE sealed SET is_stale = true
        FROM ping WHERE ping.id IN (SELECT ping FROM touched)
        AND sealed.room = ping.room AND sealed.hour = ping.seen_ts / {HOUR_MS} AND NOT is_stale;
    RETURN NULL;
END $$;
CREATE FUNCTION note_room_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7369621740115);
    INSERT INTO change (ping) VALUES (NULL);
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "change",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column(
            "ping",
            sa.BigInteger(),
            nullable=True,
            comment="whose samples changed; null: a room changed",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_change")),
        sqlite_autoincrement=True,
        comment="journal of what the boards have to read again, written by triggers",
    )
    op.create_table(
        "sealed",
        sa.Column("room", sa.Integer(), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False, comment="of the pings, since the epoch"),
        sa.Column("is_stale", sa.Boolean(), nullable=False, comment="the rows have changed since"),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column("packed", sa.LargeBinary(), nullable=False, comment="see store/sealed.py"),
        sa.ForeignKeyConstraint(["room"], ["room.id"], name=op.f("fk_sealed_room_room")),
        sa.PrimaryKeyConstraint("room", "hour", name=op.f("pk_sealed")),
        comment="past hours, packed",
    )
    if op.get_bind().dialect.name == "sqlite":
        create_sqlite_triggers()
    else:
        create_postgresql_triggers()


def create_sqlite_triggers() -> None:
    for table, events in EVENTS.items():
        for event in events:
            row = "OLD" if event == "DELETE" else "NEW"
            op.execute(
                f"CREATE TRIGGER {table}_{event.lower()}_is_a_change AFTER {event} ON {table} "
                f"BEGIN INSERT INTO change (ping) VALUES ({row}.ping); "
                "UPDATE sealed SET is_stale = 1 WHERE (room, hour) = "
                f"(SELECT room, seen_ts / {HOUR_MS} FROM ping WHERE id = {row}.ping) "
                "AND NOT is_stale; END"
            )
    for event in ("INSERT", "UPDATE"):
        op.execute(
            f"CREATE TRIGGER room_{event.lower()}_is_a_change AFTER {event} ON room "
            "BEGIN INSERT INTO change (ping) VALUES (NULL); END"
        )


def create_postgresql_triggers() -> None:
    op.execute(POSTGRESQL_FUNCTION)
    for table, events in EVENTS.items():
        for event in events:
            rows = "OLD" if event == "DELETE" else "NEW"
            op.execute(
                f"CREATE TRIGGER {table}_{event.lower()}_is_a_change AFTER {event} ON {table} "
                f"REFERENCING {rows} TABLE AS touched "
                "FOR EACH STATEMENT EXECUTE FUNCTION note_change()"
            )
    op.execute(
        "CREATE TRIGGER room_is_a_change AFTER INSERT OR UPDATE ON room "
        "FOR EACH STATEMENT EXECUTE FUNCTION note_room_change()"
    )


def downgrade() -> None:
    names = [(table, f"{table}_{event.lower()}") for table in EVENTS for event in EVENTS[table]]
    if op.get_bind().dialect.name == "sqlite":
        for _, name in [*names, ("room", "room_insert"), ("room", "room_update")]:
            op.execute(f"DROP TRIGGER {name}_is_a_change")
    else:
        for table, name in [*names, ("room", "room")]:
            op.execute(f"DROP TRIGGER {name}_is_a_change ON {table}")
        op.execute("DROP FUNCTION note_change(); DROP FUNCTION note_room_change()")
    op.drop_table("sealed")
    op.drop_table("change")
