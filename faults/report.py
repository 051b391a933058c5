"""REPORT.md: the table of cases with the figures of their last run. A run replaces its own rows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from faults.case import Case
from faults.run import Outcome

FILE = Path(__file__).with_name("REPORT.md")
HEAD = "| case | wanted | had | form | s | verdict |\n|:---|:---|:---|:---|---:|:---|"

_ROW = re.compile(r"\| (?P<name>\d+\. [^|]+) \|.*")


def name_of(case: Case) -> str:
    """The first cell of its row."""
    return _cell(f"{case.number}. {case.title}")


def row(outcome: Outcome, *, short: bool) -> str:
    """What came of a case, as a row of the table."""
    case = outcome.case
    cells = (
        name_of(case),
        case.wanted,
        outcome.figure or "-",
        "short" if short else "long",
        f"{outcome.seconds:.0f}",
        f"FAIL: {_in_one_line(outcome.fault)}" if outcome.fault else "pass",
    )
    return f"| {' | '.join(map(_cell, cells))} |"


def merged(text: str, rows: Iterable[str], order: Iterable[str]) -> str:
    """A text with its table brought up to date: new rows instead of old, cases in this order.

    Rows of cases that there are no more are dropped.
    """
    before, _, table = text.partition(HEAD)
    by_name = {
        match["name"]: line
        for line in [*table.splitlines(), *rows]
        if (match := _ROW.fullmatch(line))
    }
    kept = [by_name[name] for name in order if name in by_name]
    return "\n".join([before + HEAD, *kept, ""])


def _cell(text: str) -> str:
    return text.replace("|", "/")


def _in_one_line(fault: str) -> str:
    """Its first line and its last, which of a log is the one that tells."""
    lines = [line.strip() for line in fault.splitlines()]
    return lines[0] if len(lines) == 1 else f"{lines[0]} ... {lines[-1]}"
