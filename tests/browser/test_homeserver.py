"""One homeserver's page where a script betters it: the chart, the snippets; and its image."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.tabs import MAX_BYTES, NARROW, WIDE, open_tab, weigh
from tests.web.site import NOW

PAGE = "/homeservers/asra.example"


async def open_chart(tab: Page, path: str = PAGE) -> tuple[float, float, str]:
    """Visit the page until its chart is there; what it shows."""
    await tab.goto(path)
    await expect(tab.locator(".plot canvas")).to_be_visible()
    return await read_shown(tab)


async def read_shown(tab: Page) -> tuple[float, float, str]:
    """From and to, seconds since the epoch, and the step."""
    shown = await tab.locator("[data-history]").get_attribute("data-shown")
    start, end, step = (shown or "").split()
    return float(start), float(end), step


async def zoom(tab: Page, shown: tuple[float, float, str]) -> tuple[float, float, str]:
    """What the chart shows once that is not what it was."""
    was = f"{shown[0]:.0f} {shown[1]:.0f} {shown[2]}"
    await expect(tab.locator("[data-history]")).not_to_have_attribute("data-shown", was)
    return await read_shown(tab)


async def expect_labels_beside(tab: Page, charts: int) -> None:
    """There are so many drawings, and the latencies of none lie over its curves or off the page."""
    drawn = await tab.locator(".chart.smoke").evaluate_all(
        """charts => charts.map((chart) => {
          const box = (element) => element.getBoundingClientRect();
          const curves = box(chart.querySelector(".plane"));
          const labels = [...chart.querySelectorAll(".grid text")].map(box);
          return labels.length > 1
            && labels.every(({ left, right }) => left >= 0 && right < curves.left);
        })"""
    )
    assert drawn == [True] * charts


async def test_the_chart_takes_the_place_of_the_drawing(tab: Page) -> None:
    start, end, step = await open_chart(tab)
    assert (end - start, end, step) == (7 * 86400, NOW.timestamp(), "6h")
    await expect(tab.locator(".chart.smoke")).to_be_hidden()
    plot = tab.locator(".plot")
    await expect(plot).to_have_accessible_name(re.compile("Arrow keys"))
    await expect(plot).to_have_accessible_description(re.compile("Medians from"))


async def test_the_keyboard_reads_the_chart_bucket_by_bucket(tab: Page) -> None:
    await open_chart(tab)
    reading = tab.locator(".reading")
    await tab.locator(".plot").focus()
    await tab.keyboard.press("End")
    await expect(reading).to_contain_text("11 Oct, 18:00 UTC: median")
    await tab.keyboard.press("ArrowLeft")
    await expect(reading).to_contain_text("11 Oct, 12:00 UTC: median")
    await tab.keyboard.press("Home")
    await expect(reading).to_contain_text("5 Oct, 00:00 UTC: median")
    await tab.keyboard.press("ArrowRight")
    await expect(reading).to_contain_text("5 Oct, 06:00 UTC: median")


async def test_the_keyboard_zooms_to_finer_numbers_and_back(tab: Page) -> None:
    whole = await open_chart(tab)
    await tab.locator(".plot").focus()
    await tab.keyboard.press("+")
    part = await zoom(tab, whole)
    assert part[1] - part[0] == (whole[1] - whole[0]) / 2
    assert part[2] == "1h"
    await expect(tab.locator(".reading")).to_contain_text("each point covers 1\u202fh")
    await tab.keyboard.press("-")
    assert await zoom(tab, part) == whole
    await tab.keyboard.press("+")
    part = await zoom(tab, whole)
    await tab.keyboard.press("0")
    assert await zoom(tab, part) == whole


async def test_the_buttons_stand_at_the_right_of_what_is_read(tab: Page) -> None:
    await open_chart(tab)
    await tab.locator(".plot").focus()
    await tab.keyboard.press("ArrowLeft")
    await expect(tab.locator(".reading")).not_to_be_empty()
    reading, buttons, chart = [
        await tab.locator(part).bounding_box() for part in (".reading", ".zoom", ".plot")
    ]
    assert reading is not None
    assert buttons is not None
    assert chart is not None
    assert reading["x"] + reading["width"] < buttons["x"]
    assert buttons["x"] + buttons["width"] == pytest.approx(chart["x"] + chart["width"], abs=1)
    assert abs(reading["y"] - buttons["y"]) < 10


async def test_the_mouse_zooms_into_what_it_selects(tab: Page) -> None:
    whole = await open_chart(tab)
    await tab.locator(".plot").scroll_into_view_if_needed()
    box = await tab.locator(".plot .u-over").bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    await tab.mouse.move(box["x"] + box["width"] * 0.25, middle)
    await tab.mouse.down()
    await tab.mouse.move(box["x"] + box["width"] * 0.5, middle, steps=4)
    await tab.mouse.up()
    part = await zoom(tab, whole)
    assert part[1] - part[0] == pytest.approx((whole[1] - whole[0]) / 4, rel=0.05)
    await tab.get_by_role("button", name="Zoom out").click()
    assert await zoom(tab, part) != part
    await tab.get_by_role("button", name="Show all").click()
    await expect(tab.locator(".reading")).to_be_empty()


async def test_a_board_has_its_own_chart(tab: Page) -> None:
    *_, step = await open_chart(tab, f"{PAGE}?board=reception")
    history = await tab.request.get(f"/api/v1{PAGE}/history?board=reception&step={step}")
    median_ms = (await history.json())["buckets"][-1]["median_ms"]
    await tab.locator(".plot").focus()
    await tab.keyboard.press("End")
    await expect(tab.locator(".reading")).to_contain_text(f": median {median_ms:,g} ms")


async def test_a_snippet_is_copied(browser: Browser, address: str) -> None:
    async with open_tab(browser, address, permissions=["clipboard-read", "clipboard-write"]) as tab:
        await tab.goto(PAGE)
        (button, *_) = await tab.locator(".snippet button").all()
        await button.click()
        await expect(button).to_have_text("Copied")
        copied = await tab.evaluate("navigator.clipboard.readText()")
    badge = f"{address}/badge/asra.example.svg"
    assert copied == f"[![ping]({badge})]({address}/homeservers/asra.example)"


async def test_without_a_script_the_drawing_and_its_table_stay(
    browser: Browser, address: str
) -> None:
    async with open_tab(browser, address, java_script_enabled=False) as tab:
        await tab.goto(PAGE)
        await expect(tab.locator(".chart.smoke")).to_be_visible()
        await expect_labels_beside(tab, charts=1)
        await expect(tab.locator(".zoom")).to_be_hidden()
        table = tab.locator(".history details")
        await table.locator("summary").click()
        assert await table.locator("tbody tr").count() > 20


@pytest.mark.parametrize("width", [NARROW, WIDE])
async def test_the_latencies_of_a_comparison_stand_beside_its_bands(
    browser: Browser, address: str, width: int
) -> None:
    async with open_tab(browser, address, width=width, java_script_enabled=False) as tab:
        await tab.goto(f"{PAGE}?with=tor.example")
        await expect_labels_beside(tab, charts=3)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_image_has_the_colours_of_its_viewer(
    browser: Browser, address: str, scheme: str
) -> None:
    async with open_tab(browser, address, color_scheme=scheme) as tab:
        await tab.goto(f"{PAGE}/history.svg")
        fill = await tab.evaluate("getComputedStyle(document.querySelector('.back')).fill")
        await tab.goto(PAGE)
        await tab.evaluate(
            "path => { const image = new Image(); image.src = path; "
            "document.querySelector('main').prepend(image); return image.decode(); }",
            f"{PAGE}/history.svg",
        )
    assert fill == {"light": "rgb(252, 252, 251)", "dark": "rgb(16, 21, 19)"}[scheme]


async def test_the_first_load_is_small(browser: Browser, address: str) -> None:
    async with open_tab(browser, address) as tab:
        received = await weigh(tab)
        await open_chart(tab)
    assert 30_000 < sum(received.values()) < MAX_BYTES
