"""What pingstat answers: its rows -> the document that its `stats.json` is. Pure.

The rules are pingstat's, so that its clients read the same numbers here, to the last digit. It
keeps each ping's event ID in the document, so it walks over the rows in Python.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any, Protocol

from pingboard.model import PingstatRow

DISCLAIMER = (
    "A ping time is mostly geography and the load of the room; "
    "it is no verdict on a homeserver or its software."
)

Document = dict[str, Any]


class PingServerRows(Protocol):
    """Of one ping server, in the order of (ping event ID, pong server), as bytes."""

    def __iter__(self) -> Iterator[PingstatRow]:
        """Yield them, with what they are called."""

    def latencies(self) -> Sequence[int]:
        """Return the `receive_diff` of each: what its place is by takes no names."""


def summarise(rows: Mapping[str, PingServerRows]) -> Iterator[tuple[str, Document]]:
    """Yield each ping server and its document, by median; ties as they are given.

    `rows` are those of each ping server; their `receive_diff` is positive. One ping server's
    document is in memory at a time.
    """
    medians = {server: median(of.latencies()) for server, of in rows.items()}
    for server in sorted(rows, key=medians.__getitem__):
        yield server, _summarise_server(rows[server])


def write_document(rows: Mapping[str, PingServerRows]) -> Iterator[str]:
    """Yield `stats.json` as `json.dumps` writes it, in parts; `rows` as in `summarise`."""
    means: list[float] = []
    pong_servers: set[str] = set()
    yield f'{{"disclaimer": {json.dumps(DISCLAIMER)}, "pings": {{'
    for server, document in summarise(rows):
        yield f"{', ' if means else ''}{json.dumps(server)}: {json.dumps(document)}"
        means.append(document["mean"])
        pong_servers |= document["pongs"].keys()
    mean = sum(means) / len(means) if means else 0
    yield f'}}, "mean": {json.dumps(mean)}, "pongservers": {json.dumps(sorted(pong_servers))}}}'


def _summarise_server(rows: Iterable[PingstatRow]) -> Document:
    pongs: dict[str, dict[str, int]] = {}
    for row in rows:
        pongs.setdefault(row.pong_server, {})[row.ping_id] = row.receive_diff
    pooled = [ms for diffs in pongs.values() for ms in diffs.values()]
    return {
        "pongs": {
            name: {"diffs": diffs, **_numbers([*diffs.values()])} for name, diffs in pongs.items()
        },
        "pings": [*dict.fromkeys(ping for diffs in pongs.values() for ping in diffs)],
        **_numbers(pooled),
    }


def _numbers(ms: Sequence[int]) -> Document:
    """Mean, median and geometric mean; the median of an odd count is an integer, as in pingstat."""
    return {
        "mean": sum(ms) / len(ms),
        "median": median(ms),
        # fsum rounds once, whatever the order; then it is pingstat's formula.
        "gmean": math.exp(math.fsum(map(math.log, ms)) / len(ms)),
    }
