"""The matrix in a browser: the keyboard, what it says, and how fast it is."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
from PIL import Image
from playwright.async_api import Browser, Locator, Page, expect

from tests.browser.conftest import origin_of
from tests.browser.tabs import MAX_BYTES, NARROW, open_tab, weigh
from tests.web.site import make_each_pair, open_store, record, serve


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a site with a hundred homeservers is served, each of which pings each."""
    engine = open_store(tmp_path_factory.mktemp("matrix"))
    record(engine, make_each_pair(100))
    with serve(engine) as client:
        yield origin_of(client)
    engine.dispose()


async def focused(tab: Page) -> list[str]:
    """Row, column and content of the cell that has the focus."""
    pair: list[str] = await tab.evaluate(
        """() => { const cell = document.activeElement, row = cell.parentNode;
        const head = row.closest("table").tHead.rows[0].cells[cell.cellIndex];
        return [row.cells[0].textContent, head.textContent, cell.textContent]
          .map((text) => text.trim()); }"""
    )
    return pair


async def test_the_keyboard_moves_cell_by_cell(browser: Browser, crowd: str) -> None:
    async with open_tab(browser, crowd) as tab:
        await tab.goto("/matrix")
        first = tab.locator(".heat tbody td").first
        await first.focus()
        await tab.keyboard.press("ArrowRight")
        row, column, content = await focused(tab)
        assert (row, column) == ("matrix.hs000.example", "matrix.hs001.example")
        assert content == "80 ms · 1×"
        await tab.keyboard.press("ArrowDown")
        assert (await focused(tab))[0] == "matrix.hs001.example"
        for key, place in {
            "End": ("001", "099"),
            "Control+End": ("099", "099"),
            "ArrowRight": ("099", "099"),
            "PageUp": ("089", "099"),
            "Home": ("089", "000"),
            "Control+Home": ("000", "000"),
            "ArrowUp": ("000", "000"),
        }.items():
            await tab.keyboard.press(key)
            names = (await focused(tab))[:2]
            assert names == [f"matrix.hs{number}.example" for number in place], key


async def test_the_grid_is_one_stop_and_its_reading_leads_on(browser: Browser, crowd: str) -> None:
    async with open_tab(browser, crowd) as tab:
        await tab.goto("/matrix")
        assert await tab.locator(".heat [tabindex='0']").count() == 2
        await tab.locator(".field").focus()
        await tab.keyboard.press("Tab")
        await tab.keyboard.press("ArrowRight")
        reading = tab.locator(".reading")
        await expect(reading).to_have_text(
            "matrix.hs000.example → matrix.hs001.example: 80 ms · 1×"
        )
        await tab.keyboard.press("Tab")
        await tab.keyboard.press("Enter")
        await expect(tab).to_have_url(f"{crowd}/homeservers/matrix.hs000.example")


async def test_a_screen_reader_gets_a_grid_with_heads(browser: Browser, crowd: str) -> None:
    async with open_tab(browser, crowd) as tab:
        await tab.goto("/matrix")
        grid = tab.get_by_role("grid")
        assert await grid.get_by_role("columnheader").count() == 100
        assert await grid.get_by_role("rowheader").count() == 100
        cell = grid.get_by_role("gridcell", name="80 ms · 1×").first
        await expect(cell).to_be_attached()


async def test_a_cell_says_its_number_when_one_points_at_it(browser: Browser, crowd: str) -> None:
    async with open_tab(browser, crowd) as tab:
        await tab.goto("/matrix")
        cell = tab.locator(".heat tbody tr").nth(4).locator("td").nth(7)
        words = cell.locator("i")
        before = await words.bounding_box()
        await cell.hover()
        after = await words.bounding_box()
        assert before is not None
        assert after is not None
        assert before["width"] <= 1 < after["width"]
        await expect(tab.locator(".reading")).to_have_text(
            "matrix.hs004.example → matrix.hs007.example: 276 ms · 1×"
        )


async def test_the_matrix_scrolls_inside_and_its_names_stay(browser: Browser, crowd: str) -> None:
    async with open_tab(browser, crowd, width=NARROW) as tab:
        await tab.goto("/matrix")
        assert await tab.evaluate("document.documentElement.scrollWidth") <= NARROW
        await tab.locator(".heat tbody td").first.focus()
        await tab.keyboard.press("Control+End")
        name = await tab.locator(".heat tbody th").last.bounding_box()
        cell = await tab.locator(".heat tbody td").last.bounding_box()
        field = await tab.locator(".field").bounding_box()
        assert name is not None
        assert cell is not None
        assert field is not None
        assert field["x"] <= name["x"] + 1
        assert name["x"] + name["width"] <= cell["x"] + 1
        assert cell["x"] + cell["width"] <= field["x"] + field["width"] + 1


async def test_the_matrix_fades_at_its_edges_as_long_as_it_goes_on(
    browser: Browser, crowd: str
) -> None:
    async with open_tab(browser, crowd, width=NARROW) as tab:
        await tab.goto("/matrix")
        paper = await colour_of(tab.locator("body"))
        field = Image.open(io.BytesIO(await tab.locator(".field").screenshot())).convert("RGB")
        right, bottom = field.width - 1, field.height - 1
        assert math.dist(pixel_of(field, right, bottom // 2), paper) < 25
        assert math.dist(pixel_of(field, right // 2, bottom), paper) < 25
        last = tab.locator(".heat tbody tr:nth-child(98) td").last
        await tab.locator(".field").evaluate("field => field.scrollTo(1e5, 1e5)")
        cell = Image.open(io.BytesIO(await last.screenshot())).convert("RGB")
        assert pixel_of(cell, cell.width // 2, cell.height // 2) == await colour_of(last)


def pixel_of(picture: Image.Image, x: int, y: int) -> tuple[int, ...]:
    return tuple(picture.crop((x, y, x + 1, y + 1)).tobytes())


async def colour_of(part: Locator) -> tuple[int, ...]:
    colour = await part.evaluate("one => getComputedStyle(one).backgroundColor")
    return tuple(map(int, re.findall(r"\d+", colour)))


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_slower_is_farther_from_the_paper(browser: Browser, crowd: str, scheme: str) -> None:
    async with open_tab(browser, crowd, color_scheme=scheme) as tab:
        await tab.goto("/matrix")
        colours: list[list[float]] = await tab.evaluate(
            """() => [document.body, ...document.querySelectorAll(".scale i")].map((one) =>
            getComputedStyle(one).backgroundColor.match(/[\\d.]+/g).slice(0, 3).map(Number))"""
        )
    paper, *levels = (_luminance(colour) for colour in colours)
    distances = [abs(level - paper) for level in levels]
    assert len(levels) == 9
    assert distances == sorted(distances)
    # Even steps of lightness: the cube root of luminance is near to what one sees.
    steps = [abs(b ** (1 / 3) - a ** (1 / 3)) for a, b in pairwise(levels)]
    assert max(steps) / min(steps) < 1.6


async def test_the_first_load_is_small_also_of_a_hundred_by_a_hundred(
    browser: Browser, crowd: str
) -> None:
    async with open_tab(browser, crowd) as tab:
        received = await weigh(tab)
        await tab.goto("/matrix")
        await expect(tab.locator(".reading a").first).to_be_visible()
    assert 20_000 < sum(received.values()) < MAX_BYTES


def _luminance(colour: list[float]) -> float:
    shares = [channel / 255 for channel in colour]
    linear = [
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
