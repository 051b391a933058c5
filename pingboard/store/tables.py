"""The tables. Narrow rows: a name is stored once and referred to by an integer.

`sample` is the hot table, integers only; its primary key is the duplicate check, and it has no
second index: a window is found through `ping`, of which there is one for about a hundred samples.
Timestamps are Matrix timestamps (ms since the Unix epoch, UTC).
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

server = Table(
    "server",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
)

room = Table(
    "room",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("room_id", Text, nullable=False, unique=True),
    Column("alias", Text, comment="by which the operator configured it"),
    Column("predecessor", ForeignKey("room.id"), comment="the room that was upgraded to this one"),
    Column("state", Text, comment="model.RoomState; null before the first join"),
)

vantage = Table(
    "vantage",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, comment="of the worker"),
    Column("server", ForeignKey(server.c.id), nullable=False),
    UniqueConstraint("name", "server"),
    comment="where our own pings were sent from: a round trip depends on where one stands",
)

ping = Table(
    "ping",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("room", ForeignKey(room.c.id), nullable=False),
    Column("server", ForeignKey(server.c.id), nullable=False),
    Column("event", Text, nullable=False, comment="event ID"),
    Column("origin_server_ts", BigInteger, nullable=False, comment="by the ping server's clock"),
    Column("seen_ts", BigInteger, nullable=False, comment="our receipt, or origin_server_ts"),
    Column("vantage", ForeignKey(vantage.c.id), comment="set for our own pings alone"),
    Column("sent_ts", BigInteger, comment="our clock at the send, for our own pings alone"),
    UniqueConstraint("room", "event"),
    Index(None, "room", "seen_ts"),
)

sample = Table(
    "sample",
    metadata,
    Column("ping", ForeignKey(ping.c.id), primary_key=True),
    Column("pong_server", ForeignKey(server.c.id), primary_key=True),
    Column("one_way_ms", Integer, nullable=False, comment="as the bot claims"),
    Column("round_trip_ms", Integer, comment="for our own pings whose pong we saw arrive"),
    # Differences, because SQLite keeps a small integer in one to three bytes, a timestamp in six.
    Column("delay_ms", BigInteger, nullable=False, comment="pong seen, minus ping.seen_ts"),
    Column("lag_ms", BigInteger, nullable=False, comment="pong seen, minus its origin_server_ts"),
    Column("provenance", SmallInteger, nullable=False, comment="model.Provenance"),
    Column("event_hash", BigInteger, comment="48 bits of the pong's event ID, for redactions"),
    Column("position", BigInteger, comment="of an imported one: its place in what was imported"),
    sqlite_with_rowid=False,
)

# Partial on PostgreSQL too, by its migration: said here, SQLite's users would load that dialect.
# With it a window of pong times, which are a foreign clock's, is found through the ping's time all
# the same: the few pongs whose clock is more than a day off are looked up here.
pong_clock_is_days_off = text("abs(delay_ms - lag_ms) > 86400000")
Index(
    "ix_sample_days_off",
    sample.c.ping,
    sqlite_where=pong_clock_is_days_off,
)

unanswered = Table(
    "unanswered",
    metadata,
    Column("ping", ForeignKey(ping.c.id), primary_key=True),
    Column("pong_server", ForeignKey(server.c.id), primary_key=True),
    sqlite_with_rowid=False,
    comment="pongs expected for our own pings; a row whose ping is older than 10 min is lost",
)

pending = Table(
    "pending",
    metadata,
    Column("room", ForeignKey(room.c.id), primary_key=True),
    Column("event", Text, primary_key=True, comment="event ID of the pong"),
    Column("pong_server", ForeignKey(server.c.id), nullable=False),
    Column("ping_event", Text, nullable=False),
    Column("claimed_from", Text),
    Column("one_way_ms", Integer, nullable=False),
    Column("origin_server_ts", BigInteger, nullable=False),
    Column("seen_ts", BigInteger, nullable=False),
    Column("provenance", SmallInteger, nullable=False),
    comment="pongs whose ping is not known yet",
)

redacted = Table(
    "redacted",
    metadata,
    Column("room", ForeignKey(room.c.id), primary_key=True),
    Column("event_hash", BigInteger, primary_key=True),
    sqlite_with_rowid=False,
    comment="pongs that were taken back, so that none comes again with a gap fill",
)

withdrawn = Table(
    "withdrawn",
    metadata,
    Column("ping", ForeignKey(ping.c.id), primary_key=True),
    Column("pong_server", ForeignKey(server.c.id), primary_key=True),
    sqlite_with_rowid=False,
    comment="samples whose pong was taken back: imported rows carry no event ID",
)

gap = Table(
    "gap",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("room", ForeignKey(room.c.id), nullable=False),
    Column("position", Text, nullable=False, comment="the token to go on from, backwards"),
    Column("until", Text, comment="the token where it ends; null for the room's beginning"),
    Column("oldest_ts", BigInteger, comment="events before it are not wanted"),
    Column("opened_ts", BigInteger, nullable=False),
    Column("closed_ts", BigInteger),
    Column("pongs", Integer, nullable=False, server_default="0"),
    Column("fault", Text, comment="why it could not be filled"),
    comment="stretches of a room's history that we did not see arrive",
)

rejection = Table(
    "rejection",
    metadata,
    Column("room", ForeignKey(room.c.id), primary_key=True),
    Column("pong_server", ForeignKey(server.c.id), primary_key=True),
    Column("reason", Text, primary_key=True, comment="model.Rejection"),
    Column("day", Integer, primary_key=True, comment="days since the Unix epoch, UTC"),
    Column("count", Integer, nullable=False),
    comment="pongs that did not count, so that an admin can see why",
)

worker = Table(
    "worker",
    metadata,
    Column("vantage", Text, primary_key=True, comment="its name"),
    Column("state", Text, nullable=False, comment="model.WorkerState"),
    Column("since_ts", BigInteger, nullable=False, comment="of the state"),
    Column("synced_ts", BigInteger, comment="the last answered sync"),
    comment="how the worker is, for readiness and for stale pages",
)

void_round = Table(
    "void_round",
    metadata,
    Column("vantage", Text, primary_key=True, comment="its name"),
    Column("reason", Text, primary_key=True, comment="model.VoidReason"),
    Column("count", Integer, nullable=False),
    comment="rounds of ours that measured nothing, so that an operator can see why",
)

session = Table(
    "session",
    metadata,
    Column("account", Text, primary_key=True, comment="digest of homeserver and user ID"),
    Column("device_id", Text),
    Column("access_token", Text, comment="only where we logged in with a password"),
    Column("next_batch", Text, comment="the sync token, committed with what it covers"),
    comment="what lets a restart go on where the worker stopped",
)

change = Table(
    "change",
    metadata,
    Column(
        "id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    ),
    Column("ping", BigInteger, comment="whose samples changed; null: a room changed"),
    Column("pong_server", Integer, comment="of a new sample"),
    # Numbers are never given again: whoever prunes leaves the last row, and the next follows it.
    comment="journal of what the boards have to read again, written by triggers",
)

sealed = Table(
    "sealed",
    metadata,
    Column("room", ForeignKey(room.c.id), primary_key=True),
    Column("hour", Integer, primary_key=True, comment="of the pings, since the epoch"),
    Column("is_stale", Boolean, nullable=False, comment="the rows have changed since"),
    Column("samples", Integer, nullable=False),
    Column("packed", LargeBinary, nullable=False, comment="see store/sealed.py"),
    comment="past hours, packed",
)

month = Table(
    "month",
    metadata,
    Column("room", ForeignKey(room.c.id), primary_key=True),
    Column("month", Integer, primary_key=True, comment="of the pongs: 12 x year + month"),
    Column("is_stale", Boolean, nullable=False, comment="an hour has changed since"),
    Column("samples", BigInteger, nullable=False),
    Column("delivery", LargeBinary, nullable=False, comment="see store/months.py"),
    Column("reception", LargeBinary, nullable=False),
    Column("response", LargeBinary, nullable=False),
    comment="past months: how often each latency of each server was",
)

sealing = Table(
    "sealing",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("version", BigInteger, nullable=False, comment="see store/changes.py"),
    Column(
        "folded_ts",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="pings seen from then on have nothing that is folded in their hours",
    ),
    comment="one row: up to which change sealed hours and months are marked stale",
)

folded = Table(
    "folded",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False, comment="ping.id / 32"),
    # When its pongs were seen, and when they were sent by the clock of their servers.
    Column("first_ts", BigInteger, nullable=False),
    Column("last_ts", BigInteger, nullable=False),
    Column("first_origin_ts", BigInteger, nullable=False),
    Column("last_origin_ts", BigInteger, nullable=False),
    Column("samples", LargeBinary, nullable=False, comment="see store/folded.py"),
    comment="samples of past pings, packed, which are no rows of `sample` any more",
)

closed = Table(
    "closed",
    metadata,
    Column("room", ForeignKey(room.c.id), primary_key=True),
    Column("before_ts", BigInteger, nullable=False, comment="of the pings"),
    comment="rooms whose raw rows before a time are dropped: nothing is added there any more",
)

edition = Table(
    "edition",
    metadata,
    Column("name", Text, primary_key=True, comment="the ISO week, 2026-W41"),
    Column("closed_ts", BigInteger, nullable=False),
    Column("json", Text, nullable=False),
    Column("markdown", Text, nullable=False),
    comment="a week's boards, frozen as they were rendered",
)
