"""Rows -> a picture: each figure's ratio as a share of its target, on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape

from bench.report import Row

LABELS, AXIS, LINE = 560, 380, 20
LEAST, MOST = 0.01, 10.0
COLOURS = {"met": "#1a7f37", "missed": "#bc4c00", "WRONG": "#cf222e"}


def render_plot(sections: Iterable[tuple[str, Iterable[Row]]]) -> str:
    """An SVG; left of the line at 1 is better than the target."""
    parts: list[str] = []
    y = 2 * LINE
    for title, rows in sections:
        y += LINE
        parts.append(f'<text x="8" y="{y}" font-weight="bold">{escape(title)}</text>')
        for row in rows:
            y += LINE
            parts.append(_render_row(row, y))
    height = y + LINE
    ticks = "".join(_render_tick(tick, height) for tick in (0.01, 0.1, 1.0, 10.0))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABELS + AXIS + 40}" height="{height}" '
        'font-family="sans-serif" font-size="12">\n'
        '<rect width="100%" height="100%" fill="#fff"/>\n'
        f"{ticks}\n{chr(10).join(parts)}\n</svg>\n"
    )


def _render_tick(value: float, height: int) -> str:
    x, width = _place(value), 2 if value == 1 else 1
    label = "target" if value == 1 else f"{value:g} x"
    return (
        f'<line x1="{x}" x2="{x}" y1="{LINE + 6}" y2="{height}" stroke="#8c959f" '
        f'stroke-width="{width}"/><text x="{x}" y="{LINE}" text-anchor="middle">{label}</text>'
    )


def _render_row(row: Row, y: int) -> str:
    colour = COLOURS[row.verdict]
    least, middle, most = (_place(one / row.target) for one in (row.least, row.ratio, row.most))
    return (
        f'<text x="20" y="{y}">{escape(row.name)}</text>'
        f'<line x1="{least}" x2="{most}" y1="{y - 4}" y2="{y - 4}" stroke="{colour}" '
        f'stroke-width="2"/><circle cx="{middle}" cy="{y - 4}" r="4" fill="{colour}"/>'
    )


def _place(ratio: float) -> float:
    """Where a ratio stands; what is beyond the axis stands at its end."""
    share = math.log(min(max(ratio, LEAST), MOST) / LEAST) / math.log(MOST / LEAST)
    return round(LABELS + 20 + share * AXIS, 1)
