"""Measure all groups, print the results, and with `--write` keep them as documentation.

Exits with 1 where a result is wrong. A missed target is only printed: a busy machine misses too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from bench import machine, ranking, receive
from bench.pairs import Pair, Result, measure
from bench.report import HEAD, render_document, render_machine, render_row

GROUPS = [ranking, receive]


def main() -> int:
    """Run the command line's benchmarks; the exit status."""
    options = _parse_arguments()
    repeats = 7 if options.quick else 15
    conditions = render_machine(machine.describe())
    print(conditions)
    groups = []
    wrong = False
    for group in GROUPS:
        print(HEAD, end="", flush=True)
        results = _measure_all(group.pairs, options.quick, repeats)
        groups.append((group.__doc__ or "", HEAD + "".join(map(render_row, results))))
        wrong |= any(result.differences for result in results)
    if options.write:
        document = render_document(conditions, groups, repeats)
        options.write.parent.mkdir(exist_ok=True)
        options.write.write_text(document, encoding="utf-8")
    return int(wrong)


def _measure_all(
    pairs: Callable[[bool], Iterable[Pair]], quick: bool, repeats: int
) -> list[Result]:
    results = []
    for pair in pairs(quick):
        results.append(measure(pair, repeats))
        print(render_row(results[-1]), end="", flush=True)
    return results


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
