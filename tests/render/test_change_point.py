"""A change of a homeserver in words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pingboard.model import ChangeKind
from pingboard.render.change_point import describe_change

AT = datetime(2026, 11, 26, 18, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "ratio", "words"),
    [
        (ChangeKind.SLOWER, 2.05, "twice as slow"),
        (ChangeKind.SLOWER, 3.14, "3.1 times as slow"),
        (ChangeKind.SLOWER, 1.4, "40% slower"),
        (ChangeKind.FASTER, 0.5, "twice as fast"),
        (ChangeKind.FASTER, 0.25, "4.0 times as fast"),
        (ChangeKind.FASTER, 0.7, "30% faster"),
        (ChangeKind.SILENT, 1, "silent"),
        (ChangeKind.BACK, 1, "back"),
    ],
)
def test_a_change_says_what_happened_and_when(kind: ChangeKind, ratio: float, words: str) -> None:
    assert describe_change(kind, AT, ratio) == f"{words} since 26 Nov, 18:00 UTC"
