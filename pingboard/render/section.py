"""Boards -> the section "Dept of Ping" of This Week in Matrix, ready to paste, as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote

from pingboard.model import Board, describe_board
from pingboard.render.markdown import table

ROOM = "{room}"
"""Stands for the room, as a link, in either sentence."""


class Style(StrEnum):
    """How the section has been laid out over the years."""

    CLASSIC = "classic"
    """2020: intro and invitation are one paragraph"""
    ROOMS = "rooms"
    """2021: a sub-heading, an invitation and a table for each room"""
    CURRENT = "current"
    """2026: the intro, then an invitation and a table for each room"""


@dataclass(frozen=True, slots=True)
class Wording:
    """The sentences around the tables, Markdown."""

    title: str = "Dept of Ping 🏓"
    intro: str = (
        "These homeservers had the lowest ping of the past week. It is measured with "
        "[echo bots](https://github.com/maubot/echo), which anybody can run on their homeserver."
    )
    invitation: str = "Join {room} to watch the pongs arrive, and to add your own homeserver."


def section(boards: Sequence[Board], style: Style, wording: Wording) -> str:
    """The section over these boards, one a room; ends in one newline.

    `classic` has one paragraph, so it invites to the first room, and names each further one over
    its table.
    """
    intro, paragraphs = wording.intro, []
    for number, board in enumerate(boards):
        link = room_link(board.room_alias or board.room_id)
        invitation = wording.invitation.replace(ROOM, link)
        if not number:
            intro = f"{intro} {describe_board(board.name)}"
        elif board.name is not boards[0].name:
            invitation = f"{invitation} {describe_board(board.name)}"
        if style is Style.CLASSIC:
            intro = intro if number else f"{intro} {invitation}"
            paragraphs += [link] if number else []
        elif style is Style.ROOMS:
            paragraphs += [f"### {link}", invitation]
        else:
            paragraphs.append(invitation)
        paragraphs.append(table(board.standings).rstrip("\n"))
    return "\n\n".join([f"## {wording.title}", intro, *paragraphs]) + "\n"


def room_link(room: str) -> str:
    """A room's alias or ID as a link that every client understands.

    https://spec.matrix.org/v1.16/appendices/#matrixto-navigation
    """
    text = re.sub(r"([\\\[\]<>*`|])", r"\\\1", room)
    return f"[{text}](https://matrix.to/#/{quote(room, safe='#!:')})"
