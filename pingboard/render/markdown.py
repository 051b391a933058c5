"""Standings -> the Markdown table that "This Week in Matrix" prints."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from pingboard.model import Standing

_HEAD = "|Rank|Hostname|Median MS|\n|:---:|:---:|:---:|\n"


def table(standings: Iterable[Standing]) -> str:
    """The table, a row a standing, each line ended by a newline; without standings its head alone.

    Exactly the bytes of method: "The Markdown table".
    """
    return _HEAD + "".join(map(_row, standings))


def shortest_decimal(number: float) -> str:
    """The shortest decimal that reads back as the same number, without an exponent.

    `403`, `512.5`, and `469` for 469.0. For finite numbers.
    """
    return format(Decimal(repr(number)), "f").removesuffix(".0")


def _row(standing: Standing) -> str:
    # A valid server name has no pipe; the row must hold together all the same.
    homeserver = standing.homeserver.replace("|", r"\|")
    return f"|{standing.rank}|{homeserver}|{shortest_decimal(standing.median_ms)}|\n"
