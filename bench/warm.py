"""Warm: the board, the matrix and their JSON

A million samples in memory, as a server has them. A `delivery` board is ranked anew, as after a
redaction, and written as the JSON of `/api/v1/rankings`; then the matrix of all pairs of ping and
pong server, and the JSON of `/api/v1/matrix`. Against the two sorts that this can't do without:
`np.sort` of the board's keys (4 bytes each) and of the pairs' (8 bytes), one after the other; ours
are 4 bytes each where they fit.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.pairs import Pair
from bench.pongs import END, ROOM, WEEK, Pongs, synthesize
from bench.store import write_ours
from pingboard import homeservers
from pingboard.boards import Boards
from pingboard.model import BoardName
from pingboard.store.engine import open_engine
from pingboard.web.api.matrix import write_pairs
from pingboard.web.api.rankings import Rankings
from pingboard.web.parameters import BoardQuery


def pairs(quick: bool) -> Iterator[Pair]:
    """The figures; `quick` with 100,000 samples."""
    samples = synthesize(100_000 if quick else 1_000_000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ours.db"
        write_ours(path, samples)
        yield board_and_matrix(path, samples)


def board_and_matrix(path: Path, samples: Pongs) -> Pair:
    """From memory to both JSON texts."""
    boards = Boards(open_engine(f"sqlite:///{path}", read_only=True))
    query = BoardQuery(room=ROOM, board=BoardName.DELIVERY)

    def ours() -> int:
        board = boards.board(BoardName.DELIVERY, WEEK, now=END, room=ROOM)
        rankings = Rankings.of(board, query, board.standings, None, "main").model_dump_json()
        matrix = write_pairs(homeservers.read_matrix(boards, ROOM, WEEK))
        return len(rankings) + len(matrix)

    board_keys, pair_keys = _keys(samples)
    return Pair(
        f"board, matrix and JSON of {len(samples.ping):,} samples / the two sorts",
        ours,
        lambda: (np.sort(board_keys), np.sort(pair_keys)),
        1.8,
    )


def _keys(samples: Pongs) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    by, ms = samples.ping_server, samples.one_way_ms
    pair_number = by.astype(np.int64) * len(samples.names) + samples.pong_server
    return by.astype(np.uint32) << np.uint32(20) | ms.astype(np.uint32), pair_number << 20 | ms
