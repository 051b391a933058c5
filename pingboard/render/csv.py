"""Standings -> CSV (RFC 4180), safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from pingboard.model import Standing
from pingboard.render.markdown import shortest_decimal
from pingboard.render.standing_fields import FIELDS, describe_standing

INTERVAL = "ci95_ms"


def rankings(standings: Iterable[Standing]) -> str:
    """A head with the names of the JSON, then a row a standing; the interval is two columns.

    A number is its shortest decimal; what is not known is empty.
    """
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(name for name, _ in _cells(dict.fromkeys(FIELDS)))
    for standing in standings:
        rows.writerow(write(value) for _, value in _cells(describe_standing(standing)))
    return text.getvalue()


def write(value: Any) -> str:
    """One cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return str(harmless(value))
    return shortest_decimal(value)


def harmless(value: object) -> object:
    """A value that no spreadsheet takes for a formula and runs (OWASP, "CSV Injection").

    An apostrophe before a text says that it is one. A server name may begin with a hyphen.
    """
    is_formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if is_formula else value


def _cells(standing: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in standing.items():
        if name == INTERVAL:
            low, high = value or (None, None)
            yield from (("ci95_low_ms", low), ("ci95_high_ms", high))
        else:
            yield name, value
