"""maubot/pingstat's ranking, restated from the method: lists in dicts, and `statistics.median`.

Only what pingboard's `delivery` board shows too. pingstat's geometric means and its figures for
each pong server are left out, and so is reading its rows from the database: that is a different
pair, and leaving it out favours the peer.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

Row = tuple[str, int]
"""ping server and receive_diff (ms)"""


def rank(rows: Iterable[Row]) -> dict[str, tuple[float, float]]:
    """Median and mean of each ping server in ms, in the order of the medians."""
    diffs: dict[str, list[int]] = {}
    for ping_server, receive_diff in rows:
        if 10 <= receive_diff <= 600_000:
            diffs.setdefault(ping_server, []).append(receive_diff)
    numbers = {server: (median(each), sum(each) / len(each)) for server, each in diffs.items()}
    return dict(sorted(numbers.items(), key=lambda item: item[1][0]))
