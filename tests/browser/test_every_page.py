"""What holds on every page."""

from __future__ import annotations

import json

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Browser, Page, Route

from tests.browser.pages import PAGES, PageOfOurs
from tests.browser.tabs import WIDE, list_wide, open_tab

EVERY_PAGE = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES.keys())

FOCUSABLE = "a[href], button, input, select, textarea, summary, [tabindex='0']"

LIST_FOCUSABLE = """(selector) => [...document.querySelectorAll(selector)]
  .filter((element) => element.checkVisibility() && !element.disabled && element.type !== "hidden")
  .map((element, number) => {
    element.dataset.number = number;
    return element.outerHTML.slice(0, 90);
  })"""

SHOW_FOCUSED = """() => {
  const focused = document.activeElement, style = getComputedStyle(focused);
  const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  return [Number(focused.dataset.number ?? -1), seen];
}"""


@EVERY_PAGE
async def test_a_page_fits_every_width_a_keyboard_reaches_all_of_it_and_axe_finds_nothing(
    browser: Browser, address: str, page: PageOfOurs
) -> None:
    async with open_tab(browser, address, status=page.status) as tab:
        # Once connected a board replaces its rows, and what is walked through has to stand still.
        await tab.route("**/api/v1/live*", leave_unanswered)
        await visit(tab, page)
        assert await list_wide(tab) == []
        await expect_reachable(tab)
        await tab.set_viewport_size({"width": WIDE, "height": 800})
        await tab.evaluate(AXE_SCRIPT)
        light = await tab.evaluate("axe.run({resultTypes: ['violations']})")
        await tab.emulate_media(color_scheme="dark")
        # In the dark only colours can be different.
        dark = await tab.evaluate("axe.run({runOnly: ['color-contrast']})")
    for scheme, report in (("light", light), ("dark", dark)):
        violations = {
            rule["id"]: [node["html"] for node in rule["nodes"]][:3]
            for rule in report["violations"]
        }
        assert violations == {}, f"{scheme}: {json.dumps(violations, indent=1)}"
    assert len(light["passes"]) > 10
    assert [rule["id"] for rule in dark["passes"]] == ["color-contrast"]


@EVERY_PAGE
async def test_a_page_says_what_it_has_to_say_without_javascript(
    browser: Browser, address: str, page: PageOfOurs
) -> None:
    async with open_tab(browser, address, status=page.status, java_script_enabled=False) as tab:
        await visit(tab, page)
        assert page.words in await tab.locator("main").inner_text()
        assert await list_wide(tab) == []


async def leave_unanswered(_route: Route) -> None:
    pass


async def expect_reachable(tab: Page) -> None:
    """Whatever can have the focus gets it by the Tab key, and shows it."""
    focusable: list[str] = await tab.evaluate(LIST_FOCUSABLE, FOCUSABLE)
    assert focusable
    unseen = dict(enumerate(focusable))
    for _ in focusable:
        await tab.keyboard.press("Tab")
        number, is_seen = await tab.evaluate(SHOW_FOCUSED)
        assert is_seen, f"no visible focus: {focusable[number]}"
        unseen.pop(number, None)
    assert unseen == {}


async def visit(tab: Page, page: PageOfOurs) -> None:
    """Open it."""
    answer = await tab.goto(page.path)
    assert answer is not None
    assert answer.status == page.status
    await tab.wait_for_selector("[aria-busy=true]", state="detached")
