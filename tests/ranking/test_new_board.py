"""A fourth board: how many files it takes, and what says so where one is forgotten."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path("pingboard")
NAME = """    RECEPTION = "reception"
"""
WORDS = """        case BoardName.RECEPTION:
            return "Ranked"""
RULE = """        case BoardName.RECEPTION:
            return Rule(Ranked.PONG_SERVERS, Latency.ONE_WAY)
"""
MEANING = """        case BoardName.RECEPTION:
            return Meaning("""
ASKING = """
import numpy as np
from pingboard.sample_blocks import EMPTY, HOUR_MS, Answers, Block, Offsets
from pingboard.model import BoardName, Window, from_ts
from pingboard.ranking.boards import rank_board
from pingboard.web.app import describe
from pingboard.web.pages.choices import MEANINGS

zero = np.zeros(1, np.int64)
answers = Answers(Offsets.of(zero), Offsets.of(zero), zero, zero + 250, zero)
block = Block(EMPTY.claims, lambda: (answers, EMPTY.losses))
board, hour = BoardName("unheard-of"), Window(from_ts(0), from_ts(HOUR_MS))
[row], _ = rank_board([block], ["a"], board, hour, now_ts=HOUR_MS)
assert (row.median_ms, row.sent) == (250, 1), row
assert MEANINGS[board].title == "Fastest callers"
assert '"unheard-of"' in describe()
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package, with a name more among the boards."""
    package = tmp_path / "pingboard"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    replace(package / "model/boards.py", NAME, NAME + '    UNHEARD_OF = "unheard-of"\n')
    return package


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), "utf-8")


def run(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=copy.parent,
        env=os.environ | {"PYTHONPATH": str(copy.parent)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_each_of_the_three_files_does_not_type_check_until_it_knows_the_board(copy: Path) -> None:
    files = ["model/boards.py", "ranking/boards.py", "web/pages/choices.py"]
    checked = run(
        copy,
        *("-m", "mypy", "--strict", "--follow-imports=silent"),
        *(f"pingboard/{name}" for name in files),
    )
    forgotten = [line for line in checked.stdout.splitlines() if "BoardName.UNHEARD_OF" in line]
    assert [line.partition(":")[0] for line in forgotten] == [f"pingboard/{n}" for n in files]


def test_three_files_make_a_board(copy: Path) -> None:
    replace(
        copy / "model/boards.py",
        WORDS,
        '        case BoardName.UNHEARD_OF:\n            return "Calls."\n' + WORDS,
    )
    replace(
        copy / "ranking/boards.py",
        RULE,
        "        case BoardName.UNHEARD_OF:\n"
        f"            return Rule(Ranked.PONG_SERVERS, Latency.ROUND_TRIP)\n{RULE}",
    )
    replace(
        copy / "web/pages/choices.py",
        MEANING,
        "        case BoardName.UNHEARD_OF:\n"
        '            return Meaning("Calling", "Fastest callers", "Calls.")\n' + MEANING,
    )
    asked = run(copy, "-c", ASKING)
    assert asked.returncode == 0, asked.stderr
