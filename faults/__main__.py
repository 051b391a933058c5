"""Run the cases, print a row for each; exit code 1 where one failed."""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import timedelta

from faults import chapters, report
from faults.case import Case
from faults.run import play_all
from faults.stage import Stage
from pingboard.model import parse_duration


def main() -> int:
    """Run the cases of the command line; the exit status."""
    options = _parse_arguments()
    cases = [
        case
        for case in chapters.cases()
        if (not options.numbers or case.number in options.numbers)
        and (case.short or not options.short)
    ]
    print(report.HEAD, flush=True)
    failed = asyncio.run(_play_all(cases, options))
    print(f"\n{len(cases) - failed} of {len(cases)} cases passed")
    return int(failed > 0)


async def _play_all(cases: list[Case], options: argparse.Namespace) -> int:
    failed = 0
    async with Stage(
        short=options.short, patience=options.patience, asleep=options.asleep
    ) as stage:
        async for outcome in play_all(stage, cases, options.at_once):
            failed += bool(outcome.fault)
            row = report.row(outcome, short=options.short)
            print(row, flush=True)
            if options.write:
                # At once: a long run may not come to its end.
                order = map(report.name_of, chapters.cases())
                text = report.merged(report.FILE.read_text(), [row], order)
                report.FILE.write_text(text)
    return failed


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--short", action="store_true", help="the cases that take seconds, so")
    parser.add_argument("--at-once", type=int, default=1, help="how many (figures suffer)")
    parser.add_argument(
        "--patience", type=float, default=1.0, help="widens bounds of time on a busy machine"
    )
    parser.add_argument(
        "--asleep", type=_parse_duration, default="10m", help="how long case 34 sleeps, such as 6h"
    )
    parser.add_argument(
        "--write", action="store_true", help="write the rows to faults/REPORT.md too"
    )
    parser.add_argument("numbers", nargs="*", type=int, help="of the cases; all without")
    return parser.parse_args()


def _parse_duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
