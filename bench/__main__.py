"""Measure all groups, print the results, and with `--write` keep them as documentation.

Exits with 1 where a result is wrong. A missed target is only printed: a busy machine misses too.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench import live, machine, ranking, receive, store, year
from bench.pairs import Pair, Size, measure
from bench.report import HEAD, render_document, render_machine, render_row, render_size

GROUPS = [ranking, store, year, live, receive]


def main() -> int:
    """Run the command line's benchmarks; the exit status."""
    options = _parse_arguments()
    repeats = 7
    conditions = render_machine(machine.describe())
    print(conditions)
    groups = []
    wrong = False
    for group in GROUPS:
        print(HEAD, end="", flush=True)
        rows = []
        for figure in group.pairs(options.quick):
            row, is_wrong = _measure(figure, repeats)
            print(row, end="", flush=True)
            rows.append(row)
            wrong |= is_wrong
        groups.append((group.__doc__ or "", HEAD + "".join(rows)))
    if options.write:
        document = render_document(conditions, groups, repeats)
        options.write.parent.mkdir(exist_ok=True)
        options.write.write_text(document, encoding="utf-8")
    return int(wrong)


def _measure(figure: Pair | Size, repeats: int) -> tuple[str, bool]:
    """The row of a figure, and whether a result was wrong."""
    if isinstance(figure, Size):
        return render_size(figure), False
    result = measure(figure, repeats)
    return render_row(result), bool(result.differences)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer samples and repeats")
    parser.add_argument(
        "--write",
        nargs="?",
        type=Path,
        const=Path("docs/performance.md"),
        metavar="FILE",
        help="write the results as Markdown too (%(const)s)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
