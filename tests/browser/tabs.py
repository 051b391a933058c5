"""Tabs that watch what happens in them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, ConsoleMessage, Page, Request

NARROW, WIDE = 320, 1280
WIDTHS = (NARROW, 390, 768, WIDE, 1920)
MAX_BYTES = 60_000
"""Of a first look at a page, on the wire, with all that belongs to it."""


@asynccontextmanager
async def open_tab(
    browser: Browser,
    address: str,
    *,
    width: int = WIDE,
    status: int = 200,
    is_cut_off: bool = False,
    **options: Any,
) -> AsyncIterator[Page]:
    """A tab of its own at an address (an origin); `options` are those of a browser context.

    On the way out it asserts that no exception was thrown, that nothing was asked of another site,
    and that its console has no error, but that the page has its `status`, or that the server was
    away for a while where it `is_cut_off`.
    """
    context = await browser.new_context(
        base_url=address,
        viewport={"width": width, "height": 800},
        locale=options.pop("locale", "en-GB"),
        **options,
    )
    context.set_default_timeout(120_000)
    page = await context.new_page()
    faults: list[str] = []
    excused = "Failed to load resource: "
    excused += "net::" if is_cut_off else f"the server responded with a status of {status} "

    def hear(message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(excused):
            faults.append(message.text)

    def watch(request: Request) -> None:
        if not request.url.startswith((f"{address}/", "data:", "blob:")):
            faults.append(f"asked another site: {request.url}")

    page.on("console", hear)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", watch)
    try:
        yield page
        assert not faults, faults
    finally:
        await context.close()


async def list_wide(tab: Page, widths: Sequence[int] = WIDTHS) -> list[int]:
    """Return the widths at which a page scrolls sideways."""
    wide = []
    for width in widths:
        await tab.set_viewport_size({"width": width, "height": 800})
        if await tab.evaluate("document.documentElement.scrollWidth") > width:
            wide.append(width)
    return wide


async def weigh(tab: Page) -> dict[str, int]:
    """What a tab is going to receive: bytes on the wire for each request that ended."""
    received: dict[str, int] = {}
    session = await tab.context.new_cdp_session(tab)
    await session.send("Network.enable")

    def add(event: dict[str, Any]) -> None:
        received[event["requestId"]] = int(event["encodedDataLength"])

    session.on("Network.loadingFinished", add)
    return received
