"""The boards and windows to choose from, in words and as links that keep the rest of the choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never
from urllib.parse import urlencode

from pingboard.model import DEFAULT_BOARD, DEFAULT_WINDOW, WINDOWS, BoardName, Window
from pingboard.web.pages.language import Language, mark
from pingboard.web.pages.layout import ChoiceLink
from pingboard.web.parameters import NoQuery, WindowQuery


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a board shows, to be translated."""

    name: str
    title: str
    sentence: str
    """with %(room)s and %(vantage)s, as links"""


def get_meaning(board: BoardName) -> Meaning:
    """Return what the pages say of a board."""
    match board:
        case BoardName.RESPONSE:
            return Meaning(
                mark("Response"),
                mark("Fastest Matrix homeservers"),
                mark(
                    "We post !ping in %(room)s, and each homeserver’s echo bot answers. Ranked by "
                    "the median round trip, measured from %(vantage)s."
                ),
            )
        case BoardName.DELIVERY:
            return Meaning(
                mark("Delivery"),
                mark("Fastest Matrix homeservers by delivery"),
                mark(
                    "Whose !ping in %(room)s reaches all others soonest: the median time, as the "
                    "echo bots report it. This Week in Matrix prints this number. Recorded at "
                    "%(vantage)s."
                ),
            )
        case BoardName.RECEPTION:
            return Meaning(
                mark("Reception"),
                mark("Fastest Matrix homeservers by reception"),
                mark(
                    "Which homeserver’s echo bot in %(room)s sees everybody’s !ping soonest: the "
                    "median time, as the bot reports it. Recorded at %(vantage)s."
                ),
            )
        case _:
            assert_never(board)


MEANINGS = {board: get_meaning(board) for board in BoardName}


def encode(query: NoQuery, *, leave_out: frozenset[str] = frozenset(), **changes: object) -> str:
    """`?` and what differs from the defaults, after these changes; empty where nothing does."""
    changed = query.model_copy(update=changes)
    parameters = changed.model_dump(
        mode="json", by_alias=True, exclude_defaults=True, exclude=set(leave_out)
    )
    return "?" + urlencode(parameters) if parameters else ""


def link_boards(
    path: str,
    query: NoQuery,
    current: BoardName,
    language: Language,
    default: BoardName = DEFAULT_BOARD,
) -> list[ChoiceLink]:
    """A link for each board; `query` has a `board`, which is left out where it is the default."""
    return [
        ChoiceLink(
            language.words.gettext(meaning.name),
            path + encode(query, board=None if name is default else name),
            name is current,
        )
        for name, meaning in MEANINGS.items()
    ]


def link_windows(path: str, query: WindowQuery) -> list[ChoiceLink]:
    """A link for each window by its name; none is current where `from` or `to` says another."""
    current = None if query.from_ or query.to else query.window or DEFAULT_WINDOW
    return [
        ChoiceLink(
            name,
            path
            + encode(query, window=None if name == DEFAULT_WINDOW else name, from_=None, to=None),
            name == current,
        )
        for name in WINDOWS
    ]


def describe_window(query: WindowQuery, window: Window, language: Language) -> str:
    """The window that was asked for, as one says it."""
    if query.from_ or query.to:
        words = language.words.gettext("%(start)s to %(end)s")
        return words % {
            "start": language.instant(window.start),
            "end": language.instant(window.end),
        }
    name = query.window or DEFAULT_WINDOW
    count, ngettext = int(name[:-1]), language.words.ngettext
    if name.endswith("h"):
        words = ngettext("Last hour", "Last %(num)s hours", count)
    else:
        words = ngettext("Last day", "Last %(num)s days", count)
    return words % {"num": count}
