"""A board -> what its page shows of it: which rows, in which order, drawn how.

Used by the page and by what is embedded elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, Field

from pingboard.boards import Boards
from pingboard.homeservers import read_trends
from pingboard.model import Board, Standing
from pingboard.render.markdown import shortest_decimal, table
from pingboard.servername import decode_server_name
from pingboard.web.charts.rows import (
    TREND_PARTS,
    Bar,
    draw_bar,
    draw_trend,
    find_scale,
    mark_scale,
)
from pingboard.web.charts.scale import Mark
from pingboard.web.pages.choices import encode
from pingboard.web.pages.layout import PageQuery
from pingboard.web.parameters import TABLE_ROWS, BoardQuery, check_name

BOARD_ROWS = 50
"""Homeservers that the page shows unless `limit` asks for more: a first look stays quick."""


_SORT_KEYS: dict[str, Callable[[Standing], Any]] = {
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

BY_RANK = "rank"
ORDERS = [f"{sign}{name}" for name in _SORT_KEYS for sign in ("", "-")]
"""The column that rows are ordered by; with a minus the other way round."""


class BoardPageQuery(BoardQuery, PageQuery):
    """Which board, in which language, and what of it."""

    sort: Annotated[str, AfterValidator(partial(check_name, ORDERS))] = Field(
        BY_RANK, description="The column to order by; with a `-` downwards."
    )
    q: Annotated[str, Field(max_length=255)] = Field(
        "", description="Only homeservers whose name has this in it."
    )


class Tie(NamedTuple):
    """Where in a group of ranks a row is whose order may be chance."""

    first: int
    last: int
    """the ranks that the group goes from and to"""
    place: str
    """as the bracket is drawn: first, middle or last"""


@dataclass(frozen=True, slots=True)
class BoardRow:
    """One homeserver, drawn."""

    standing: Standing
    bar: Bar
    trend: str
    """the `d` of an SVG path; empty where nothing is drawn"""
    change: int | None
    """places up since the last edition; None where it had none there"""
    tie: Tie | None
    """None where it differs from all its neighbours"""


@dataclass(frozen=True, slots=True)
class ColumnHead:
    """The head of a column that can be sorted by."""

    order: str | None
    """as `aria-sort` says it; None where another column is sorted by"""
    next: str
    """what its button asks for"""


@dataclass(frozen=True, slots=True)
class BoardView:
    """What a template shows of a board."""

    board: Board
    query: BoardPageQuery
    rows: Sequence[BoardRow]
    match_count: int
    """homeservers that the search found, also those behind `rows`"""
    marks: Sequence[Mark]
    """of the axis"""
    columns: dict[str, ColumnHead]

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
        """Whether there is a line to draw: dots alone show no trend."""
        return any("l" in row.trend for row in self.rows)

    @property
    def has_ties(self) -> bool:
        """Whether there is a bracket beside ranks."""
        return any(row.tie for row in self.rows)

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


def build_view(boards: Boards, board: Board, query: BoardPageQuery) -> BoardView:
    """A board of all homeservers, as this query wants to see it."""
    needle = query.q.strip().lower()
    matches = [
        row
        for row in board.standings
        if needle in row.homeserver.lower() or needle in decode_server_name(row.homeserver)
    ]
    column = query.sort.removeprefix("-")
    matches.sort(key=_SORT_KEYS[column], reverse=query.sort.startswith("-"))
    shown = matches[: query.limit or BOARD_ROWS]
    scale = find_scale(board.standings)
    ties = find_ties(board.standings) if query.sort == BY_RANK else {}
    trends = read_trends(boards, board, {row.homeserver for row in shown}, TREND_PARTS)
    rows = [
        BoardRow(
            row,
            draw_bar(scale, row),
            draw_trend(trends.get(row.homeserver, ()), row.median_ms),
            row.previous_rank - row.rank if row.previous_rank is not None else None,
            ties.get(row.rank),
        )
        for row in shown
    ]
    columns = {name: _head(name, query.sort) for name in _SORT_KEYS}
    return BoardView(board, query, rows, len(matches), mark_scale(scale), columns)


def find_ties(standings: Sequence[Standing]) -> dict[int, Tie]:
    """By rank, the groups of neighbours whose intervals all overlap that of the group's first."""
    groups: list[list[Standing]] = []
    for row in standings:
        first = groups[-1][0] if groups else None
        if first and first.ci95_ms and row.ci95_ms and row.ci95_ms[0] <= first.ci95_ms[1]:
            groups[-1].append(row)
        else:
            groups.append([row])
    ties = {}
    for group in groups:
        top, bottom = group[0].rank, group[-1].rank
        for row in group if len(group) > 1 else ():
            place = {top: "first", bottom: "last"}.get(row.rank, "middle")
            ties[row.rank] = Tie(top, bottom, place)
    return ties


def _head(name: str, current: str) -> ColumnHead:
    up, down = name, f"-{name}"
    initial, other = (down, up) if name in _DOWN_FIRST else (up, down)
    order = {up: "ascending", down: "descending"}.get(current)
    return ColumnHead(order, other if current == initial else initial)
