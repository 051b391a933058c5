"""What the first screen holds, without scrolling: enough rows, and none too high."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, expect

from tests.browser.conftest import HOMESERVERS
from tests.browser.tabs import open_tab

MAX_ROW_PX = 40
SHOWN_ROWS = 50
LIST_ROWS = """rows => rows.map(row => {
  const { height, bottom } = row.getBoundingClientRect();
  return [height, bottom];
})"""
LIST_WRAPPED = """cells => cells.filter(cell => {
  const range = document.createRange();
  range.selectNodeContents(cell.querySelector("bdi"));
  return new Set([...range.getClientRects()].map(box => Math.round(box.top))).size > 1;
}).map(cell => cell.textContent)"""


@pytest.mark.parametrize(
    ("width", "height", "locale", "min_rows"),
    [
        (320, 640, "en-GB", 7),
        (320, 640, "de-DE", 6),
        (390, 844, "en-GB", 10),
        (768, 1024, "en-GB", 16),
        (1280, 800, "en-GB", 12),
        (1920, 1080, "en-GB", 20),
    ],
)
async def test_rows_are_low_and_enough_of_them_are_on_the_first_screen(
    browser: Browser, crowd: str, width: int, height: int, locale: str, min_rows: int
) -> None:
    async with open_tab(browser, crowd, width=width, locale=locale) as tab:
        await tab.set_viewport_size({"width": width, "height": height})
        await tab.goto("/")
        rows = await tab.locator("#board tbody tr").evaluate_all(LIST_ROWS)
        assert len(rows) == SHOWN_ROWS
        assert max(row_height for row_height, _ in rows) <= MAX_ROW_PX
        assert sum(bottom <= height for _, bottom in rows) >= min_rows
        header = await tab.locator("header.top").bounding_box()
        assert header is not None
        assert header["height"] <= 50


async def test_the_head_stays_while_one_scrolls_and_all_can_be_shown(
    browser: Browser, crowd: str
) -> None:
    async with open_tab(browser, crowd) as tab:
        await tab.goto("/")
        await tab.locator("#board tbody tr").nth(40).scroll_into_view_if_needed()
        head = await tab.locator("#board thead th").first.bounding_box()
        assert head is not None
        assert head["y"] == 0
        await tab.get_by_role("link", name="Show all 150").click()
        await expect(tab.locator("#board tbody tr")).to_have_count(HOMESERVERS)


@pytest.mark.parametrize("width", [700, 800, 900])
async def test_names_stay_whole_where_other_columns_have_gone(
    browser: Browser, address: str, width: int
) -> None:
    async with open_tab(browser, address, width=width) as tab:
        await tab.goto("/")
        assert await tab.locator("#board tbody th").evaluate_all(LIST_WRAPPED) == []


@pytest.mark.parametrize("column", ["loss", "samples"])
async def test_the_column_that_rows_are_sorted_by_is_seen_at_any_width(
    browser: Browser, crowd: str, column: str
) -> None:
    async with open_tab(browser, crowd, width=320) as tab:
        await tab.goto(f"/?sort=-{column}")
        await expect(tab.locator(f"#board th.{column}")).to_be_visible()
        await expect(tab.locator(f"#board td.{column}").first).to_be_visible()
        assert await tab.evaluate("document.documentElement.scrollWidth") <= 320
        await tab.goto("/")
        await expect(tab.locator(f"#board th.{column}")).to_be_hidden()
