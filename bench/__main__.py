"""Measure all groups, print the results, and with `--write` keep them as documentation.

Exits with 1 where a result is wrong. A missed target is only printed: a busy machine misses too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from bench import (
    answers,
    ingest,
    latency,
    listeners,
    live,
    machine,
    ranking,
    receive,
    scale,
    store,
    warm,
    year,
)
from bench.pairs import Size, measure
from bench.plot import render_plot
from bench.report import (
    HEAD,
    Row,
    Section,
    keep,
    name_of,
    render_document,
    render_machine,
    to_row,
)

GROUPS = [ranking, warm, store, scale, year, live, answers, ingest, latency, listeners, receive]
NAMES = [name_of(group) for group in GROUPS]
DOCUMENT = Path("docs/performance.md")
PLOT = Path("docs/performance.svg")


def main() -> int:
    """Run the command line's benchmarks; the exit status."""
    options = _parse_arguments()
    sections = {}
    for group in GROUPS:
        if name_of(group) in options.only:
            conditions = machine.describe()
            print(render_machine(conditions), HEAD, sep="\n", end="", flush=True)
            rows = [*_measure(group.pairs(options.quick))]
            sections[name_of(group)] = Section(conditions, rows)
            if options.write:
                _write(sections)
    return int(any(row.differences for section in sections.values() for row in section.rows))


def _measure(figures: Iterator[object]) -> Iterator[Row]:
    for figure in figures:
        row = to_row(figure if isinstance(figure, Size) else measure(figure))  # type: ignore[arg-type]
        print(row, end="", flush=True)
        yield row


def _write(sections: dict[str, Section]) -> None:
    kept = keep(sections)
    known = [group for group in GROUPS if name_of(group) in kept]
    titles = [((one.__doc__ or "").partition("\n")[0], kept[name_of(one)].rows) for one in known]
    DOCUMENT.write_text(render_document(known, kept), encoding="utf-8")
    PLOT.write_text(render_plot(titles), encoding="utf-8")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer samples")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=NAMES,
        default=NAMES,
        metavar="GROUP",
        help=f"some of: {', '.join(NAMES)}",
    )
    parser.add_argument(
        "--write", action="store_true", help=f"keep the results, in {DOCUMENT} and {PLOT} too"
    )
    options = parser.parse_args()
    if options.quick and options.write:
        parser.error("what is kept is measured whole: leave out --quick or --write")
    return options


if __name__ == "__main__":
    sys.exit(main())
