"""What a first look at the board costs: bytes, because seconds differ from machine to machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.browser.conftest import origin_of
from tests.browser.data import make_crowd
from tests.browser.tabs import MOST_BYTES, open_tab, weigh
from tests.web.site import serve


@pytest.mark.parametrize("homeservers", [200, 5000])
async def test_a_first_look_loads_less_than_60_kb(
    browser: Browser, tmp_path: Path, homeservers: int
) -> None:
    engine = make_crowd(tmp_path, homeservers, pings=12 if homeservers < 1000 else 2)
    with serve(engine) as client:
        async with open_tab(browser, origin_of(client)) as tab:
            received = await weigh(tab)
            await tab.goto("/")
            await expect(tab.locator("#live .state")).to_have_text("Live")
            assert await tab.locator("#board tbody tr").count() == 50
    engine.dispose()
    # The page, its style, its two scripts, its icon (and that again for the tab).
    assert len(received) >= 5
    assert 10_000 < sum(received.values()) < MOST_BYTES


async def test_thousands_of_rows_are_sorted_by_loading_them_anew(
    browser: Browser, tmp_path: Path
) -> None:
    engine = make_crowd(tmp_path, 1100, pings=1)
    with serve(engine) as client:
        async with open_tab(browser, origin_of(client)) as tab:
            await tab.goto("/?limit=1100")
            await tab.evaluate("window.stays = true")
            await tab.get_by_role("button", name="Rank").click()
            await expect(tab.locator("#board tbody tr .rank").first).to_have_text("1100")
            await expect(tab.locator("#board tbody tr")).to_have_count(1100)
            assert await tab.evaluate("window.stays === undefined")
            assert tab.url.endswith("/?limit=1100&q=&sort=-rank")
    engine.dispose()
