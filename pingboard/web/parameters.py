"""Query parameters: what a URL asks for -> the board that answers it; wrong ones are a 422.

Every path takes its parameters as one of these models. An unknown parameter is an error, so that
a typo can't pass silently.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Annotated, ClassVar

from fastapi import Path
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from starlette.convertors import Convertor, register_url_convertor

from pingboard.boards import Boards, Question, order_boards
from pingboard.editions import with_movement
from pingboard.model import (
    DEFAULT_BOARD,
    DEFAULT_WINDOW,
    WINDOWS,
    Board,
    BoardName,
    Window,
    write_instant,
)
from pingboard.ranking.history import AUTOMATIC_BUCKETS, STEPS
from pingboard.render.section import Style

MAX_WINDOW = timedelta(days=366)
DEFAULT_LIMIT = 1000
MAX_LIMIT = 10_000
TABLE_ROWS = 10
"""Rows of a table to paste, where nothing else is asked for."""
MAX_SAMPLES = 1_000_000_000
MAX_PAIRS = 100_000
MAX_RAW_SAMPLES = 1_000_000

_YEAR = "(19[7-9][0-9]|[2-8][0-9]{3}|9[0-8][0-9]{2}|99[0-8][0-9]|999[0-8])"
"""1970 to 9998: a year of room on either side, for a window that is added, or a timezone."""
_REST = (
    "-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
)
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)",
    re.ASCII | re.IGNORECASE,
)
"""Looser, because for a 13th month there is a better message."""


def parse_instant(text: object) -> datetime:
    """An RFC 3339 date and time with its timezone, as aware UTC."""
    if not isinstance(text, str) or not _RFC3339.fullmatch(text):
        raise ValueError(
            "should be RFC 3339 with a timezone, for example 2026-10-05T00:00:00Z (in a URL, a '+' "
            "is written %2B)"
        )
    if not re.match(_YEAR, text):
        raise ValueError("should be in a year from 1970 to 9998")
    return datetime.fromisoformat(text.upper()).astimezone(UTC)


def check_name(names: Collection[str], name: str) -> str:
    """Return a name that is one of these; ValueError for any other."""
    if name not in names:
        raise ValueError(f"should be one of {', '.join(names)}")
    return name


LATEST = "latest"
"""Stands for the name of the last edition."""


def check_week(name: str) -> str:
    """Return a week as editions are named by; ValueError for anything else."""
    if not re.fullmatch(_WEEK, name, re.ASCII):
        raise ValueError("should be a week such as 2026-W41")
    return name


def check_edition(name: str) -> str:
    """Return a week, or `latest`; ValueError for anything else."""
    if name != LATEST and not re.fullmatch(_WEEK, name, re.ASCII):
        raise ValueError("should be latest, or a week such as 2026-W41")
    return name


_WEEK = r"\d{4}-W\d\d"
WeekName = Annotated[
    str, AfterValidator(check_week), Field(json_schema_extra={"pattern": f"^{_WEEK}$"})
]
WeekOrLatest = Annotated[
    str,
    AfterValidator(check_edition),
    Field(json_schema_extra={"pattern": f"^({LATEST}|{_WEEK})$"}),
]

InstantParameter = Annotated[
    datetime,
    BeforeValidator(parse_instant),
    Field(json_schema_extra={"pattern": f"^{_YEAR}{_REST}$"}),
]
WindowName = Annotated[
    str,
    AfterValidator(partial(check_name, WINDOWS)),
    Field(json_schema_extra={"enum": list(WINDOWS)}),
]


class Anything(Convertor[str]):
    """Starlette's `path` without its exception: a newline too may stand in an address."""

    regex = r"[\s\S]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("anything", Anything())

HomeserverName = Annotated[
    str,
    Path(
        min_length=1,
        max_length=255,
        description="Matrix server name, URL-encoded; a port belongs to it.",
        examples=["two.example"],
    ),
]


