"""Long windows, from counted months: the same boards as from all samples, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from sqlalchemy import delete, insert, select

from pingboard.boards import Boards
from pingboard.memory.years import read_board
from pingboard.model import Batch, BoardName, Sample, Window, to_ts
from pingboard.store.engine import Engine
from pingboard.store.ingest import Ingest
from pingboard.store.months import count_months
from pingboard.store.sealed import seal
from pingboard.store.tables import month, ping, sample, server, unanswered
from tests.samples import ROOM, START_TS, make_ping, make_pong

NOW = datetime(2026, 7, 20, tzinfo=UTC)
JUNE = 12 * 2026 + 5
WINDOWS = [
    Window(datetime(2026, 5, 31, 12, 30, tzinfo=UTC), datetime(2026, 7, 2, 7, tzinfo=UTC)),
    Window(datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)),
    Window(datetime(2026, 6, 1, 0, 0, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)),
]
"""Around a month, exactly it, and a second less; short enough to be ranked from samples too."""


def record(ingest: Ingest, random: Random, pongs: int) -> None:
    """Pongs of May to July, many around the ends of June, half of them to our own pings."""
    samples = []
    ends = [to_ts(one) for one in (WINDOWS[1].start, WINDOWS[1].end)]
    for _ in range(pongs):
        ts = random.choice([*ends, START_TS + random.randrange(50) * 86_400_000])
        ts += random.randrange(-900_000, 900_000)
        vantage = random.choice(["main", None])
        sent = make_ping(server=f"s{random.randrange(4)}.example", vantage=vantage)
        sent = replace(sent, event_id=f"$p{random.getrandbits(60)}", seen_ts=ts)
        sent = replace(sent, origin_server_ts=ts, sent_ts=ts - 5 if vantage else None)
        pong = make_pong(sent, f"s{random.randrange(6)}.example", random.randrange(5, 599_000))
        round_trip = random.choice([random.randrange(20), 700_000, None]) if vantage else None
        samples.append(Sample(sent, pong, round_trip))
    ingest.record(Batch([], samples))


def lose(engine: Engine, random: Random) -> None:
    """Some pongs to our own pings have not come after all."""
    with engine.begin() as connection:
        wanted = select(sample.c.ping, sample.c.pong_server).join(ping, sample.c.ping == ping.c.id)
        keys = connection.execute(wanted.where(ping.c.vantage.is_not(None))).all()
        for key in random.sample(list(keys), 10):
            gone = (sample.c.ping == key[0]) & (sample.c.pong_server == key[1])
            connection.execute(delete(sample).where(gone))
            connection.execute(insert(unanswered).values(ping=key[0], pong_server=key[1]))


def check(engine: Engine) -> None:
    boards = Boards(engine)
    for window in WINDOWS:
        for name in BoardName:
            expected = boards.board(name, window, now=NOW, room=ROOM)
            found = read_board(engine, [1], name, window, now_ts=to_ts(NOW))
            assert found == (list(expected.standings), expected.samples)
            assert expected.samples > 0


def count_fresh(engine: Engine) -> int:
    with engine.connect() as connection:
        wanted = select(month.c.month).where(month.c.is_stale.is_(False), month.c.month == JUNE)
        return len(connection.execute(wanted).all())


@pytest.mark.parametrize("seed", range(2))
def test_a_counted_month_is_its_samples_through_every_change(engine: Engine, seed: int) -> None:
    random, ingest = Random(seed), Ingest(engine, "test")
    record(ingest, random, 400)
    lose(engine, random)
    check(engine)
    assert count_months(engine, to_ts(NOW)) == 2
    assert count_fresh(engine) == 1
    check(engine)
    for is_late in (True, False):
        if is_late:
            record(ingest, random, 30)
        else:
            lose(engine, random)
        check(engine)
        seal(engine, to_ts(NOW), most=10_000)
        assert count_fresh(engine) == 0
        check(engine)
        assert count_months(engine, to_ts(NOW)) > 0
        assert count_fresh(engine) == 1
        check(engine)


def test_a_month_that_is_not_over_is_not_counted(engine: Engine) -> None:
    record(Ingest(engine, "test"), Random(1), 50)
    end = WINDOWS[1].end
    assert count_months(engine, to_ts(end + timedelta(hours=1))) == 1
    assert count_fresh(engine) == 0
    assert count_months(engine, to_ts(end + timedelta(hours=2))) == 1
    assert count_fresh(engine) == 1


def test_a_board_of_a_year_is_asked_like_any_other(engine: Engine) -> None:
    record(Ingest(engine, "test"), Random(1), 100)
    count_months(engine, to_ts(NOW))
    year = Window(NOW - timedelta(days=365), NOW)
    with engine.connect() as connection:
        stored = connection.execute(
            select(server.c.name)
            .join(sample, sample.c.pong_server == server.c.id)
            .where(sample.c.one_way_ms >= 10)
        ).all()
    board = Boards(engine).board(BoardName.RECEPTION, year, now=NOW, room=ROOM, limit=2)
    assert board.samples == len(stored)
    assert len(board.standings) == 2
