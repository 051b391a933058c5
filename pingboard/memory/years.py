"""Boards of long windows: whole months as they are counted, the ends of the window as samples.

In: rooms, a board's name, a window of any length. Out: its standings, the same as from all samples;
of a year at a fiftieth of the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pingboard.columns.blocks import WIDE, answers_inside, losses_inside
from pingboard.columns.counts import add_up
from pingboard.model import PONG_TIMEOUT_MS, BoardName, Standing, Window, from_ts
from pingboard.ranking.answers import add_answer
from pingboard.ranking.clocks import estimate_clocks
from pingboard.ranking.histograms import rank_counted
from pingboard.ranking.samples import board_columns
from pingboard.store import columns, months
from pingboard.store.counted import add_counts
from pingboard.store.engine import read_snapshot

if TYPE_CHECKING:
    from pingboard.store.engine import Engine
    from pingboard.store.months import Long


def read_board(
    engine: Engine,
    rooms: Sequence[int],
    name: BoardName,
    window: Window,
    *,
    now_ts: int,
    min_samples: int = 1,
    limit: int | None = None,
) -> tuple[list[Standing], int]:
    """The standings of rooms (row IDs), and how many samples they have in all."""
    # What is not lost yet is in no month.
    settled_ts = min(window.end_ts, now_ts - PONG_TIMEOUT_MS)
    with read_snapshot(engine) as connection:
        names = columns.read_names(connection)
        parts = [
            months.read_long(connection, room, name, window.start_ts, window.end_ts, settled_ts)
            for room in rooms
        ]
    rest = [
        board_columns(blocks, name, Window(from_ts(start_ts), from_ts(end_ts)))
        for part in parts
        for start_ts, end_ts, blocks in part.stretches
    ]
    rest += [one for part in parts for one in part.claims]
    nothing = np.empty(0, np.int32)
    counted = add_up(
        [one for part in parts for one, _ in part.months],
        np.concatenate([nothing, *(servers for servers, _ in rest)]),
        np.concatenate([nothing, *(ms for _, ms in rest)]),
        [dense for part in parts for _, dense in part.months],
    )
    ranked, samples = rank_counted(counted, names, min_samples=min_samples, limit=limit)
    if name is BoardName.RESPONSE:
        ranked = _add_answers(ranked, parts, names, settled_ts)
    return ranked, samples


def _add_answers(
    ranked: Sequence[Standing], parts: Sequence[Long], names: Sequence[str], settled_ts: int
) -> list[Standing]:
    """The standings with loss and clock of each pong server, as for any window."""
    answers, losses = [WIDE.answers], [WIDE.losses]
    for part in parts:
        for start_ts, end_ts, blocks in part.stretches:
            answers.append(answers_inside(blocks, start_ts, end_ts))
            losses.append(losses_inside(blocks, start_ts, min(end_ts, settled_ts)))
    before = [one for part in parts for one in part.answered]
    answered = [np.bincount(one.pong_server, minlength=len(names)) for one in answers]
    lost = [np.bincount(one.pong_server, minlength=len(names)) for one in losses]
    answered_of = add_counts([*answered, *(one.answers for one in before)])
    lost_of = add_counts([*lost, *(one.losses for one in before)])
    clocks = estimate_clocks(
        np.concatenate([*(one.pong_server for one in answers), *(one.servers for one in before)]),
        np.concatenate([*(one.ms for one in answers), *(one.ms for one in before)]),
        np.concatenate(
            [*(one.offset_x2_ms for one in answers), *(one.offset_x2_ms for one in before)]
        ),
    )
    numbers = {name: number for number, name in enumerate(names)}
    return [
        add_answer(row, int(answered_of[number]), int(lost_of[number]), clocks.get(number))
        for row in ranked
        for number in [numbers[row.homeserver]]
    ]
