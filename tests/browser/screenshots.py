"""Takes the pictures of the pages in docs/screenshots: `make screenshots`.

Always of the same data and at the same address, so that a picture changes when a page does.
"""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.async_api import Browser, async_playwright

from tests.browser.chromium import find_chromium, launch
from tests.browser.data import make_site
from tests.browser.pages import PAGES, SHOTS
from tests.browser.tabs import NARROW, WIDE
from tests.web.site import serve

FOLDER = Path("docs/screenshots")
SITE = "http://pings.example"
COLOURS = 64
"""Of a picture: the pages have few, and so it takes a third of the bytes."""


async def take_all() -> None:
    """Every page of SHOTS, narrow and wide, light and dark."""
    with tempfile.TemporaryDirectory() as folder:
        engine = make_site(Path(folder))
        with serve(engine, embed_origins=["https://blog.example"]) as client:
            port = client.base_url.port
            rule = f"MAP pings.example:80 127.0.0.1:{port}"
            async with async_playwright() as playwright:
                path = find_chromium(playwright)
                if path is None:
                    sys.exit("no Chromium found; apt-get install chromium")
                browser = await launch(playwright, path, f"--host-resolver-rules={rule}")
                for name in SHOTS:
                    await take(browser, name)
                await browser.close()
        engine.dispose()


async def take(browser: Browser, name: str) -> None:
    """One page in four pictures."""
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for width in (NARROW, WIDE):
        for scheme in schemes:
            context = await browser.new_context(
                base_url=SITE,
                viewport={"width": width, "height": 800},
                color_scheme=scheme,
                locale="en-GB",
                reduced_motion="reduce",
            )
            tab = await context.new_page()
            await tab.goto(PAGES[name].path)
            await tab.wait_for_timeout(500)  # charts are drawn, the board is connected
            png = await tab.screenshot(full_page=True)
            (FOLDER / f"{name}-{width}-{scheme}.webp").write_bytes(compress(png))
            await context.close()


def compress(png: bytes) -> bytes:
    """The picture in WebP with few colours; without loss else, so that text stays sharp."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    small = picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    out = io.BytesIO()
    small.convert("RGB").save(out, "WEBP", lossless=True, quality=90, method=6)
    return out.getvalue()


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.webp"):
        old.unlink()
    asyncio.run(take_all())
