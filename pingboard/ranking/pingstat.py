"""What pingstat answers: its rows -> the document that its `stats.json` is. Pure.

The rules are those of method: "pingstat", so that its clients read the same numbers here, to the
last digit. It keeps each ping's event ID in the document, so it walks over the rows in Python.
"""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pingboard.model import PingstatRow

DISCLAIMER = (
    "A ping time is mostly geography and the load of the room; "
    "it is no verdict on a homeserver or its software."
)

Document = dict[str, Any]


def summarise(rows: Iterable[PingstatRow]) -> Document:
    """Return the document of `stats.json`, ready for `json.dumps`.

    `rows` are in the order of (ping event ID, pong server), as bytes, in which pingstat reads them;
    their `receive_diff` is positive. The order of the keys of `pings` is the ranking: by median,
    ties in the order of the rows.
    """
    diffs: dict[str, dict[str, dict[str, int]]] = {}
    for row in rows:
        pongs = diffs.setdefault(row.ping_server, {})
        pongs.setdefault(row.pong_server, {})[row.ping_id] = row.receive_diff
    summaries = {server: _summarise_server(pongs) for server, pongs in diffs.items()}
    ranked = dict(sorted(summaries.items(), key=lambda item: item[1]["median"]))
    means = [summary["mean"] for summary in ranked.values()]
    return {
        "disclaimer": DISCLAIMER,
        "pings": ranked,
        "mean": sum(means) / len(means) if means else 0,
        "pongservers": sorted({name for pongs in diffs.values() for name in pongs}),
    }


def _summarise_server(pongs: dict[str, dict[str, int]]) -> Document:
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
