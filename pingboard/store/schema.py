"""The tables. Narrow rows: a name is stored once and referred to by an integer.

Samples of open hours are rows of `sample`, pongs that have not come are rows of `unanswered`; those
of a closed hour are one row of `hour` (see `hours`). Timestamps are Matrix timestamps (ms since the
Unix epoch, UTC).
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
    false,
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
    Column(
        "is_estimated",
        Boolean,
        nullable=False,
        server_default=false(),
        comment="its times follow from an imported pong; the real ones take their place",
    ),
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
    Column("version", BigInteger, comment="its number in the journal; null once that is past"),
    sqlite_with_rowid=False,
    comment="of open hours",
)

unanswered = Table(
    "unanswered",
    metadata,
    Column("ping", ForeignKey(ping.c.id), primary_key=True),
    Column("pong_server", ForeignKey(server.c.id), primary_key=True),
    sqlite_with_rowid=False,
    comment="of open hours: pongs expected for our own pings, lost 10 min after the ping",
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

rejected_pong = Table(
    "rejected_pong",
    metadata,
    Column(
        "id",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("event_hash", BigInteger, nullable=False, comment="48 bits of the pong's event ID"),
    Column("reason", Text, nullable=False, comment="model.Rejection"),
    UniqueConstraint("event_hash", "reason"),
    comment="the last pongs that did not count, so that none counts later, or is counted again",
)

worker = Table(
    "worker",
    metadata,
    Column("vantage", Text, primary_key=True, comment="its name"),
    Column("state", Text, nullable=False, comment="model.WorkerState"),
    Column("since_ts", BigInteger, nullable=False, comment="of the state"),
    Column("synced_ts", BigInteger, comment="the last answered sync"),
    Column("late_ms", Integer, comment="its event loop's worst lately"),
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
    Column(
        "last_batch",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="number of the batch that was committed last, so that none is committed twice",
    ),
    comment="what lets a restart go on where the worker stopped",
)

hour = Table(
    "hour",
    metadata,
    Column("room", ForeignKey(room.c.id), primary_key=True),
    Column("hour", Integer, primary_key=True, comment="of the pings, since the epoch"),
    Column("samples", Integer, nullable=False),
    Column("first_origin_ts", BigInteger, nullable=False, comment="of its pongs' own times"),
    Column("last_origin_ts", BigInteger, nullable=False),
    Column("hot", LargeBinary, nullable=False, comment="what boards need, see store/packing.py"),
    Column("cold", LargeBinary, comment="the rest; null once retention has dropped it"),
    comment="closed hours, packed",
)

retention = Table(
    "retention",
    metadata,
    Column("room", ForeignKey(room.c.id), primary_key=True),
    Column("kept_from_ts", BigInteger, nullable=False, comment="of the pings"),
    comment="rooms whose older hours have lost what boards do not need: these stay as they are",
)

dropped = Table(
    "dropped",
    metadata,
    Column("room", ForeignKey(room.c.id), primary_key=True),
    Column("event_hash", BigInteger, primary_key=True),
    sqlite_with_rowid=False,
    comment="pings whose single samples retention has dropped: none of them is new again",
)

journal_entry = Table(
    "journal_entry",
    metadata,
    Column(
        "version",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("room", Integer, comment="row ID; null: a room, an alias or an edition changed"),
    Column("hour", Integer, comment="of the pings whose samples changed"),
    comment="the journal: what a reader has to read again",
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

watch = Table(
    "watch",
    metadata,
    Column("room_id", Text, primary_key=True),
    Column("homeserver", Text, primary_key=True),
    Column("told_ts", BigInteger, nullable=False, comment="up to when its changes were sent"),
    comment="which homeservers a room wants to be told about",
)
