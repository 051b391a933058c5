"""change: which pong is new"""

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | None = None
depends_on: str | None = None

HOUR_MS = 3_600_000
SQLITE_TRIGGER = f"""
CREATE TRIGGER sample_insert_is_a_change AFTER INSERT ON sample
BEGIN INSERT INTO change (%s) VALUES (%s);
UPDATE sealed SET is_stale = 1 WHERE (room, hour) =
(SELECT room, seen_ts / {HOUR_MS} FROM ping WHERE id = NEW.ping)
AND NOT is_stale; END
"""
POSTGRESQL_FUNCTION = f"""
CREATE OR REPLACE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Held until the commit: so changes become visible in the order of their numbers, and a
    -- reader that has seen one has seen all before it.
    PERFORM pg_advisory_xact_lock(7369621740115);
    %s
    UPDATE sealed SET is_stale = true
        FROM ping WHERE ping.id IN (SELECT ping FROM touched)
        AND sealed.room = ping.room AND sealed.hour = ping.seen_ts / {HOUR_MS} AND NOT is_stale;
    RETURN NULL;
END $$
"""
NOTE_PINGS = "INSERT INTO change (ping) SELECT DISTINCT ping FROM touched;"
NOTE_PONGS = """
    IF TG_TABLE_NAME = 'sample' AND TG_OP = 'INSERT' THEN
        INSERT INTO change (ping, pong_server) SELECT ping, pong_server FROM touched;
    ELSE
        INSERT INTO change (ping) SELECT DISTINCT ping FROM touched;
    END IF;
"""


def upgrade() -> None:
    column = sa.Column("pong_server", sa.Integer(), comment="of a new sample")
    op.add_column("change", column)
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER sample_insert_is_a_change")
        op.execute(SQLITE_TRIGGER % ("ping, pong_server", "NEW.ping, NEW.pong_server"))
    else:
        op.execute(POSTGRESQL_FUNCTION % NOTE_PONGS)


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER sample_insert_is_a_change")
        op.execute(SQLITE_TRIGGER % ("ping", "NEW.ping"))
    else:
        op.execute(POSTGRESQL_FUNCTION % NOTE_PINGS)
    op.drop_column("change", "pong_server")
