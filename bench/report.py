"""Results -> Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median

from bench.pairs import Result, Size

HEAD = """\
| ours / theirs | ours | theirs | ratio, median (min to max) | target | differences | verdict |
|:---|---:|---:|:---:|:---:|:---:|:---:|
"""


def render_machine(conditions: Mapping[str, str]) -> str:
    """A list item for each condition."""
    return "".join(f"- {name}: {value}\n" for name, value in conditions.items())


def render_row(result: Result) -> str:
    """A row of the table under `HEAD`; times are the medians."""
    ratios = result.ratios
    cells = [
        result.pair.name,
        _render_time(median(result.ours_s)),
        _render_time(median(result.theirs_s)),
        f"{median(ratios):.3g} ({min(ratios):.3g} to {max(ratios):.3g})",
        f"at most {result.pair.target:.3g}",
        "" if result.differences is None else str(result.differences),
        result.verdict,
    ]
    return f"| {' | '.join(cells)} |\n"


def render_size(size: Size) -> str:
    """A row of the same table for numbers without repeats."""
    ratio = size.ours / size.theirs
    verdict = "met" if ratio <= size.target else "missed"
    cells = [size.name, f"{size.ours:.4g}", f"{size.theirs:.4g}", f"{ratio:.3g}"]
    return f"| {' | '.join([*cells, f'at most {size.target:.3g}', '', verdict])} |\n"


def render_document(machine: str, groups: Iterable[tuple[str, str]], repeats: int) -> str:
    """docs/performance.md from the machine's list and (explanation, table) of each group."""
    sections = "".join(f"\n## {text.strip()}\n\n{table}" for text, table in groups)
    return f"""\
# Performance

Measured by `make bench`; `python -m bench --write` writes such a page. Each figure is a pair
measured in turn within one run, {repeats} times each: trust the ratios, the times depend on the
machine.

{machine}{sections}"""


def _render_time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} us"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.2f} ms"
