"""Measure what pingboard promises, and print it; with `--write` keep it in bench/report.md.

Exits with 1 where a result is wrong. A missed target is only printed: a busy machine misses too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from bench import (
    accuracy,
    answers,
    disk,
    ingest,
    kernel,
    lab_load,
    live,
    machine,
    scale,
    store,
    year,
)
from bench.pairs import Pair, Size, measure
from bench.report import (
    HEAD,
    REPORT,
    Row,
    Section,
    keep,
    name_of,
    render_machine,
    render_report,
    to_row,
)

DURATIONS = {
    accuracy: "3 min",
    lab_load: "9 min",
    kernel: "5 s",
    store: "3 min",
    scale: "5 min",
    disk: "2 min",
    year: "4 min",
    live: "2 min",
    answers: "2 min",
    ingest: "5 s",
}
GROUPS = [*DURATIONS]
NAMES = [name_of(group) for group in GROUPS]


def main() -> int:
    """Run the command line's benchmarks; the exit status."""
    options = _parse_arguments()
    sections = {}
    for group in GROUPS:
        if name_of(group) in options.only:
            conditions = machine.describe()
            print(render_machine(conditions), HEAD, sep="\n", end="", flush=True)
            is_beside = group is accuracy and options.busy
            figures = accuracy.pairs(is_busy=True) if is_beside else group.pairs()
            rows = [*_measure(figures)]
            sections[name_of(group)] = Section(conditions, rows)
            if options.write:
                kept = keep(sections)
                REPORT.write_text(render_report(GROUPS, kept), encoding="utf-8")
    return int(any(row.differences for section in sections.values() for row in section.rows))


def _measure(figures: Iterator[Pair] | Iterator[Size] | Iterator[Pair | Size]) -> Iterator[Row]:
    for figure in figures:
        row = to_row(figure if isinstance(figure, Size) else measure(figure))
        print(row, end="", flush=True)
        yield row


def _parse_arguments() -> argparse.Namespace:
    sections = "".join(
        f"  {name_of(group):<10}{duration:<8}{(group.__doc__ or '').partition(chr(10))[0]}\n"
        for group, duration in DURATIONS.items()
    )
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog=f"sections, and about how long each takes on two cores:\n{sections}\n"
        "one of them: python -m bench --only kernel",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=NAMES,
        default=NAMES,
        metavar="SECTION",
        help="measure these alone",
    )
    parser.add_argument("--write", action="store_true", help="keep the results")
    parser.add_argument(
        "--busy", action="store_true", help="measure accuracy beside two processes that burn CPU"
    )
    options = parser.parse_args()
    if options.busy and options.write:
        parser.error("what is measured with --busy is not kept")
    return options


if __name__ == "__main__":
    sys.exit(main())
