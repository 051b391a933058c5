"""One browser and one site for all tests of the pages; a tab for each.

The browser is what PINGBOARD_TEST_CHROMIUM names, else a Chromium on the PATH, else Playwright's
own. Without any the tests are skipped, but where CI is set they fail: there nothing is skipped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, Page, Playwright, async_playwright

from tests.browser.data import make_site
from tests.browser.tabs import open_tab
from tests.web.site import serve

COMMANDS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium(playwright: Playwright) -> str:
    """The path of a browser; skips or fails the test where there is none."""
    found = (
        os.environ.get("PINGBOARD_TEST_CHROMIUM"),
        *map(shutil.which, COMMANDS),
        playwright.chromium.executable_path,
    )
    for path in found:
        if path and Path(path).exists():
            return path
    reason = (
        "no Chromium: set PINGBOARD_TEST_CHROMIUM to one, install one (apt-get install chromium), "
        "or run: playwright install chromium"
    )
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A Chromium without a window."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=find_chromium(playwright),
            # Chromium's sandbox refuses to run as root, as in containers.
            chromium_sandbox=hasattr(os, "geteuid") and os.geteuid() != 0,
        )
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the site of `data` is served; nobody writes to it. Without a slash at the end."""
    engine = make_site(tmp_path_factory.mktemp("pages"))
    with serve(engine, embed_origins=["https://blog.example"]) as client:
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
