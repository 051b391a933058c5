"""What the pages show in the tests and on the screenshots: three weeks of a room, the same."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from pingboard.model import Batch, Ping, Rejected, Rejection, Sample, WorkerState, from_ts, to_ts
from pingboard.store.engine import Engine
from pingboard.store.ingest import Ingest
from pingboard.store.status import record_worker
from tests.samples import make_ping, make_pong
from tests.web.site import NOW, ROOM, make_editions, open_store

OURS = "pingboard.example"
OTHER_ROOM, OTHER_ALIAS = "!other:two.example", "#slow-ping:two.example"
WEEKS = 3


@dataclass(frozen=True, slots=True)
class Homeserver:
    """How a homeserver of the data behaves."""

    name: str
    receives_ms: int
    sends_ms: int
    loss: float = 0.0
    clock_ahead_ms: int = 0
    pings_a_day: int = 0
    """of its users"""
    slow_since: timedelta | None = None
    """before now; from then on it takes twice as long"""
    weeks: tuple[float, float, float] = (1, 1, 1)
    """how much longer it took in each week"""


HOMESERVERS = [
    Homeserver("gottlieb.example", 96, 88, pings_a_day=3, weeks=(1.3, 1.25, 1)),
    Homeserver("nerds.example", 104, 140, pings_a_day=2),
    Homeserver("envs.example", 108, 118, 0.004),
    Homeserver("maescool.example", 142, 190, pings_a_day=2, weeks=(0.6, 1, 1)),
    Homeserver("tchncs.example", 171, 150, pings_a_day=3),
    Homeserver("pc.koesters.example:6167", 175, 160, 0.01),
    Homeserver("aria.example", 203, 240, clock_ahead_ms=900, pings_a_day=1),
    Homeserver("kde.example", 228, 206, weeks=(1.4, 0.8, 1)),
    Homeserver("fachschaften.example", 230, 310, pings_a_day=1),
    Homeserver("asra.example", 262, 254, slow_since=timedelta(days=1, hours=18)),
    Homeserver("[2001:db8::25]:8448", 290, 290),
    Homeserver("chat.a-homeserver-with-a-rather-long-name.example", 355, 402, 0.02, pings_a_day=1),
    Homeserver("midov.example", 401, 380, weeks=(1, 0.7, 1)),
    Homeserver("halogen.example", 480, 520, 0.03),
    Homeserver("xn--mnchen-3ya.example", 640, 610),
    Homeserver("raspberry.example", 1450, 1300, 0.09),
    Homeserver("tor.example", 3900, 4300, 0.22),
]


def make_site(folder: Path) -> Engine:
    """A database with all of it, as a worker that runs would have left it at `NOW`."""
    engine = open_store(folder)
    ingest = Ingest(engine, "test")
    ingest.record_room(OTHER_ROOM, OTHER_ALIAS)
    ingest.record(_batch(list(_pings())))
    ingest.record(Batch(rejected=list(_rejected())))
    few = [ping for ping in _pings() if ping.server == OURS][-3:]
    ingest.record(_batch([replace(ping, room_id=OTHER_ROOM) for ping in few], HOMESERVERS[3:9]))
    now_ts = to_ts(NOW)
    record_worker(engine, "main", WorkerState.RUNNING, now_ts - 3_600_000, now_ts)
    make_editions(engine)
    return engine


def make_few(folder: Path) -> Engine:
    """A room as after an hour of the lab: three homeservers on this machine."""
    engine = open_store(folder)
    few = [Homeserver(f"hs{number}.localhost:844{number}", 40 * number, 0) for number in (1, 2, 3)]
    sent = [_ping(number, OURS, NOW - timedelta(minutes=number)) for number in range(1, 60)]
    Ingest(engine, "test").record(_batch(sent, few))
    record_worker(engine, "main", WorkerState.RUNNING, 0, to_ts(NOW))
    return engine


def make_crowd(folder: Path, homeservers: int, pings: int = 12) -> Engine:
    """A room with so many homeservers, each with some pongs to pings of ours over the week."""
    engine = open_store(folder)
    choose = random.Random(homeservers)
    crowd = [
        Homeserver(f"matrix.homeserver-{number}.example", round(80 * 1.5 ** choose.gauss(2, 1)), 0)
        for number in range(homeservers)
    ]
    step = timedelta(days=7) / (pings + 1)
    sent = [_ping(number, OURS, NOW - step * number) for number in range(1, pings + 1)]
    Ingest(engine, "test").record(_batch(sent, crowd))
    record_worker(engine, "main", WorkerState.RUNNING, 0, to_ts(NOW))
    return engine


def _pings() -> Iterator[Ping]:
    """Ours every 45 minutes, and those of the homeservers whose users ping."""
    start = NOW - timedelta(weeks=WEEKS)
    for number in range(WEEKS * 7 * 32):
        yield _ping(number, OURS, start + timedelta(minutes=45) * number + timedelta(seconds=7))
    for first, homeserver in enumerate(HOMESERVERS, 1):
        for number in range(WEEKS * 7 * homeserver.pings_a_day):
            at = start + timedelta(days=1) * number / homeserver.pings_a_day
            yield _ping(
                first * 10_000 + number, homeserver.name, at + timedelta(minutes=11 * first)
            )


def _ping(number: int, server: str, at: datetime) -> Ping:
    ts = to_ts(at)
    ours = {"vantage": "main", "sent_ts": ts} if server == OURS else {}
    return make_ping(number, server, room_id=ROOM, seen_ts=ts, origin_server_ts=ts, **ours)


def _batch(pings: Sequence[Ping], homeservers: Sequence[Homeserver] = HOMESERVERS) -> Batch:
    choose = random.Random(1)
    names = [homeserver.name for homeserver in homeservers]
    samples = [
        sample
        for ping in pings
        for homeserver in homeservers
        if (sample := _answer(choose, ping, homeserver)) is not None
    ]
    expected = [(ping, names) for ping in pings if ping.vantage is not None]
    return Batch(samples=samples, expected=expected)


def _answer(choose: random.Random, ping: Ping, homeserver: Homeserver) -> Sample | None:
    if choose.random() < homeserver.loss:
        return None
    at = from_ts(ping.seen_ts)
    is_slow = homeserver.slow_since is not None and at > NOW - homeserver.slow_since
    week = homeserver.weeks[min(WEEKS - 1 - (NOW - at).days // 7, WEEKS - 1)]
    busy = week * (1.3 if 16 <= at.hour < 22 else 1.0)
    spike = 4 if choose.random() < 0.02 else 1
    sends_ms = next((other.sends_ms for other in HOMESERVERS if other.name == ping.server), 90)

    def vary(ms: float) -> int:
        return max(
            11, round(ms * busy * spike * (2 if is_slow else 1) * choose.lognormvariate(0, 0.35))
        )

    forward, back = vary((sends_ms + homeserver.receives_ms) / 2), vary(homeserver.receives_ms)
    pong = make_pong(ping, homeserver.name, forward + homeserver.clock_ahead_ms)
    seen_ts = ping.seen_ts + forward + back
    sent_back_ts = ping.seen_ts + forward + homeserver.clock_ahead_ms
    pong = replace(pong, origin_server_ts=sent_back_ts, seen_ts=seen_ts)
    return Sample(ping, pong, forward + back if ping.vantage else None)


def _rejected() -> Iterator[Rejected]:
    """What did not count of one bot, whose clock or code is not right."""
    for reason, count in ((Rejection.IMPLAUSIBLE, 41), (Rejection.DUPLICATE, 6)):
        for number in range(count):
            seen_ts = to_ts(NOW) - number * 3_600_000 - 1
            yield Rejected(number, ROOM, "aria.example", reason, seen_ts)
    yield Rejected(0, ROOM, "halogen.example", Rejection.LATE, to_ts(NOW) - 5_000_000)
