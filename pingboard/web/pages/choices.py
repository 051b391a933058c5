"""The boards and windows to choose from, in words and as links that keep the rest of the choice."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from pingboard.model import DEFAULT_WINDOW, WINDOWS, BoardName, Window
from pingboard.web.pages.language import Language, mark
from pingboard.web.pages.layout import Link
from pingboard.web.parameters import NoQuery, WindowQuery


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a board answers; of the catalogue, so still to be translated."""

    name: str
    question: str
    sentence: str


MEANINGS = {
    BoardName.RESPONSE: Meaning(
        mark("Response"),
        mark("Who answers us fastest?"),
        mark(
            "Homeservers by the median round trip of our own pings: from the moment we send a ping "
            "until its pong reaches us, by our clock alone."
        ),
    ),
    BoardName.DELIVERY: Meaning(
        mark("Delivery"),
        mark("Whose messages reach everybody fastest?"),
        mark(
            "Homeservers that send pings, by the median time until the echo bots of all others "
            "have them, as the bots report it. This is the number that This Week in Matrix prints."
        ),
    ),
    BoardName.RECEPTION: Meaning(
        mark("Reception"),
        mark("Who receives fastest?"),
        mark(
            "Homeservers with an echo bot, by the median time that pings from everybody take to "
            "reach it, as the bot reports it."
        ),
    ),
}


def encode(query: NoQuery, *, leave_out: frozenset[str] = frozenset(), **changes: object) -> str:
    """`?` and what differs from the defaults, after these changes; empty where nothing does."""
    changed = query.model_copy(update=changes)
    parameters = changed.model_dump(
        mode="json", by_alias=True, exclude_defaults=True, exclude=set(leave_out)
    )
    return "?" + urlencode(parameters) if parameters else ""


def link_boards(path: str, query: NoQuery, current: BoardName, language: Language) -> list[Link]:
    """A link for each board; `query` has a `board`."""
    return [
        Link(
            language.words.gettext(meaning.name), path + encode(query, board=name), name is current
        )
        for name, meaning in MEANINGS.items()
    ]


def link_windows(path: str, query: WindowQuery) -> list[Link]:
    """A link for each window by its name; none is current where `from` or `to` says another."""
    current = None if query.from_ or query.to else query.window or DEFAULT_WINDOW
    return [
        Link(
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
