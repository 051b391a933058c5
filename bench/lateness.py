"""How late a worker's event loop runs while `!pingboard` ranks a million samples in a thread."""

from __future__ import annotations

import asyncio
import tempfile
import time
from statistics import median

from bench.pongs import END, ROOM, WEEK, synthesize, write_closed_hours
from pingboard.boards import Boards
from pingboard.model import BoardName
from pingboard.store.engine import migrate, open_engine

SAMPLES = 1_000_000
TIMES = 5
TICK_S = 0.002


def measure_lateness_ms() -> float:
    """Return the longest lateness of a call with nothing in memory; the median of several."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/week.db"
        engine = open_engine(url)
        migrate(engine)
        write_closed_hours(engine, iter([synthesize(SAMPLES)]))
        engine.dispose()
        reader = open_engine(url, read_only=True)
        try:
            return median(asyncio.run(_find_latest_ms(Boards(reader))) for _ in range(TIMES))
        finally:
            reader.dispose()


async def _find_latest_ms(boards: Boards) -> float:
    ranking = asyncio.create_task(asyncio.to_thread(_rank, boards))
    latest_ms = 0.0
    while not ranking.done():
        begun = time.perf_counter()
        await asyncio.sleep(TICK_S)
        latest_ms = max(latest_ms, (time.perf_counter() - begun - TICK_S) * 1e3)
    await ranking
    return latest_ms


def _rank(boards: Boards) -> None:
    """Ask for what an answer of pingboard/matrix/bot.py is made of."""
    for name in BoardName:
        boards.board(name, WEEK, now=END, room=ROOM)