class NoQuery(BaseModel):
    """For a path that takes no parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT, description="Most entries on a page.")]
Cursor = Annotated[
    Annotated[str, Field(min_length=1, max_length=1000)] | None,
    Field(
        description="Where the page begins: `next_cursor` of the page before, unchanged.",
    ),
]


class ListQuery(NoQuery):
    """Which page of a list."""

    limit: Limit = DEFAULT_LIMIT
    cursor: Cursor = None


class RoomQuery(NoQuery):
    room: Annotated[str, Field(min_length=1, max_length=255)] | None = Field(
        None,
        description="Alias or room ID, URL-encoded (`#` is `%23`, `!` is `%21`). "
        "Left out: the first configured room.",
        examples=["#ping:maunium.net"],
    )


class WindowQuery(RoomQuery):
    window: WindowName | None = Field(
        None,
        description=f"Length of the window. Left out: `{DEFAULT_WINDOW}`, or what `from` and `to` "
        "say. Alone it ends now; with `to` it ends there, with `from` it begins there; with both "
        "it has to agree with them.",
        examples=[DEFAULT_WINDOW],
    )
    from_: InstantParameter | None = Field(
        None,
        alias="from",
        description="First instant of the window, RFC 3339 with a timezone. Alone, the window runs "
        f"until now. A window is at most {MAX_WINDOW.days} days long.",
        examples=["2026-10-05T00:00:00Z"],
    )
    to: InstantParameter | None = Field(
        None,
        description="First instant after the window, RFC 3339 with a timezone. Alone, the window "
        f"begins {DEFAULT_WINDOW} before it.",
        examples=["2026-10-12T00:00:00Z"],
    )

    @property
    def ends_now(self) -> bool:
        """Whether the window still hears something new: one that ended in the past does not."""
        return self.to is None and not (self.from_ and self.window)

    def window_at(self, now: datetime) -> Window:
        """The window that is asked for at this time; a 422 where there can't be one."""
        length = WINDOWS[self.window or DEFAULT_WINDOW]
        if self.window and self.from_ and self.to and self.to - self.from_ != length:
            raise refusal("window", "should be left out: from and to give another length")
        end = self.to or (self.from_ + length if self.from_ and self.window else now)
        start = self.from_ or end - length
        if start >= end:
            raise refusal("from", f"should be before the window's end, {write_instant(end)}")
        if end - start > MAX_WINDOW:
            raise refusal(
                "from",
                f"should be at most {MAX_WINDOW.days} days before the window's end, "
                f"{write_instant(end)}",
            )
        return Window(start, end)

    def keep(self, window: Window) -> dict[str, str]:
        """The parameters that stay the same from page to page.

        A window that ends "now" is held to the instants of the first page, so that the pages are
        of one whole.
        """
        kept = self.model_dump(
            mode="json",
            by_alias=True,
            exclude_defaults=True,
            exclude={"window", "from_", "to", "cursor"},
        )
        kept |= {"from": write_instant(window.start), "to": write_instant(window.end)}
        return {name: str(value) for name, value in kept.items()}


class ImageQuery(WindowQuery):
    """What an image shows: which board, in which room and when."""

    default_board: ClassVar[BoardName] = DEFAULT_BOARD

    board: BoardName | None = Field(
        None,
        description="On which board (see rankings). Left out: `response`, or where that has no "
        "samples the first that has.",
    )

    def ask(self, boards: Boards, now: datetime) -> Board:
        """The board that is asked for, as of now; raises UnknownRoomError."""
        return boards.ask_first(self.question(now), self.board_names)

    @property
    def board_names(self) -> list[BoardName]:
        """The boards of which the first that has samples is the answer."""
        return [self.board] if self.board else order_boards(self.default_board)

    def question(self, now: datetime) -> Question:
        name = self.board or self.default_board
        return Question(name, self.window_at(now), now, self.room)


class BoardQuery(ImageQuery):
    """Which board: the same parameters for its JSON, its Markdown table and its page."""

    board: BoardName | None = Field(
        None,
        description="`response` ranks pong servers by the round trip of our own pings, `delivery` "
        "ping servers by one-way over all pongs, `reception` pong servers by one-way over "
        "everybody's pings. Left out: `response`, or where that has no samples the first that has.",
    )
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] | None = Field(
        None, description="Most standings to give. Left out: all.", examples=[10]
    )
    min_samples: int = Field(
        1,
        ge=1,
        le=MAX_SAMPLES,
        description="Leave out homeservers with fewer samples; those left are ranked from 1.",
    )

    def ask(self, boards: Boards, now: datetime) -> Board:
        """The same, with how each homeserver has moved."""
        return with_movement(boards.engine, super().ask(boards, now))

    def question(self, now: datetime) -> Question:
        return super().question(now)._replace(min_samples=self.min_samples, limit=self.limit)


