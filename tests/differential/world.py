"""A seed -> the events of a few rooms, and what becomes of them: the steps of one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import count
from random import Random

from pingboard.model import (
    Batch,
    BoardName,
    Ping,
    Pong,
    Provenance,
    Sample,
    Window,
    from_ts,
    hash_event_id,
)
from tests.differential.operations import Call, Row, Step

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
START_TS = 1_780_000_000_000 // HOUR_MS * HOUR_MS
FIRST_TS = 1_409_529_600_000
OLD, NEW, OTHER = "!old:one.example", "!new:one.example", "!other:one.example"
ALIAS = "#ping:one.example"
OURS, THEIRS = "ours.example", "theirs.example"
"""Where we stand, and where another worker does: we hear its pings."""
PING_SERVERS = (OURS, OURS, THEIRS, "a.example", "b.example:8448", "c.example")
PONG_SERVERS = ("a.example", "b.example:8448", "c.example", "d.example", "[::1]:8448", "e.example")
LENGTHS_MS = (HOUR_MS, DAY_MS, 7 * DAY_MS, 30 * DAY_MS, 33 * DAY_MS, 90 * DAY_MS, 400 * DAY_MS)


class World:
    """What really happened: pings, and the pongs that each server sent."""

    def __init__(self, random: Random, pings: int) -> None:
        self._random = random
        self._odd = random.choice([0.05, 0.3, 0.9])
        """How many values lie at an edge, or beyond it."""
        self.upgraded_ts = START_TS + random.choice([2, 20, 45]) * DAY_MS
        hours = sorted(random.sample(range(70 * 24), random.randrange(3, 9)))
        times = sorted(self._choose_time(random.choice(hours)) for _ in range(pings))
        self.samples: list[Sample] = []
        self.pings: list[Ping] = []
        for number, ts in enumerate(times):
            ping = self._make_ping(number, ts)
            self.pings.append(ping)
            servers = random.sample(PONG_SERVERS, random.randrange(len(PONG_SERVERS)))
            self.samples += [self._make_sample(ping, server) for server in servers]
        self.end_ts = times[-1]

    def _choose_time(self, hour: int) -> int:
        within_ms = self._random.choice(
            [0, 1, HOUR_MS - 1, HOUR_MS // 2, self._random.randrange(HOUR_MS)]
        )
        return START_TS + hour * HOUR_MS + within_ms

    def _choose(self, usual: int, odd: list[int]) -> int:
        return self._random.choice(odd) if self._random.random() < self._odd else usual

    def _make_ping(self, number: int, ts: int) -> Ping:
        random = self._random
        server = random.choice(PING_SERVERS)
        is_ours = server == OURS
        room_id = OLD if ts < self.upgraded_ts else NEW
        if random.random() < 0.2:
            room_id = OTHER
        return Ping(
            event_id=f"$ping{number * 7919 % 100:02}",
            room_id=room_id,
            server=server,
            origin_server_ts=ts - random.choice([0, 0, 19, 400, -400]),
            seen_ts=ts,
            vantage=random.choice(["main", "main", "other"]) if is_ours else None,
            sent_ts=ts - random.randrange(30) if is_ours and random.random() < 0.8 else None,
        )

    def _make_sample(self, ping: Ping, server: str) -> Sample:
        random = self._random
        one_way_ms = self._choose(random.randrange(50, 900), [0, 9, 10, -50, 600_000, 600_001])
        delay_ms = self._choose(random.randrange(20, 3000), [0, -1, -400, 600_000, -600_000])
        seen_ts = ping.seen_ts + delay_ms
        behind_ms = self._choose(random.randrange(90), [0, -600_000, 3 * DAY_MS, HOUR_MS])
        pong = Pong(
            event_id=f"$pong-{ping.event_id[1:]}-{server}",
            room_id=ping.room_id,
            server=server,
            ping_event_id=ping.event_id,
            claimed_from=ping.server,
            one_way_ms=one_way_ms,
            origin_server_ts=seen_ts - behind_ms,
            seen_ts=seen_ts,
        )
        is_measured = ping.vantage is not None and random.random() < 0.8
        return Sample(
            ping, pong, random.choice([random.randrange(900), 80]) if is_measured else None
        )


class Plan:
    """Chooses the steps of one seed."""

    def __init__(self, seed: int, steps: int) -> None:
        self._random = random = Random(seed)
        self._steps = steps
        self._world = World(random, pings=random.randrange(10, 40))
        first_ts, last_ts = self._world.pings[0].seen_ts, self._world.end_ts
        self._now_ts = random.randrange(first_ts, last_ts + DAY_MS) + HOUR_MS
        self._retains = random.random() < 0.5
        self._windows = [self._choose_window() for _ in range(3)]
        """Windows that are asked for again and again."""
        self._numbers = count()

    def steps(self) -> Iterator[Step]:
        yield self._step(Call("join", (OLD, ALIAS)))
        yield self._step(Call("join", (OTHER, None)))
        if self._retains or self._random.random() < 0.3:
            yield self._step(self._upgrade())
        for _ in range(self._steps):
            self._now_ts += self._random.choice([0, 1, MINUTE_MS, 2 * HOUR_MS, DAY_MS])
            yield self._step(self._choose_operation())
        yield Step(self._now_ts, Call("restart_reader"), self._ask_everything())

    def _step(self, operation: Call) -> Step:
        questions = [self._choose_question() for _ in range(self._random.randrange(6))]
        return Step(self._now_ts, operation, tuple(questions))

    def _choose_operation(self) -> Call:
        makers: dict[Callable[[], Call], float] = {
            self._hear: 10,
            self._hear_late: 4,
            self._hear_again: 2,
            self._redact: 3,
            self._void: 1,
            self._import_pingstat: 3,
            self._import_export: 3,
            self._import_second_vantage: 3,
            (lambda: Call("import_own_export")): 1,
            (lambda: Call("close_hours")): 6,
            self._retain: self._retains,
            self._upgrade: 1,
            (lambda: Call("restart")): 1,
            (lambda: Call("restart_reader")): 1,
        }
        maker = self._random.choices(list(makers), list(makers.values()))[0]
        return maker()

    def _past(self) -> list[Sample]:
        samples = [sample for sample in self._world.samples if sample.pong.seen_ts <= self._now_ts]
        return samples or self._world.samples[:1]

    def _some(self, most: int = 8) -> list[Sample]:
        """Some pongs of the past; half of the time of few pings, or of the last ones."""
        past = self._past()
        if self._random.random() < 0.5:
            chosen = self._random.choice(past).ping
            past = [
                sample for sample in past if abs(sample.ping.seen_ts - chosen.seen_ts) < HOUR_MS
            ]
        return self._random.sample(past, min(len(past), self._random.randrange(1, most + 1)))

    def _hear(self) -> Call:
        samples = self._some(12)
        pings = _pings_of(samples)
        extra = [ping for ping in self._world.pings if ping.seen_ts <= self._now_ts]
        pings += self._random.sample(extra, min(len(extra), self._random.randrange(3)))
        ours = [ping for ping in _unique(pings) if ping.vantage is not None]
        expected = [(ping, self._choose_expected()) for ping in ours if self._random.random() < 0.7]
        if self._random.random() < 0.2:
            samples.append(self._make_second(samples[0]))
        return _hear(Batch(pings=_unique(pings), samples=samples, expected=expected))

    def _choose_expected(self) -> list[str]:
        return self._random.sample(PONG_SERVERS, self._random.randrange(1, 4))

    def _hear_late(self) -> Call:
        """Further pongs, of pings that the worker has to look up."""
        samples = [
            replace(sample, round_trip_ms=None, provenance=Provenance.GAP_FILL)
            for sample in [*self._some(), *self._some_seconds()]
        ]
        return _hear(Batch(samples=samples), looks_up=True)

    def _hear_again(self) -> Call:
        """History that is filled in: seen when it says it was sent."""
        samples = []
        for sample in [*self._some(), *self._some_seconds()]:
            ping = replace(sample.ping, seen_ts=sample.ping.origin_server_ts, sent_ts=None)
            samples.append(Sample(ping, sample.pong, None, Provenance.GAP_FILL))
        return _hear(Batch(pings=_unique(_pings_of(samples)), samples=samples))

    def _some_seconds(self) -> list[Sample]:
        """Further pongs, to mend what the first said; who fetches history may meet them first."""
        if self._random.random() < 0.5:
            return []
        return [self._make_second(sample) for sample in self._some(3)]

    def _make_second(self, first: Sample) -> Sample:
        number = self._random.randrange(3)
        later_ms = self._random.choice([0, 1, MINUTE_MS, -MINUTE_MS])
        pong = replace(
            first.pong,
            event_id=f"{first.pong.event_id}-again{number}",
            one_way_ms=7777 + number,
            seen_ts=first.pong.seen_ts + later_ms,
            origin_server_ts=first.pong.origin_server_ts + later_ms,
        )
        return replace(first, pong=pong)

    def _redact(self) -> Call:
        events = [(sample.pong.room_id, sample.pong.event_id) for sample in self._some(3)]
        ping = self._random.choice(self._world.pings)  # which stays a ping
        events.append((ping.room_id, ping.event_id))
        return _hear(Batch(redacted=events))

    def _void(self) -> Call:
        return _hear(Batch(voided=_pings_of(self._some(3))))

    def _import_pingstat(self) -> Call:
        rows = [self._pingstat_row(sample) for sample in self._some(10)]
        if self._random.random() < 0.3 and rows:
            forged = {**self._random.choice(rows), "ping_server": "liar.example"}
            rows.append({**forged, "pong_server": "e.example"})
        if self._random.random() < 0.3 and rows:
            rows.append({**rows[0], "ping_id": self._new_id(), "pong_timestamp": self._odd_ts()})
        if self._random.random() < 0.3:
            rows = [row | {"room_id": NEW} if row["room_id"] == OLD else row for row in rows]
        return Call("import_pingstat", (rows or [self._pingstat_row(self._past()[0])],))

    def _pingstat_row(self, sample: Sample) -> Row:
        return {
            "room_id": sample.ping.room_id,
            "ping_id": sample.ping.event_id,
            "pong_server": sample.pong.server,
            "ping_server": sample.ping.server,
            "receive_diff": sample.pong.one_way_ms,
            "pong_timestamp": sample.pong.origin_server_ts,
        }

    def _import_export(self) -> Call:
        samples = self._some(10)
        rows = [self._export_row(sample.ping, sample.pong.server, sample) for sample in samples]
        for ping in _pings_of(samples):
            if ping.vantage is not None:
                server = self._random.choice(PONG_SERVERS)
                rows.append(self._export_row(ping, server, None))
        if self._random.random() < 0.3:
            name = self._random.choice(["ping_seen_ts", "ping_origin_server_ts", "pong_seen_ts"])
            rows.append({**rows[0], "ping_event_id": self._new_id(), name: self._odd_ts()})
        return Call("import_export", (rows,))

    def _import_second_vantage(self) -> Call:
        """The other worker's own account of pings that we have heard."""
        random = self._random
        rows = []
        for sample in self._past():
            if sample.ping.server != THEIRS or random.random() < 0.5:
                continue
            earlier_ms = random.choice([0, 5, 70, MINUTE_MS])
            ping = replace(
                sample.ping,
                seen_ts=sample.ping.seen_ts - earlier_ms,
                vantage="second",
                sent_ts=sample.ping.origin_server_ts - 3 if random.random() < 0.8 else None,
            )
            pong = replace(sample.pong, seen_ts=sample.pong.seen_ts - earlier_ms)
            round_trip_ms = random.randrange(900) if random.random() < 0.8 else None
            account = Sample(ping, pong, round_trip_ms)
            rows.append(self._export_row(ping, pong.server, account))
            if random.random() < 0.3:
                rows.append(self._export_row(ping, random.choice(PONG_SERVERS), None))
        return Call("import_export", (rows,)) if rows else self._import_export()

    def _export_row(self, ping: Ping, server: str, sample: Sample | None) -> Row:
        pong = sample and sample.pong
        return {
            "room_id": ping.room_id,
            "room_alias": None,
            "room_predecessor": OLD if ping.room_id == NEW else None,
            "ping_event_id": ping.event_id,
            "ping_server": ping.server,
            "pong_server": server,
            "one_way_ms": pong and pong.one_way_ms,
            "round_trip_ms": sample and sample.round_trip_ms,
            "ping_seen_ts": ping.seen_ts,
            "pong_seen_ts": pong and pong.seen_ts,
            "ping_origin_server_ts": ping.origin_server_ts,
            "pong_origin_server_ts": pong and pong.origin_server_ts,
            "ping_sent_ts": ping.sent_ts,
            "ping_time": "seen",
            "vantage": ping.vantage,
            "provenance": sample and sample.provenance.name.lower(),
            "pong_event_hash": pong and hash_event_id(pong.event_id),
        }

    def _odd_ts(self) -> int:
        limit_ts = self._now_ts + 10 * MINUTE_MS
        return self._random.choice(
            [
                0,
                1,
                FIRST_TS - 1,
                limit_ts + 1,
                self._now_ts + 400 * DAY_MS,
                2**52,
                253_402_300_800_000,
            ]
        )

    def _new_id(self) -> str:
        return f"$odd{next(self._numbers)}"

    def _retain(self) -> Call:
        days = self._random.choice([14, 14, 30, 60])
        return Call("retain", (self._now_ts - days * DAY_MS,))

    def _upgrade(self) -> Call:
        return Call("upgrade", (OLD, NEW, ALIAS))

    # Questions

    def _choose_question(self) -> Call:
        random = self._random
        room_id = random.choice([OLD, OLD, NEW, OTHER])
        window = random.choice(self._windows) if random.random() < 0.4 else self._choose_window()
        homeserver, board = random.choice([OURS, *PONG_SERVERS]), random.choice([*BoardName])
        servers = random.choice([None, None, OURS]), random.choice([None, None, "a.example"])
        event_ids = tuple(ping.event_id for ping in self._world.pings)
        questions = {
            "boards": (room_id, window, random.choice([1, 1, 2, 5]), random.choice([None, 1, 3])),
            "pairs": (room_id, window),
            "history": (room_id, _cut(window), homeserver, board, random.choice([HOUR_MS, DAY_MS])),
            "export": (random.choice([None, room_id]), window),
            "samples": (room_id, window, *servers, random.choice([1, 3, 7, 1000])),
            "pingstat": (room_id, window.start_ts, window.end_ts),
            "rooms": (),
            "count_duplicates": (),
            "answered_since": (room_id, self._now_ts - random.choice(LENGTHS_MS)),
            "known_pings": (room_id, event_ids),
        }
        name = random.choice(["boards", "boards", "boards", *questions])
        return Call(name, questions[name])

    def _choose_window(self) -> Window:
        random = self._random
        if random.random() < 0.4:
            return _window(self._now_ts - random.choice(LENGTHS_MS), self._now_ts)
        if random.random() < 0.3:
            return _window(START_TS - DAY_MS, self._world.end_ts + DAY_MS)
        edge = self._choose_edge()
        if random.random() < 0.5:
            start_ts, end_ts = sorted([edge, self._choose_edge()])
            return _window(start_ts, end_ts + 1)
        return _window(edge, edge + random.choice(LENGTHS_MS))

    def _choose_edge(self) -> int:
        random = self._random
        if not self._world.samples:
            return START_TS
        sample = random.choice(self._world.samples)
        ts = random.choice([sample.ping.seen_ts, sample.pong.seen_ts, sample.pong.origin_server_ts])
        if random.random() < 0.3:
            ts = ts // HOUR_MS * HOUR_MS
        return ts + random.choice([-1, 0, 0, 1])

    def _ask_everything(self) -> tuple[Call, ...]:
        window = _window(START_TS - 10 * DAY_MS, self._world.end_ts + DAY_MS)
        event_ids = tuple(ping.event_id for ping in self._world.pings)
        questions = [Call("rooms"), Call("count_duplicates"), Call("export", (None, window))]
        for room_id in (OLD, NEW, OTHER):
            questions += [
                Call("boards", (room_id, window)),
                Call("boards", (room_id, _window(self._now_ts - 30 * DAY_MS, self._now_ts))),
                Call("pairs", (room_id, window)),
                Call("samples", (room_id, window, None, None, 50)),
                Call("pingstat", (room_id, window.start_ts, window.end_ts)),
                Call("known_pings", (room_id, event_ids)),
                *[
                    Call("history", (room_id, window, server, board, DAY_MS))
                    for server in PONG_SERVERS
                    for board in BoardName
                ],
            ]
        return tuple(questions)


def _hear(batch: Batch, *, looks_up: bool = False) -> Call:
    """`looks_up`: the pings of the samples are not in the worker's memory, but in the store."""
    return Call("hear", (batch, looks_up))


def _window(start_ts: int, end_ts: int) -> Window:
    return Window(from_ts(start_ts), from_ts(end_ts))


def _cut(window: Window) -> Window:
    """A window that a history of hours has not too many of."""
    return Window(window.start, min(window.end, window.start + timedelta(days=100)))


def _pings_of(samples: list[Sample]) -> list[Ping]:
    return _unique([sample.ping for sample in samples])


def _unique(pings: list[Ping]) -> list[Ping]:
    return list({ping.event_id: ping for ping in pings}.values())
