"""Samples for tests that need some, told in few words."""

from __future__ import annotations

from pingboard.model import Ping, Pong, Provenance, Sample

ROOM = "!room:one.example"
START_TS = 1_780_000_000_000
"""2026-05-28T20:26:40Z"""


def make_ping(number: int = 1, server: str = "one.example", **changes: object) -> Ping:
    """The ping with event ID `$ping<number>`, seen `number` seconds after `START_TS`.

    With a vantage it is ours, sent when it was seen.
    """
    ts = START_TS + number * 1000
    values: dict[str, object] = {
        "event_id": f"$ping{number}",
        "room_id": ROOM,
        "server": server,
        "origin_server_ts": ts,
        "seen_ts": ts,
    }
    if changes.get("vantage") is not None:
        values["sent_ts"] = changes.get("seen_ts", ts)
    return Ping(**{**values, **changes})  # type: ignore[arg-type]


def make_pong(ping: Ping, server: str = "two.example", one_way_ms: int = 100) -> Pong:
    """A truthful pong to a ping, seen after the latency it claims."""
    ts = ping.seen_ts + one_way_ms
    return Pong(
        event_id=f"$pong-{ping.event_id[1:]}-{server}",
        room_id=ping.room_id,
        server=server,
        ping_event_id=ping.event_id,
        claimed_from=ping.server,
        one_way_ms=one_way_ms,
        origin_server_ts=ts,
        seen_ts=ts,
    )


def make_sample(
    number: int = 1,
    ping_server: str = "one.example",
    pong_server: str = "two.example",
    one_way_ms: int = 100,
    round_trip_ms: int | None = None,
) -> Sample:
    """One ping with one pong; a round trip makes the ping one of ours."""
    vantage = None if round_trip_ms is None else "main"
    ping = make_ping(number, ping_server, vantage=vantage)
    pong = make_pong(ping, pong_server, one_way_ms)
    return Sample(ping, pong, round_trip_ms, Provenance.LIVE)
