"""What a first look at the board costs: bytes, because seconds differ from machine to machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.async_api import Browser, expect

from tests.browser.conftest import origin_of
from tests.browser.data import make_crowd
from tests.browser.tabs import MAX_BYTES, open_tab, weigh
from tests.web.site import serve


@pytest.fixture(scope="module")
def thousands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A site with 5,000 homeservers."""
    engine = make_crowd(tmp_path_factory.mktemp("thousands"), 5000, pings=2)
    with serve(engine) as client:
        yield origin_of(client)
    engine.dispose()


@pytest.mark.parametrize("site", ["crowd", "thousands"])
async def test_a_first_look_loads_less_than_60_kb(
    browser: Browser, request: pytest.FixtureRequest, site: str
) -> None:
    async with open_tab(browser, request.getfixturevalue(site)) as tab:
        received = await weigh(tab)
        await tab.goto("/")
        await expect(tab.locator("#live .state")).to_have_text("Live")
        assert await tab.locator("#board tbody tr").count() == 50
    # The page, its style, its two scripts, its icon (and that again for the tab).
    assert len(received) >= 5
    assert 10_000 < sum(received.values()) < MAX_BYTES


async def test_thousands_of_rows_are_sorted_by_loading_them_anew(
    browser: Browser, thousands: str
) -> None:
    async with open_tab(browser, thousands) as tab:
        await tab.goto("/?limit=1100")
        await tab.evaluate("window.stays = true")
        await tab.get_by_role("button", name="Rank").click()
        await expect(tab.locator("#board tbody tr .rank").first).to_have_text("5000")
        await expect(tab.locator("#board tbody tr")).to_have_count(1100)
        assert await tab.evaluate("window.stays === undefined")
        assert tab.url.endswith("/?limit=1100&q=&sort=-rank")