class BadgeQuery(ImageQuery):
    """A place on which board, and the words beside it."""

    label: Annotated[str, Field(min_length=1, max_length=60)] | None = Field(
        None,
        description="The words on the left. Left out: `matrix ping`.",
        examples=["ping"],
    )


class TableQuery(BoardQuery):
    """As `BoardQuery`, for a table to paste."""

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] | None = Field(
        TABLE_ROWS, description="Most rows."
    )


class SectionQuery(TableQuery):
    """As `TableQuery`, for one room or several.

    Of `delivery`: the number that This Week in Matrix has always printed.
    """

    default_board = BoardName.DELIVERY

    room: list[Annotated[str, Field(min_length=1, max_length=255)]] = Field(  # type: ignore[assignment]
        [],
        max_length=20,
        description="Alias or room ID, URL-encoded; repeatable. Left out: every configured room.",
        examples=[["#ping:maunium.net"]],
    )
    edition: WeekOrLatest | None = Field(
        None,
        description="A frozen week instead of the window: `latest`, or an edition's name.",
        examples=["latest", "2026-W41"],
    )
    style: Style = Field(
        Style.CURRENT,
        description="`classic` is one paragraph and the table (as in 2020), `rooms` has a "
        "sub-heading for each room (2021), `current` an invitation for each room (2026).",
    )

    def refuse_beside_edition(self) -> None:
        """Raise a 422 where something is given that a frozen week can't follow."""
        for field in ("window", "from_", "to", "min_samples"):
            if field in self.model_fields_set:
                message = "should be left out: an edition has its own week and homeservers"
                raise refusal(field.rstrip("_"), message)


StepName = Annotated[
    str, AfterValidator(partial(check_name, STEPS)), Field(json_schema_extra={"enum": list(STEPS)})
]
_Partner = Annotated[str, Field(min_length=1, max_length=255)] | None


class HomeserversQuery(ListQuery, WindowQuery): ...


class RankingsQuery(ListQuery, BoardQuery): ...


class ProfileQuery(WindowQuery):
    limit: int = Field(5, ge=1, le=100, description="Most partners to give at each end.")


class HistoryQuery(ImageQuery):
    step: StepName | None = Field(
        None,
        description="Length of a bucket. Left out: the shortest with at most "
        f"{AUTOMATIC_BUCKETS} buckets.",
        examples=["6h"],
    )


class MatrixQuery(WindowQuery):
    ping_server: _Partner = Field(None, description="Only the pings of this homeserver.")
    pong_server: _Partner = Field(None, description="Only the pongs of this homeserver.")
    min_samples: int = Field(
        1, ge=1, le=MAX_SAMPLES, description="Leave out pairs with fewer samples."
    )
    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_PAIRS, description="Most pairs on a page.")
    cursor: Cursor = None


class SampleFormat(StrEnum):
    """How samples are written."""

    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"


class SamplesQuery(WindowQuery):
    ping_server: _Partner = Field(None, description="Only the pings of this homeserver.")
    pong_server: _Partner = Field(None, description="Only the pongs of this homeserver.")
    format: SampleFormat | None = Field(
        None,
        description="Left out: what `Accept` likes best, else `json`.",
    )
    limit: Annotated[int, Field(ge=1, le=MAX_RAW_SAMPLES)] | None = Field(
        None,
        description="Most samples on a page. Left out: 1000 for `json`, all for the others.",
        examples=[1000],
    )
    cursor: Cursor = None


def refusal(parameter: str, message: str, kind: str = "value_error") -> RequestValidationError:
    """The error that pydantic would raise, for what depends on more than one parameter."""
    return RequestValidationError([{"type": kind, "loc": ("query", parameter), "msg": message}])
