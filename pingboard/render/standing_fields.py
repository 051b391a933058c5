"""A standing in the names that API, CSV and editions have in common."""

from __future__ import annotations

from typing import Any

from pingboard.model import Standing

LOSS_DIGITS = 4
"""Of a loss, a share of 1: a board has some thousand pings of ours."""

_NAMES = {"samples": "sample_count", "sent": "sent_count", "lost": "lost_count"}

FIELDS = tuple(_NAMES.get(name, name) for name in Standing._fields)


def read_standing(described: dict[str, Any]) -> Standing:
    """Return a standing from what `describe_standing` made of it, as an edition keeps it."""
    return Standing(*(described.get(name) for name in FIELDS))  # type: ignore[arg-type]


def describe_standing(standing: Standing) -> dict[str, Any]:
    """Return each field by its name outside; the loss is rounded."""
    described = dict(zip(FIELDS, standing, strict=True))
    if standing.loss is not None:
        described["loss"] = round(standing.loss, LOSS_DIGITS)
    return described
