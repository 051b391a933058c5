"""A homeserver's change-point as an English sentence, for the room. Pure."""

from __future__ import annotations

from datetime import datetime

from pingboard.model import ChangeKind

MIN_TWICE, MAX_TWICE = 1.85, 2.15
"""Ratios that are called twice."""


def describe_change(kind: ChangeKind, at: datetime, ratio: float) -> str:
    """Say what happened and when, such as "twice as slow since 26 Nov, 18:00 UTC"."""
    since = f"since {at.day} {at:%b, %H:%M} UTC"
    match kind:
        case ChangeKind.SILENT:
            return f"silent {since}"
        case ChangeKind.BACK:
            return f"back {since}"
        case ChangeKind.SLOWER:
            return f"{_describe_factor(ratio, 'slow', ratio - 1)} {since}"
        case ChangeKind.FASTER:
            return f"{_describe_factor(1 / ratio, 'fast', 1 - ratio)} {since}"


def _describe_factor(factor: float, adjective: str, share: float) -> str:
    if factor > MAX_TWICE:
        return f"{factor:.1f} times as {adjective}"
    if factor >= MIN_TWICE:
        return f"twice as {adjective}"
    return f"{share:.0%} {adjective}er"
