"""Results -> rows -> Markdown. Rows are kept between runs, so that one section can be run again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from types import ModuleType

from bench.pairs import TURNS, Result, Size

REPORT = Path(__file__).with_name("report.md")
RESULTS = Path(__file__).with_name("results.json")
BOUNDS = Path(__file__).with_name("bounds.md")

HEAD = """\
| ours / theirs | ours | theirs | ratio, median (min to max) | target | differences | verdict |
|:---|---:|---:|:---:|:---:|:---:|:---:|
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure as it is shown."""

    name: str
    ours: str
    theirs: str
    ratio: float
    least: float
    most: float
    target: float
    differences: int | None
    verdict: str

    def __str__(self) -> str:
        """Its row in the table under `HEAD`."""
        spread = f" ({self.least:.3g} to {self.most:.3g})" if self.least != self.most else ""
        cells = [
            self.name,
            self.ours,
            self.theirs,
            f"{self.ratio:.3g}{spread}",
            f"at most {self.target:.3g}",
            "" if self.differences is None else str(self.differences),
            self.verdict,
        ]
        return f"| {' | '.join(cells)} |\n"


@dataclass(frozen=True, slots=True)
class Section:
    """What one run of a group measured."""

    conditions: Mapping[str, str]
    rows: Iterable[Row]


def to_row(result: Result | Size) -> Row:
    """A figure; times are the medians."""
    if isinstance(result, Size):
        ratio = result.ours / result.theirs
        verdict = "met" if ratio <= result.target else "missed"
        ours, theirs = f"{result.ours:.4g}", f"{result.theirs:.4g}"
        return Row(result.name, ours, theirs, ratio, ratio, ratio, result.target, None, verdict)
    ratios = result.ratios
    return Row(
        result.pair.name,
        _render_time(median(result.ours_s)),
        _render_time(median(result.theirs_s)),
        median(ratios),
        min(ratios),
        max(ratios),
        result.pair.target,
        result.differences,
        result.verdict,
    )


def keep(sections: Mapping[str, Section], path: Path = RESULTS) -> dict[str, Section]:
    """Put these sections in the place of their older ones; all that there are."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name, section in sections.items():
        rows = [asdict(row) for row in section.rows]
        kept[name] = {"conditions": dict(section.conditions), "rows": rows}
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return {
        name: Section(each["conditions"], [Row(**row) for row in each["rows"]])
        for name, each in kept.items()
    }


def render_machine(conditions: Mapping[str, str]) -> str:
    """A list item for each condition."""
    return "".join(f"- {name}: {value}\n" for name, value in conditions.items())


def render_report(groups: Iterable[ModuleType], sections: Mapping[str, Section]) -> str:
    """Return the whole report, a section a group."""
    parts = [
        f"""\
# What was measured

`make bench ARGS=--write` writes this page; with `--only` it measures some sections anew. Each
figure is a pair measured in turn within one run, mostly {TURNS} times each, and its ratio is that
of neighbours in time: trust the ratios, the times depend on the machine.
"""
    ]
    before = None
    for group in groups:
        section = sections.get(name_of(group))
        if section is None:
            continue
        parts.append(f"## {(group.__doc__ or '').strip()}\n")
        lasting = {name: value for name, value in section.conditions.items() if "load" not in name}
        if lasting != before:
            parts.append(render_machine(section.conditions))
        else:
            parts.append(f"- load average: {section.conditions['load average']}\n")
        parts.append(HEAD + "".join(map(str, section.rows)))
        before = lasting
    return "\n".join([*parts, BOUNDS.read_text(encoding="utf-8")])


def name_of(group: ModuleType) -> str:
    """A group's name, as `--only` takes it."""
    return group.__name__.rpartition(".")[2]


def _render_time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} us"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.2f} ms"
