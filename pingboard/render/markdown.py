"""Standings -> the Markdown table that "This Week in Matrix" prints."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache

from pingboard.model import Standing

_HEAD = "|Rank|Hostname|Median MS|\n|:---:|:---:|:---:|\n"


def table(standings: Iterable[Standing]) -> str:
    """The table, a row a standing, each line ended by a newline; without standings its head alone.

    To the byte what pingstat prints, which "This Week in Matrix" pastes.
    """
    return _HEAD + "".join([_row(row.rank, row.homeserver, row.median_ms) for row in standings])


def shortest_decimal(number: float) -> str:
    """The shortest decimal that reads back as the same number, without an exponent.

    `403`, `512.5`, and `469` for 469.0. For finite numbers.
    """
    return format(Decimal(repr(number)), "f").removesuffix(".0")


# Of a new pong most rows are as before.
@lru_cache(maxsize=10_000)
def _row(rank: int, homeserver: str, median_ms: float) -> str:
    # A valid server name has no pipe; the row must hold together all the same.
    homeserver = homeserver.replace("|", r"\|")
    return f"|{rank}|{homeserver}|{shortest_decimal(median_ms)}|\n"
