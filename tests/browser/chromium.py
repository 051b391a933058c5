"""Which browser the pages are looked at with."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from playwright.async_api import Browser, Playwright

COMMANDS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium(playwright: Playwright) -> str | None:
    """The path of what PINGBOARD_TEST_CHROMIUM names, else of a Chromium on the PATH, else of
    Playwright's own; None where there is none."""
    paths = (
        os.environ.get("PINGBOARD_TEST_CHROMIUM"),
        *map(shutil.which, COMMANDS),
        playwright.chromium.executable_path,
    )
    return next((path for path in paths if path and Path(path).exists()), None)


async def launch(playwright: Playwright, path: str, *arguments: str) -> Browser:
    """A browser without a window."""
    # Chromium's sandbox refuses to run as root, as in containers.
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    return await playwright.chromium.launch(
        executable_path=path, args=arguments, chromium_sandbox=not is_root
    )
