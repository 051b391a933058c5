"""The chapters: importing them fills the table of cases."""

from __future__ import annotations

from faults.case import CASES, Case
from faults.chapters import (
    abuse,
    clocks,
    drill,
    failover,
    history,
    homeserver,
    http,
    measuring,
    network,
    starts,
    storage,
    strings,
    tokens,
    unreal,
    upkeep,
)

CHAPTERS = (
    homeserver,
    network,
    tokens,
    starts,
    measuring,
    history,
    storage,
    upkeep,
    failover,
    drill,
    clocks,
    abuse,
    strings,
    unreal,
    http,
)


def cases() -> list[Case]:
    """All of them, by number."""
    return sorted(CASES, key=lambda case: case.number)
