"""Past hours and months are marked stale from the journal, not by a trigger for each sample"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | Sequence[str] | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

HOUR_MS = 3_600_000
EVENTS = [
    ("sample", "INSERT", "NEW"),
    ("sample", "UPDATE", "NEW"),
    ("sample", "DELETE", "OLD"),
    ("unanswered", "INSERT", "NEW"),
    ("unanswered", "DELETE", "OLD"),
]
SQLITE_STALE = f"""
UPDATE sealed SET is_stale = 1 WHERE (room, hour) =
(SELECT room, seen_ts / {HOUR_MS} FROM ping WHERE id = %s.ping) AND NOT is_stale;
"""
POSTGRESQL_STALE = f"""
    UPDATE sealed SET is_stale = true
        FROM ping WHERE ping.id IN (SELECT ping FROM touched)
        AND sealed.room = ping.room AND sealed.hour = ping.seen_ts / {HOUR_MS} AND NOT is_stale;
"""
POSTGRESQL_FUNCTION = """
CREATE OR REPLACE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Held until the commit: so changes become visible in the order of their numbers, and a
    -- reader that has seen one has seen all before it.
    PERFORM pg_advisory_xact_lock(7369621740115);
    IF TG_TABLE_NAME = 'sample' AND TG_OP = 'INSERT' THEN
        INSERT INTO change (ping, pong_server) SELECT ping, pong_server FROM touched;
    ELSE
        INSERT INTO change (ping) SELECT DISTINCT ping FROM touched;
    END IF;%s
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "month",
        sa.Column("room", sa.Integer(), nullable=False),
        sa.Column("month", sa.Integer(), nullable=False, comment="of the pongs: 12 x year + month"),
        sa.Column("is_stale", sa.Boolean(), nullable=False, comment="an hour has changed since"),
        sa.Column("samples", sa.BigInteger(), nullable=False),
        sa.Column("delivery", sa.LargeBinary(), nullable=False, comment="see store/months.py"),
        sa.Column("reception", sa.LargeBinary(), nullable=False),
        sa.Column("response", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["room"], ["room.id"], name=op.f("fk_month_room_room")),
        sa.PrimaryKeyConstraint("room", "month", name=op.f("pk_month")),
        comment="past months: how often each latency of each server was",
    )
    sealing = op.create_table(
        "sealing",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False, comment="see store/changes.py"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sealing")),
        comment="one row: up to which change sealed hours and months are marked stale",
    )
    op.create_table(
        "closed",
        sa.Column("room", sa.Integer(), nullable=False),
        sa.Column("before_ts", sa.BigInteger(), nullable=False, comment="of the pings"),
        sa.ForeignKeyConstraint(["room"], ["room.id"], name=op.f("fk_closed_room_room")),
        sa.PrimaryKeyConstraint("room", name=op.f("pk_closed")),
        comment="rooms whose raw rows before a time are dropped: nothing is added there any more",
    )
    # Until now, triggers did it.
    version = op.get_bind().scalar(sa.text("SELECT max(id) FROM change")) or 0
    op.bulk_insert(sealing, [{"id": 1, "version": version}])
    _change_triggers(marks_stale=False)


def downgrade() -> None:
    _change_triggers(marks_stale=True)
    # What is pending would be forgotten.
    op.execute("UPDATE sealed SET is_stale = true")
    op.drop_table("closed")
    op.drop_table("sealing")
    op.drop_table("month")


def _change_triggers(*, marks_stale: bool) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(POSTGRESQL_FUNCTION % (POSTGRESQL_STALE if marks_stale else ""))
        return
    for table, event, row in EVENTS:
        name = f"{table}_{event.lower()}_is_a_change"
        is_new = (table, event) == ("sample", "INSERT")
        columns = "ping, pong_server" if is_new else "ping"
        values = f"{row}.ping, {row}.pong_server" if is_new else f"{row}.ping"
        op.execute(f"DROP TRIGGER {name}")
        op.execute(
            f"CREATE TRIGGER {name} AFTER {event} ON {table} "
            f"BEGIN INSERT INTO change ({columns}) VALUES ({values}); "
            f"{SQLITE_STALE % row if marks_stale else ''} END"
        )
