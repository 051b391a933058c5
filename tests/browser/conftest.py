"""One browser and one site for all tests of the pages; a tab for each.

Without a Chromium the tests are skipped, but where CI is set they fail: there nothing is skipped.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.browser.chromium import find_chromium, launch
from tests.browser.data import make_crowd, make_site
from tests.browser.tabs import open_tab
from tests.web.site import serve

# A test waits as long as a slow machine needs, and no longer than the page does.
expect.set_options(timeout=40_000)

HOMESERVERS = 150

MISSING = (
    "no Chromium: set PINGBOARD_TEST_CHROMIUM to one, install one (apt-get install chromium), "
    "or run: playwright install chromium"
)


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A Chromium without a window."""
    async with async_playwright() as playwright:
        path = find_chromium(playwright)
        if path is None and os.environ.get("CI"):
            pytest.fail(MISSING)
        if path is None:
            pytest.skip(MISSING)
        browser = await launch(playwright, path)
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the site of `data` is served; nobody writes to it. Without a slash at the end."""
    engine = make_site(tmp_path_factory.mktemp("pages"))
    with serve(engine, embed_origins=["https://blog.example"]) as client:
        yield origin_of(client)
    engine.dispose()


@pytest.fixture(scope="session")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a site with so many HOMESERVERS is served; nobody writes to it."""
    engine = make_crowd(tmp_path_factory.mktemp("crowd"), HOMESERVERS)
    with serve(engine) as client:
        yield origin_of(client)
    engine.dispose()


def origin_of(client: httpx.Client) -> str:
    """Where a client's server is."""
    return str(client.base_url).rstrip("/")


@pytest.fixture
async def tab(browser: Browser, address: str) -> AsyncIterator[Page]:
    """A tab on the site, 1,280 pixels wide, that fails the test on an error in its console."""
    async with open_tab(browser, address) as tab:
        yield tab
