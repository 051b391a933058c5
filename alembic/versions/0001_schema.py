"""schema"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | Sequence[str] | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "journal_entry",
        sa.Column(
            "version",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column(
            "room",
            sa.Integer(),
            nullable=True,
            comment="row ID; null: a room, an alias or an edition changed",
        ),
        sa.Column(
            "hour", sa.Integer(), nullable=True, comment="of the pings whose samples changed"
        ),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_journal_entry")),
        comment="the journal: what a reader has to read again",
    )
    op.create_table(
        "edition",
        sa.Column("name", sa.Text(), nullable=False, comment="the ISO week, 2026-W41"),
        sa.Column("closed_ts", sa.BigInteger(), nullable=False),
        sa.Column("json", sa.Text(), nullable=False),
        sa.Column("markdown", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_edition")),
        comment="a week's boards, frozen as they were rendered",
    )
    op.create_table(
        "watch",
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("homeserver", sa.Text(), nullable=False),
        sa.Column(
            "told_ts",
            sa.BigInteger(),
            nullable=False,
            comment="up to when its changes were sent",
        ),
        sa.PrimaryKeyConstraint("room_id", "homeserver", name=op.f("pk_watch")),
        comment="which homeservers a room wants to be told about",
    )
    op.create_table(
        "room",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=True, comment="by which the operator configured it"),
        sa.Column(
            "predecessor",
            sa.Integer(),
            nullable=True,
            comment="the room that was upgraded to this one",
        ),
        sa.Column(
            "state", sa.Text(), nullable=True, comment="model.RoomState; null before the first join"
        ),
        sa.ForeignKeyConstraint(
            ["predecessor"], ["room.id"], name=op.f("fk_room_predecessor_room")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_room")),
        sa.UniqueConstraint("room_id", name=op.f("uq_room_room_id")),
    )
    op.create_table(
        "server",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_server")),
        sa.UniqueConstraint("name", name=op.f("uq_server_name")),
    )
    op.create_table(
        "session",
        sa.Column("account", sa.Text(), nullable=False, comment="digest of homeserver and user ID"),
        sa.Column("device_id", sa.Text(), nullable=True),
        sa.Column(
            "access_token",
            sa.Text(),
            nullable=True,
            comment="only where we logged in with a password",
        ),
        sa.Column(
            "next_batch",
            sa.Text(),
            nullable=True,
            comment="the sync token, committed with what it covers",
        ),
        sa.Column(
            "last_batch",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="number of the batch that was committed last, so that none is committed twice",
        ),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_session")),
        comment="what lets a restart go on where the worker stopped",
    )
    op.create_table(
        "void_round",
        sa.Column("vantage", sa.Text(), nullable=False, comment="its name"),
        sa.Column("reason", sa.Text(), nullable=False, comment="model.VoidReason"),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("vantage", "reason", name=op.f("pk_void_round")),
        comment="rounds of ours that measured nothing, so that an operator can see why",
    )
    op.create_table(
        "rejected_pong",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column(
            "event_hash",
            sa.BigInteger(),
            nullable=False,
            comment="48 bits of the pong's event ID",
        ),
        sa.Column("reason", sa.Text(), nullable=False, comment="model.Rejection"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rejected_pong")),
        sa.UniqueConstraint(
            "event_hash", "reason", name=op.f("uq_rejected_pong_event_hash_reason")
        ),
        comment="the last pongs that did not count, so that none counts later, or is counted again",
    )
    op.create_table(
        "worker",
        sa.Column("vantage", sa.Text(), nullable=False, comment="its name"),
        sa.Column("state", sa.Text(), nullable=False, comment="model.WorkerState"),
        sa.Column("since_ts", sa.BigInteger(), nullable=False, comment="of the state"),
        sa.Column("synced_ts", sa.BigInteger(), nullable=True, comment="the last answered sync"),
        sa.Column("late_ms", sa.Integer(), nullable=True, comment="its event loop's worst lately"),
        sa.PrimaryKeyConstraint("vantage", name=op.f("pk_worker")),
        comment="how the worker is, for readiness and for stale pages",
    )
    op.create_table(
        "dropped",
        sa.Column("room", sa.Integer(), nullable=False),
        sa.Column("event_hash", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["room"], ["room.id"], name=op.f("fk_dropped_room_room")),
        sa.PrimaryKeyConstraint("room", "event_hash", name=op.f("pk_dropped")),
        comment="pings whose single samples retention has dropped: none of them is new again",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "gap",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("room", sa.Integer(), nullable=False),
        sa.Column(
            "position", sa.Text(), nullable=False, comment="the token to go on from, backwards"
        ),
        sa.Column(
            "until",
            sa.Text(),
            nullable=True,
            comment="the token where it ends; null for the room's beginning",
        ),
        sa.Column(
            "oldest_ts", sa.BigInteger(), nullable=True, comment="events before it are not wanted"
        ),
        sa.Column("opened_ts", sa.BigInteger(), nullable=False),
        sa.Column("closed_ts", sa.BigInteger(), nullable=True),
        sa.Column("pongs", sa.Integer(), server_default="0", nullable=False),
        sa.Column("fault", sa.Text(), nullable=True, comment="why it could not be filled"),
        sa.ForeignKeyConstraint(["room"], ["room.id"], name=op.f("fk_gap_room_room")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gap")),
        comment="stretches of a room's history that we did not see arrive",
    )
    op.create_table(
        "hour",
        sa.Column("room", sa.Integer(), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False, comment="of the pings, since the epoch"),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column(
            "first_origin_ts", sa.BigInteger(), nullable=False, comment="of its pongs' own times"
        ),
        sa.Column("last_origin_ts", sa.BigInteger(), nullable=False),
        sa.Column(
            "hot",
            sa.LargeBinary(),
            nullable=False,
            comment="what boards need, see store/packing.py",
        ),
        sa.Column(
            "cold",
            sa.LargeBinary(),
            nullable=True,
            comment="the rest; null once retention has dropped it",
        ),
        sa.ForeignKeyConstraint(["room"], ["room.id"], name=op.f("fk_hour_room_room")),
        sa.PrimaryKeyConstraint("room", "hour", name=op.f("pk_hour")),
        comment="closed hours, packed",
    )
    op.create_table(
        "pending",
        sa.Column("room", sa.Integer(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False, comment="event ID of the pong"),
        sa.Column("pong_server", sa.Integer(), nullable=False),
        sa.Column("ping_event", sa.Text(), nullable=False),
        sa.Column("claimed_from", sa.Text(), nullable=True),
        sa.Column("one_way_ms", sa.Integer(), nullable=False),
        sa.Column("origin_server_ts", sa.BigInteger(), nullable=False),
        sa.Column("seen_ts", sa.BigInteger(), nullable=False),
        sa.Column("provenance", sa.SmallInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["pong_server"], ["server.id"], name=op.f("fk_pending_pong_server_server")
        ),
        sa.ForeignKeyConstraint(["room"], ["room.id"], name=op.f("fk_pending_room_room")),
        sa.PrimaryKeyConstraint("room", "event", name=op.f("pk_pending")),
        comment="pongs whose ping is not known yet",
    )
    op.create_table(
        "redacted",
        sa.Column("room", sa.Integer(), nullable=False),
        sa.Column("event_hash", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["room"], ["room.id"], name=op.f("fk_redacted_room_room")),
        sa.PrimaryKeyConstraint("room", "event_hash", name=op.f("pk_redacted")),
        comment="pongs that were taken back, so that none comes again with a gap fill",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rejection",
        sa.Column("room", sa.Integer(), nullable=False),
        sa.Column("pong_server", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False, comment="model.Rejection"),
        sa.Column("day", sa.Integer(), nullable=False, comment="days since the Unix epoch, UTC"),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["pong_server"], ["server.id"], name=op.f("fk_rejection_pong_server_server")
        ),
        sa.ForeignKeyConstraint(["room"], ["room.id"], name=op.f("fk_rejection_room_room")),
        sa.PrimaryKeyConstraint("room", "pong_server", "reason", "day", name=op.f("pk_rejection")),
        comment="pongs that did not count, so that an admin can see why",
    )
    op.create_table(
        "retention",
        sa.Column("room", sa.Integer(), nullable=False),
        sa.Column("kept_from_ts", sa.BigInteger(), nullable=False, comment="of the pings"),
        sa.ForeignKeyConstraint(["room"], ["room.id"], name=op.f("fk_retention_room_room")),
        sa.PrimaryKeyConstraint("room", name=op.f("pk_retention")),
        comment="rooms whose older hours have lost what boards do not need: these stay as they are",
    )
    op.create_table(
        "vantage",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False, comment="of the worker"),
        sa.Column("server", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["server"], ["server.id"], name=op.f("fk_vantage_server_server")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vantage")),
        sa.UniqueConstraint("name", "server", name=op.f("uq_vantage_name_server")),
        comment="where our own pings were sent from: a round trip depends on where one stands",
    )
    op.create_table(
        "ping",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("room", sa.Integer(), nullable=False),
        sa.Column("server", sa.Integer(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False, comment="event ID"),
        sa.Column(
            "origin_server_ts",
            sa.BigInteger(),
            nullable=False,
            comment="by the ping server's clock",
        ),
        sa.Column(
            "seen_ts", sa.BigInteger(), nullable=False, comment="our receipt, or origin_server_ts"
        ),
        sa.Column("vantage", sa.Integer(), nullable=True, comment="set for our own pings alone"),
        sa.Column(
            "sent_ts",
            sa.BigInteger(),
            nullable=True,
            comment="our clock at the send, for our own pings alone",
        ),
        sa.Column(
            "is_estimated",
            sa.Boolean(),
            server_default=sa.false(),
            nullable=False,
            comment="its times follow from an imported pong; the real ones take their place",
        ),
        sa.ForeignKeyConstraint(["room"], ["room.id"], name=op.f("fk_ping_room_room")),
        sa.ForeignKeyConstraint(["server"], ["server.id"], name=op.f("fk_ping_server_server")),
        sa.ForeignKeyConstraint(["vantage"], ["vantage.id"], name=op.f("fk_ping_vantage_vantage")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ping")),
        sa.UniqueConstraint("room", "event", name=op.f("uq_ping_room_event")),
    )
    with op.batch_alter_table("ping", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_ping_room_seen_ts"), ["room", "seen_ts"], unique=False)

    op.create_table(
        "sample",
        sa.Column("ping", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("pong_server", sa.Integer(), nullable=False),
        sa.Column("one_way_ms", sa.Integer(), nullable=False, comment="as the bot claims"),
        sa.Column(
            "round_trip_ms",
            sa.Integer(),
            nullable=True,
            comment="for our own pings whose pong we saw arrive",
        ),
        sa.Column(
            "delay_ms", sa.BigInteger(), nullable=False, comment="pong seen, minus ping.seen_ts"
        ),
        sa.Column(
            "lag_ms",
            sa.BigInteger(),
            nullable=False,
            comment="pong seen, minus its origin_server_ts",
        ),
        sa.Column("provenance", sa.SmallInteger(), nullable=False, comment="model.Provenance"),
        sa.Column(
            "event_hash",
            sa.BigInteger(),
            nullable=True,
            comment="48 bits of the pong's event ID, for redactions",
        ),
        sa.Column(
            "version",
            sa.BigInteger(),
            nullable=True,
            comment="its number in the journal; null once that is past",
        ),
        sa.ForeignKeyConstraint(["ping"], ["ping.id"], name=op.f("fk_sample_ping_ping")),
        sa.ForeignKeyConstraint(
            ["pong_server"], ["server.id"], name=op.f("fk_sample_pong_server_server")
        ),
        sa.PrimaryKeyConstraint("ping", "pong_server", name=op.f("pk_sample")),
        comment="of open hours",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "unanswered",
        sa.Column("ping", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("pong_server", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["ping"], ["ping.id"], name=op.f("fk_unanswered_ping_ping")),
        sa.ForeignKeyConstraint(
            ["pong_server"], ["server.id"], name=op.f("fk_unanswered_pong_server_server")
        ),
        sa.PrimaryKeyConstraint("ping", "pong_server", name=op.f("pk_unanswered")),
        comment="of open hours: pongs expected for our own pings, lost 10 min after the ping",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "withdrawn",
        sa.Column("ping", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("pong_server", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["ping"], ["ping.id"], name=op.f("fk_withdrawn_ping_ping")),
        sa.ForeignKeyConstraint(
            ["pong_server"], ["server.id"], name=op.f("fk_withdrawn_pong_server_server")
        ),
        sa.PrimaryKeyConstraint("ping", "pong_server", name=op.f("pk_withdrawn")),
        comment="samples whose pong was taken back: imported rows carry no event ID",
        sqlite_with_rowid=False,
    )
    # So that a reader that saw nothing yet can tell it from one that saw all.
    op.execute("INSERT INTO journal_entry (version) VALUES (0)")


def downgrade() -> None:
    op.drop_table("withdrawn")
    op.drop_table("unanswered")
    op.drop_table("sample")
    with op.batch_alter_table("ping", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_ping_room_seen_ts"))

    op.drop_table("ping")
    op.drop_table("vantage")
    op.drop_table("retention")
    op.drop_table("rejection")
    op.drop_table("redacted")
    op.drop_table("pending")
    op.drop_table("hour")
    op.drop_table("gap")
    op.drop_table("dropped")
    op.drop_table("worker")
    op.drop_table("rejected_pong")
    op.drop_table("void_round")
    op.drop_table("session")
    op.drop_table("server")
    op.drop_table("room")
    op.drop_table("watch")
    op.drop_table("edition")
    op.drop_table("journal_entry")
