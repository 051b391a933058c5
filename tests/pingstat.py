"""pingstat's rules once more, from its description alone, for comparison; and rows at random."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterable
from typing import Any

WEEK_S = 604_800
NOW_TS = 1_791_763_200_000
ROOM = "!TdAwENXmXuMrCrFEFX:maunium.net"
SERVERS = [
    "one.example",
    "two.example",
    "pc.koesters.xyz:6167",
    "[::1]:8448",
    "[2001:db8::1]",
    "192.0.2.7:8448",
    "UPPER.example",
    "-hyphen.example",
]

Row = dict[str, Any]


def select_rows(rows: Iterable[Row], now_ts: int, oldest_s: int, newest_s: int) -> list[Row]:
    return [
        row
        for row in sorted(rows, key=primary_key)
        if now_ts - oldest_s * 1000 <= row["pong_timestamp"] <= now_ts - newest_s * 1000
        and 10 <= row["receive_diff"] <= 600_000
    ]


def primary_key(row: Row) -> tuple[bytes, bytes]:
    """The order in which pingstat reads its rows on SQLite."""
    return row["ping_id"].encode(), row["pong_server"].encode()


def raw(rows: Iterable[Row], now_ts: int, max_age: str = "", min_age: str = "") -> list[Row]:
    """What `stats.raw.json` has to answer."""
    return select_rows(rows, now_ts, seconds(max_age, WEEK_S), seconds(min_age, 0))


def stats(rows: Iterable[Row], now_ts: int, max_age: str = "", min_age: str = "") -> dict[str, Any]:
    """What `stats.json` has to answer, but for the disclaimer."""
    newest_s = seconds(min_age, 0)
    oldest_s = min(seconds(max_age, WEEK_S), newest_s + WEEK_S)
    counted = select_rows(rows, now_ts, oldest_s, newest_s)
    ping_servers = list(dict.fromkeys(row["ping_server"] for row in counted))
    pings = {
        name: of_server([r for r in counted if r["ping_server"] == name]) for name in ping_servers
    }
    ranked = sorted(ping_servers, key=lambda name: pings[name]["median"])
    return {
        "pings": {name: pings[name] for name in ranked},
        "mean": sum(pings[name]["mean"] for name in ranked) / len(ranked) if ranked else 0,
        "pongservers": sorted({row["pong_server"] for row in counted}),
    }


def of_server(rows: list[Row]) -> dict[str, Any]:
    pongs: dict[str, Any] = {}
    for name in dict.fromkeys(row["pong_server"] for row in rows):
        own = [row for row in rows if row["pong_server"] == name]
        pongs[name] = {"diffs": {row["ping_id"]: row["receive_diff"] for row in own}} | numbers(own)
    # Grouped by pong server, as pingstat walks over them.
    pings = [ping for pong in pongs.values() for ping in pong["diffs"]]
    return {"pongs": pongs, "pings": list(dict.fromkeys(pings))} | numbers(rows)


def numbers(rows: list[Row]) -> dict[str, float]:
    ms = [row["receive_diff"] for row in rows]
    return {
        "mean": sum(ms) / len(ms),
        "median": statistics.median(ms),
        "gmean": math.exp(math.fsum(math.log(value) for value in ms) / len(ms)),
    }


def seconds(text: str, default: int) -> int:
    try:
        return int(text)
    except ValueError:
        return default


def random_rows(seed: int, count: int = 600) -> list[Row]:
    """Rows in no order of time, of pings that are weeks apart; with ties, and out of all ranges."""
    rng = random.Random(seed)
    senders = {f"$ping{number}": rng.choice(SERVERS) for number in range(80)}
    rows: dict[tuple[str, str], Row] = {}
    for _ in range(count):
        ping, pong_server = rng.choice([*senders]), rng.choice(SERVERS)
        ms = rng.choice([rng.randint(10, 90), rng.randint(10, 90), -5, 0, 9, 10, 600_000, 600_001])
        age_ms = rng.choice([rng.randrange(8 * 86_400_000), rng.randrange(90_000_000), 604_800_000])
        rows[ping, pong_server] = {
            "room_id": ROOM,
            "ping_id": ping,
            "pong_server": pong_server,
            "ping_server": senders[ping],
            "receive_diff": ms,
            "pong_timestamp": NOW_TS - age_ms,
        }
    return [*rows.values()]
