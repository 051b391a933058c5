"""Where a gap goes on, and when it ends."""

from __future__ import annotations

from pingboard.matrix.gaps import _advance, events_since
from pingboard.matrix.session import Page
from pingboard.model import Gap

GAP = Gap("!room", "t5", "s1", None, 1_000)
NEW: list[dict[str, object]] = [{"origin_server_ts": 900}]


def advance(page: Page, gap: Gap = GAP, before: set[str] | None = None) -> Gap:
    return _advance(gap, page, {gap.position} if before is None else before, 2)


def test_a_page_leads_to_the_next() -> None:
    gap = advance(Page(NEW, "t4"))
    assert (gap.position, gap.pongs, gap.closed_ts, gap.fault) == ("t4", 2, None, None)


def test_a_page_may_be_empty_and_lead_on() -> None:
    assert advance(Page([], "t4")).closed_ts is None


def test_a_page_without_an_end_is_the_last() -> None:
    gap = advance(Page(NEW, None))
    assert gap.closed_ts is not None
    assert gap.fault is None


def test_the_token_where_the_gap_ends_is_the_last() -> None:
    assert advance(Page(NEW, "s1")).closed_ts is not None


def test_a_circle_is_left_and_named() -> None:
    before = {"t5"}
    gap = advance(Page(NEW, "t4"), before=before)
    gap = advance(Page(NEW, "t5"), gap, before)
    assert gap.closed_ts is not None
    assert gap.fault == "our homeserver leads in a circle"


def test_history_ends_where_most_of_a_page_is_older_than_wanted() -> None:
    bounded = Gap("!room", "t5", None, 500, 1_000)
    old, new, broken = {"origin_server_ts": 1}, NEW[0], {"origin_server_ts": "then"}
    assert advance(Page([new, new, old], "t4"), bounded).closed_ts is None
    assert advance(Page([new, old, broken], "t4"), bounded).closed_ts is not None
    assert events_since([new, old], 500) == [new]
