"""A board -> what its page shows of it: which rows, in which order, drawn how.

Used by the page and by what is embedded elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from pingboard.boards import Boards
from pingboard.model import Board, Standing
from pingboard.profiles import read_trends
from pingboard.render.markdown import shortest_decimal, table
from pingboard.web.pages.bars import Bar, Scale
from pingboard.web.pages.choices import encode
from pingboard.web.pages.language import mark
from pingboard.web.pages.layout import PageQuery
from pingboard.web.pages.sparks import PARTS, draw_spark
from pingboard.web.parameters import TABLE_ROWS, BoardQuery

ROWS = 250
"""Homeservers that the page shows unless `limit` asks for more: a first look stays quick."""

MEDALS = {1: ("gold", mark("Gold")), 2: ("silver", mark("Silver")), 3: ("bronze", mark("Bronze"))}


class Sort(StrEnum):
    """The column that rows are ordered by; with a minus the other way round."""

    RANK = "rank"
    RANK_DOWN = "-rank"
    CHANGE = "change"
    CHANGE_DOWN = "-change"
    HOMESERVER = "homeserver"
    HOMESERVER_DOWN = "-homeserver"
    MEDIAN = "median"
    MEDIAN_DOWN = "-median"
    SAMPLES = "samples"
    SAMPLES_DOWN = "-samples"
    LOSS = "loss"
    LOSS_DOWN = "-loss"


_KEYS: dict[str, Callable[[Standing], Any]] = {
    "rank": lambda row: row.rank,
    # Who is new has moved neither way.
    "change": lambda row: row.previous_rank - row.rank if row.previous_rank else 0,
    "homeserver": lambda row: row.homeserver,
    "median": lambda row: row.median_ms,
    "samples": lambda row: row.samples,
    "loss": lambda row: math.inf if row.loss is None else row.loss,
}
_DOWN_FIRST = ("change", "samples", "loss")
"""Of these the most is looked for first."""


class BoardPageQuery(BoardQuery, PageQuery):
    """Which board, in which language, and what of it."""

    sort: Sort = Field(Sort.RANK, description="The column to order by; with a `-` downwards.")
    q: Annotated[str, Field(max_length=255)] = Field(
        "", description="Only homeservers whose name has this in it."
    )


@dataclass(frozen=True, slots=True)
class Row:
    """One homeserver, drawn."""

    standing: Standing
    bar: Bar
    spark: str
    """the `d` of an SVG path; empty where nothing is drawn"""
    change: int | None
    """places up since the last edition; None where it had none there"""


@dataclass(frozen=True, slots=True)
class Column:
    """The head of a column that can be sorted by."""

    order: str | None
    """as `aria-sort` says it; None where another column is sorted by"""
    next: Sort
    """what its button asks for"""


@dataclass(frozen=True, slots=True)
class BoardView:
    """What a template shows of a board."""

    board: Board
    query: BoardPageQuery
    rows: Sequence[Row]
    found: int
    """homeservers that the search found, also those behind `rows`"""
    scale: Scale
    columns: dict[str, Column]

    @property
    def medals(self) -> dict[int, tuple[str, str]]:
        """Class and name of each, by rank."""
        return MEDALS

    @property
    def moves(self) -> bool:
        """Whether there was an edition to have moved since."""
        return any(row.previous_rank is not None for row in self.board.standings)

    @property
    def loses(self) -> bool:
        """Whether the board knows of pings that were not answered."""
        return any(row.sent is not None for row in self.board.standings)

    @property
    def has_trends(self) -> bool:
        """Whether there is a line to draw."""
        return any(row.spark for row in self.rows)

    @property
    def parameters(self) -> str:
        """`?` and those of the same board in a form for machines."""
        return encode(self.query, leave_out=frozenset({"lang", "sort", "q"}))

    @property
    def details(self) -> str:
        """`?` and what the page of a homeserver takes of it: room, window, board, language."""
        return encode(self.query, leave_out=frozenset({"sort", "q", "limit", "min_samples"}))

    @property
    def markdown(self) -> str:
        """As /rankings.md gives it."""
        return table(self.board.standings[: self.query.limit or TABLE_ROWS])

    @property
    def summary(self) -> str:
        """The first three in one line, for whoever shares the link."""
        return ", ".join(
            f"{row.rank}. {row.homeserver} {shortest_decimal(row.median_ms)} ms"
            for row in self.board.standings[:3]
        )


def view(boards: Boards, board: Board, query: BoardPageQuery) -> BoardView:
    """A board of all homeservers, as this query wants to see it."""
    needle = query.q.strip().lower()
    found = [row for row in board.standings if needle in row.homeserver.lower()]
    column = query.sort.removeprefix("-")
    found.sort(key=_KEYS[column], reverse=query.sort.startswith("-"))
    shown = found[: query.limit or ROWS]
    scale = Scale.of(board.standings)
    trends = read_trends(boards, board, {row.homeserver for row in shown}, PARTS)
    rows = [
        Row(
            row,
            scale.draw(row),
            draw_spark(trends.get(row.homeserver, ()), row.median_ms),
            row.previous_rank - row.rank if row.previous_rank is not None else None,
        )
        for row in shown
    ]
    columns = {name: _head(name, query.sort) for name in _KEYS}
    return BoardView(board, query, rows, len(found), scale, columns)


def _head(name: str, current: Sort) -> Column:
    up, down = Sort(name), Sort(f"-{name}")
    first, other = (down, up) if name in _DOWN_FIRST else (up, down)
    order = {up: "ascending", down: "descending"}.get(current)
    return Column(order, other if current is first else first)
