"""/docs, whose greater part is Swagger UI: what it looks and works like is not ours."""

from __future__ import annotations

from playwright.async_api import Browser, expect

from tests.browser.tabs import list_wide, open_tab

COPIED = "curl -s '{address}/api/v1/rankings?limit=3'"


async def test_the_api_begins_with_lines_to_copy_and_has_a_way_back(
    browser: Browser, address: str
) -> None:
    async with open_tab(browser, address) as tab:
        await tab.goto("/docs")
        await expect(tab.locator("#swagger-ui .opblock").first).to_be_visible()
        commands = tab.locator("main .snippet code")
        await expect(commands).to_have_count(4)
        assert await commands.first.inner_text() == COPIED.format(address=address)
        assert f"read_csv('{address}/api/v1/samples" in await commands.last.inner_text()
        assert await list_wide(tab) == []
        await tab.get_by_role("navigation", name="Site").get_by_role("link", name="Board").click()
        await expect(tab.locator("h1")).to_have_text("Fastest Matrix homeservers")
