"""Run the cases, print a row for each; exit code 1 where one failed."""

from __future__ import annotations

import argparse
import asyncio
import sys

from faults import chapters
from faults.case import Case
from faults.run import Outcome, play_all
from faults.stage import Stage

HEAD = "| case | wanted | had | s | verdict |\n|:---|:---|:---|---:|:---|"


def main() -> int:
    """Run the cases of the command line; the exit status."""
    options = _parse_arguments()
    cases = [
        case
        for case in chapters.cases()
        if (not options.numbers or case.number in options.numbers)
        and (case.short or not options.short)
    ]
    print(HEAD, flush=True)
    failed = asyncio.run(_play_all(cases, options))
    print(f"\n{len(cases) - failed} of {len(cases)} cases passed")
    return int(failed > 0)


async def _play_all(cases: list[Case], options: argparse.Namespace) -> int:
    failed = 0
    async with Stage(short=options.short, patience=options.patience) as stage:
        async for outcome in play_all(stage, cases, options.at_once):
            failed += bool(outcome.fault)
            print(_render(outcome), flush=True)
    return failed


def _render(outcome: Outcome) -> str:
    case = outcome.case
    verdict = f"FAIL: {_in_one_line(outcome.fault)}" if outcome.fault else "pass"
    cells = [
        f"{case.number}. {case.title}",
        case.wanted,
        outcome.figure or "-",
        f"{outcome.seconds:.0f}",
        verdict,
    ]
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _in_one_line(fault: str) -> str:
    """Its first line and its last, which of a log is the one that tells."""
    lines = [line.strip() for line in fault.splitlines()]
    return lines[0] if len(lines) == 1 else f"{lines[0]} ... {lines[-1]}"


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--short", action="store_true", help="the cases that take seconds, so")
    parser.add_argument("--at-once", type=int, default=1, help="how many (figures suffer)")
    parser.add_argument(
        "--patience", type=float, default=1.0, help="widens bounds of time on a busy machine"
    )
    parser.add_argument("numbers", nargs="*", type=int, help="of the cases; all without")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
