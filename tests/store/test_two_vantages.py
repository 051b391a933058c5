"""Two workers at two places in one room: each hears the other's pings, and only one has sent them.

The fuller account of a ping counts, in whatever order they come together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from pingboard.boards import Boards
from pingboard.file_formats import Record
from pingboard.model import Batch, BoardName, Ping, Provenance, Sample, Window, from_ts
from pingboard.store.engine import Engine
from pingboard.store.exporter import read_records
from pingboard.store.hours import close_hours
from pingboard.store.importer import Importer
from pingboard.store.ingest import Ingest
from tests.databases import open_migrated_file
from tests.rows import ALWAYS
from tests.samples import ROOM, START_TS, make_ping, make_pong

OURS, THEIRS = "ours.example", "theirs.example"
END_TS = START_TS + 2 * 86_400_000
WINDOW = Window(from_ts(START_TS - 86_400_000), from_ts(END_TS))


class Heard(NamedTuple):
    """What one database has of a pong: how much later than its sender's clock said it came, and
    the round trip."""

    pong_server: str
    one_way_ms: int
    delay_ms: int
    round_trip_ms: int | None


def hear(ping: Ping, heard: Sequence[Heard], provenance: Provenance = Provenance.LIVE) -> Batch:
    """What a worker commits that has seen these pongs."""
    samples = [
        Sample(
            ping,
            replace(
                make_pong(make_ping(int(ping.event_id[5:]), ping.server), server, one_way_ms),
                seen_ts=ping.seen_ts + delay_ms,
            ),
            round_trip_ms,
            provenance,
        )
        for server, one_way_ms, delay_ms, round_trip_ms in heard
    ]
    return Batch(pings=[ping], samples=samples)


def export(engine: Engine) -> list[Record]:
    return sorted(read_records(engine, None, ALWAYS), key=str)


def import_records(engine: Engine, records: Sequence[Record]) -> None:
    with Importer(engine) as importer:
        assert list(importer.add(records)) == []


def read_boards(engine: Engine) -> list[object]:
    boards = Boards(engine)
    try:
        return [
            (board.samples, board.standings)
            for name in BoardName
            for board in [boards.board(name, WINDOW, now=from_ts(END_TS), room=ROOM)]
        ]
    finally:
        boards.close()


def test_a_second_vantage_measures_with_the_pings_that_it_has_sent(engine: Engine) -> None:
    """Its pings were heard here as foreign ones, until its own account of them comes."""
    ingest = Ingest(engine, "test")
    ours = make_ping(1, OURS, vantage="main")
    ingest.record(hear(ours, [Heard("two.example", 100, 150, 200)]))
    foreign = replace(make_ping(2, THEIRS), seen_ts=START_TS + 2070)
    ingest.record(hear(foreign, [Heard("two.example", 300, 400, None)]))
    close_hours(engine, END_TS)
    theirs = make_ping(2, THEIRS, vantage="second")
    [known] = [row for row in export(engine) if row.ping_server == THEIRS]
    told = known._replace(
        vantage="second",
        ping_seen_ts=theirs.seen_ts,
        ping_sent_ts=theirs.sent_ts,
        pong_seen_ts=theirs.seen_ts + 330,
        round_trip_ms=330,
    )
    lost = told._replace(
        pong_server="three.example", one_way_ms=None, round_trip_ms=None, pong_event_hash=None,
        pong_seen_ts=None, pong_origin_server_ts=None, provenance=None,
    )  # fmt: skip
    import_records(engine, [told, lost])
    assert [row for row in export(engine) if row.ping_server == THEIRS] == sorted(
        [told, lost], key=str
    )
    boards = Boards(engine)
    response = boards.board(BoardName.RESPONSE, WINDOW, now=from_ts(END_TS), room=ROOM)
    boards.close()
    # A board pools what all vantages measured, as it does their losses.
    assert [(row.homeserver, row.median_ms, row.samples) for row in response.standings] == [
        ("two.example", 265.0, 2)
    ]


def test_who_heard_a_ping_of_ours_takes_nothing_from_what_we_measured(engine: Engine) -> None:
    ingest = Ingest(engine, "test")
    ours = make_ping(1, OURS, vantage="main")
    ingest.record(hear(ours, [Heard("two.example", 100, 150, 200)]))
    before = export(engine)
    heard_later = {"vantage": None, "ping_sent_ts": None, "round_trip_ms": None}
    told = [
        row._replace(ping_seen_ts=row.ping_seen_ts + 50, **heard_later)  # type: ignore[arg-type]
        for row in before
    ]
    import_records(engine, told)
    assert export(engine) == before


def test_what_was_only_read_in_history_is_measured_once_its_export_comes(engine: Engine) -> None:
    """A lost database, a new one that was filled from the room's history, and then the export."""
    measured = make_ping(1, OURS, vantage="main")
    ingest = Ingest(engine, "test")
    read = replace(measured, sent_ts=None)
    ingest.record(hear(read, [Heard("two.example", 100, 100, None)], Provenance.GAP_FILL))
    [known] = export(engine)
    told = known._replace(
        ping_sent_ts=measured.sent_ts, round_trip_ms=160, pong_seen_ts=START_TS + 1160,
        provenance="live",
    )  # fmt: skip
    import_records(engine, [told])
    assert export(engine) == [told]


delays = st.integers(1, 3000)
events = st.tuples(
    st.integers(1, 20),
    st.sampled_from([OURS, THEIRS, "one.example"]),
    st.lists(st.sampled_from(["two.example", "three.example", OURS]), max_size=3, unique=True),
    delays,
)


@settings(max_examples=12)
@given(
    st.lists(events, min_size=1, max_size=6, unique_by=lambda event: event[0]),
    st.data(),
    st.booleans(),
)
def test_the_order_of_two_imports_makes_no_difference(
    events: list[tuple[int, str, list[str], int]], data: st.DataObject, closes: bool
) -> None:
    with TemporaryDirectory() as folder:
        exports = []
        for home, vantage in ((OURS, "main"), (THEIRS, "second")):
            engine = open_migrated_file(Path(folder) / f"{vantage}.db")
            ingest = Ingest(engine, vantage)
            ingest.record_room(ROOM)
            for number, server, answering, behind_ms in events:
                # Third servers' pings reach both at once: whose clock is right nobody can say.
                is_ours = server == home
                ping = make_ping(number, server, vantage=vantage if is_ours else None)
                if not is_ours and server in (OURS, THEIRS):
                    ping = replace(ping, seen_ts=ping.seen_ts + behind_ms)
                heard = [
                    Heard(name, 100 + number, 200, data.draw(delays) if is_ours else None)
                    for name in answering
                    if data.draw(st.booleans())
                ]
                batch = hear(ping, heard)
                expected = [(ping, ["two.example", "four.example"])] if is_ours else []
                ingest.record(replace(batch, expected=expected))
            if closes:
                close_hours(engine, END_TS)
            exports.append(export(engine))
            engine.dispose()
        merged = [
            _import_all(Path(folder) / f"{number}.db", order)
            for number, order in enumerate((exports, exports[::-1]))
        ]
        assert merged[0] == merged[1]


def _import_all(file: Path, exports: Sequence[list[Record]]) -> tuple[object, ...]:
    engine = open_migrated_file(file)
    Ingest(engine, "test").record_room(ROOM)
    for records in exports:
        import_records(engine, records)
    answer = export(engine), read_boards(engine)
    engine.dispose()
    return answer
