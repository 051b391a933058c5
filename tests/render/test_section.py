"""The section for This Week in Matrix, in each of its layouts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pingboard.model import Board, BoardName, Standing, Window, describe_board
from pingboard.render.section import Style, Wording, room_link, section

AT = datetime(2026, 10, 12, tzinfo=UTC)
WORDING = Wording("Dept of Ping", "The fastest.", "Join {room}, it is {room}.")


def board(alias: str | None, *medians: float) -> Board:
    rows = [
        Standing(rank, f"s{rank}.example", median, 0, 0, 0, 0, 0, 1)
        for rank, median in enumerate(medians, 1)
    ]
    window = Window.named("7d", AT)
    return Board("!id", alias, BoardName.DELIVERY, window, AT, len(rows), rows)


DELIVERY = describe_board(BoardName.DELIVERY)
A, B = board("#a:one.example", 403, 512.5), board("#b:one.example", 77)
LINK_A = "[#a:one.example](https://matrix.to/#/#a:one.example)"
LINK_B = "[#b:one.example](https://matrix.to/#/#b:one.example)"
TABLE_A = "|Rank|Hostname|Median MS|\n|:---:|:---:|:---:|\n|1|s1.example|403|\n|2|s2.example|512.5|"
TABLE_B = "|Rank|Hostname|Median MS|\n|:---:|:---:|:---:|\n|1|s1.example|77|"


def test_the_classic_layout_is_one_paragraph_and_the_table() -> None:
    assert section([A], Style.CLASSIC, WORDING) == (
        f"## Dept of Ping\n\nThe fastest. {DELIVERY} Join {LINK_A}, it is {LINK_A}.\n\n{TABLE_A}\n"
    )


def test_the_layout_by_rooms_has_a_heading_for_each() -> None:
    assert section([A, B], Style.ROOMS, WORDING) == (
        f"## Dept of Ping\n\nThe fastest. {DELIVERY}\n\n"
        f"### {LINK_A}\n\nJoin {LINK_A}, it is {LINK_A}.\n\n{TABLE_A}\n\n"
        f"### {LINK_B}\n\nJoin {LINK_B}, it is {LINK_B}.\n\n{TABLE_B}\n"
    )


def test_the_current_layout_has_an_invitation_for_each_room() -> None:
    assert section([A, B], Style.CURRENT, WORDING) == (
        f"## Dept of Ping\n\nThe fastest. {DELIVERY}\n\n"
        f"Join {LINK_A}, it is {LINK_A}.\n\n{TABLE_A}\n\n"
        f"Join {LINK_B}, it is {LINK_B}.\n\n{TABLE_B}\n"
    )


def test_a_room_of_another_board_names_it() -> None:
    text = section([A, replace(B, name=BoardName.RECEPTION)], Style.CURRENT, WORDING)
    assert f"it is {LINK_B}. {describe_board(BoardName.RECEPTION)}\n\n{TABLE_B}" in text


def test_the_classic_layout_names_each_further_room() -> None:
    text = section([A, B], Style.CLASSIC, WORDING)
    assert text.endswith(f"\n\n{TABLE_A}\n\n{LINK_B}\n\n{TABLE_B}\n")


def test_our_own_words_name_the_room() -> None:
    assert LINK_A in section([A], Style.CURRENT, Wording())


@pytest.mark.parametrize(
    ("room", "link"),
    [
        ("!v12hash", r"[!v12hash](https://matrix.to/#/!v12hash)"),
        ("#a]b(c:x.example", r"[#a\]b(c:x.example](https://matrix.to/#/#a%5Db%28c:x.example)"),
        ("#<b>|:x.example", r"[#\<b\>\|:x.example](https://matrix.to/#/#%3Cb%3E%7C:x.example)"),
    ],
)
def test_a_rooms_name_can_not_break_out_of_its_link(room: str, link: str) -> None:
    assert room_link(room) == link
