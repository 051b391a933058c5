"""The pages as a site may be found: new, small, large, without a worker, waiting for its room."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Browser

from pingboard.store.engine import Engine
from pingboard.web.pages import board as board_page
from tests.browser.conftest import origin_of
from tests.browser.data import make_crowd, make_few
from tests.browser.tabs import NARROW, list_wide, open_tab
from tests.databases import open_migrated_file
from tests.web.site import NOW, open_store, serve

PATHS = ("/", "/matrix", "/editions", "/join")


class State(NamedTuple):
    """How a site may be found."""

    make: Callable[[Path], Engine]
    homeserver: str
    words: str
    """what its board says in German"""
    age: timedelta = timedelta()
    """how long ago its worker was heard"""


STATES = {
    "three-homeservers": State(make_few, "hs1.localhost:8441", "Letzte 7 Tage · 3 Homeserver"),
    "a-crowd": State(
        lambda folder: make_crowd(folder, 150), "matrix.homeserver-7.example", "150 zeigen"
    ),
    "stale": State(
        make_few, "hs1.localhost:8441", "Keine neuen Daten seit 12. Okt. 2026", timedelta(hours=3)
    ),
    "empty": State(open_store, "hs1.localhost:8441", "Noch keine Pongs"),
    "no-room": State(
        lambda folder: open_migrated_file(folder / "pingboard.db"),
        "hs1.localhost:8441",
        "kein Worker",
    ),
}


@pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())
async def test_every_page_is_whole_and_readable_in_every_state(
    browser: Browser, tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A page that waits for its room must not reload while it is looked at.
    monkeypatch.setattr(board_page, "REFRESH_S", 3600)
    engine = state.make(tmp_path)
    with serve(engine, clock=lambda: NOW + state.age) as client:
        async with open_tab(
            browser,
            origin_of(client),
            status=404,  # of the page of a homeserver that was never heard
            locale="de-DE",
            color_scheme="dark",
            bypass_csp=True,
        ) as tab:
            await tab.goto("/")
            assert state.words in await tab.locator("main").inner_text()
            for path in (*PATHS, f"/homeservers/{state.homeserver}"):
                await tab.set_viewport_size({"width": NARROW, "height": 640})
                await tab.goto(path)
                await tab.evaluate(AXE_SCRIPT)
                report = await tab.evaluate("axe.run({resultTypes: ['violations']})")
                assert [rule["id"] for rule in report["violations"]] == [], path
                assert await list_wide(tab) == [], path
    engine.dispose()
