"""`table` and `section`: a board in the terminal; Markdown, and nothing else, into a pipe."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from pingboard.cli.open_database import opened_boards
from pingboard.cli.output import wording
from pingboard.model import (
    DEFAULT_BOARD,
    DEFAULT_WINDOW,
    WINDOWS,
    BoardName,
    ConfigurationError,
    Window,
)
from pingboard.render.section import Style

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pingboard.boards import Boards
    from pingboard.model import Board

TableBoard = Annotated[
    BoardName | None,
    typer.Option("--board", help="Default: response, or the first board with samples."),
]
SectionBoard = Annotated[
    BoardName | None,
    typer.Option("--board", help="Default: delivery, or the first board with samples."),
]
WindowOption = Annotated[
    str, typer.Option("--window", help=f"How far back: {', '.join(WINDOWS)}.", metavar="LENGTH")
]
LimitOption = Annotated[
    int, typer.Option("--limit", min=1, metavar="N", help="Print at most N rows.")
]
MinSamples = Annotated[
    int, typer.Option("--min-samples", min=1, metavar="N", help="Leave out homeservers with fewer.")
]


def table(
    room: Annotated[
        str | None,
        typer.Option(metavar="ROOM", help="Alias or ID. Default: the first configured."),
    ] = None,
    board: TableBoard = None,
    window: WindowOption = DEFAULT_WINDOW,
    limit: LimitOption = 10,
    min_samples: MinSamples = 1,
) -> None:
    """Print a board: drawn on a terminal, Markdown into a pipe."""
    from pingboard.boards import order_boards
    from pingboard.render import markdown
    from pingboard.settings import load_settings

    settings = load_settings()
    with opened_boards(settings) as boards:
        names = [board] if board else order_boards(DEFAULT_BOARD)
        (answer,) = _ask(boards, [room], names, window, limit, min_samples)
    if answer.name is not names[0]:
        typer.echo(f"No samples for {names[0]}: this is {answer.name}.", err=True)
    if not answer.standings:
        typer.echo(
            f"No samples in the last {window}: try a longer --window, "
            "or see what is wrong with `pingboard doctor`.",
            err=True,
        )
    if sys.stdout.isatty():
        _draw([answer])
    else:
        sys.stdout.write(markdown.table(answer.standings))


def section(
    room: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROOM", help="Alias or ID; repeatable. Default: the configured rooms, or all."
        ),
    ] = None,
    style: Annotated[
        Style, typer.Option(help="classic is the layout of 2020, rooms of 2021.")
    ] = Style.CURRENT,
    board: SectionBoard = None,
    window: WindowOption = DEFAULT_WINDOW,
    limit: LimitOption = 10,
    min_samples: MinSamples = 1,
) -> None:
    """Print the section for This Week in Matrix.

    It is drawn on a terminal, and Markdown into a pipe.
    """
    from pingboard.boards import order_boards
    from pingboard.render.section import section
    from pingboard.settings import load_settings

    settings = load_settings()
    with opened_boards(settings) as boards:
        rooms = boards.section_rooms(settings.rooms, room or ())
        names = [board] if board else order_boards(BoardName.DELIVERY)
        answers = _ask(boards, rooms, names, window, limit, min_samples)
    if sys.stdout.isatty():
        _draw(answers)
    else:
        sys.stdout.write(section(answers, style, wording(settings)))


def _ask(
    boards: Boards,
    rooms: Sequence[str | None],
    names: Sequence[BoardName],
    window: str,
    limit: int,
    min_samples: int,
) -> list[Board]:
    if window not in WINDOWS:
        raise ConfigurationError(f"--window {window!r} is none of {', '.join(WINDOWS)}")
    from pingboard.boards import Question

    now = datetime.now(UTC)
    window_now = Window.named(window, now)
    return [
        boards.ask_first(Question(names[0], window_now, now, room, min_samples, limit), names)
        for room in rooms
    ]


def _draw(boards: Iterable[Board]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from pingboard.render.markdown import shortest_decimal

    console = Console()
    for board in boards:
        room = board.room_alias or board.room_id
        drawn = Table(
            title=Text(f"{room} · {board.name} · {board.samples:,} pongs"), title_justify="left"
        )
        drawn.add_column("Rank", justify="right")
        drawn.add_column("Hostname", overflow="fold")
        for column in ("Median ms", "p5 to p95", "Samples"):
            drawn.add_column(column, justify="right")
        for row in board.standings:
            drawn.add_row(
                str(row.rank),
                Text(row.homeserver),
                shortest_decimal(row.median_ms),
                f"{row.p5_ms:,.0f} to {row.p95_ms:,.0f}",
                f"{row.samples:,}",
            )
        console.print(drawn)
