"""The board inside of another site: there where that is allowed, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.async_api import Browser, expect
from starlette.responses import HTMLResponse
from starlette.types import Receive, Scope, Send

from pingboard.web.server import Server, listen
from tests.browser.conftest import origin_of
from tests.web.site import make_answers, open_store, record, serve


@contextmanager
def other_site() -> Iterator[tuple[str, dict[str, str]]]:
    """A site of somebody else: its origin, and what its one page has in a frame (`src`)."""
    frame: dict[str, str] = {}

    async def show(scope: Scope, receive: Receive, send: Send) -> None:
        page = f"<!doctype html><title>blog</title><iframe src='{frame['src']}'></iframe>"
        await HTMLResponse(page)(scope, receive, send)

    server = Server(show, listen("127.0.0.1", 0))
    server.start()
    try:
        yield server.url.rstrip("/"), frame
    finally:
        server.stop()


async def test_a_site_that_is_named_can_show_the_board_and_another_can_not(
    browser: Browser, tmp_path: Path
) -> None:
    engine = open_store(tmp_path)
    record(engine, make_answers("one.example", [400]))
    with (
        other_site() as (friend, in_friend),
        other_site() as (stranger, in_stranger),
        serve(engine, embed_origins=[friend]) as client,
    ):
        in_friend["src"] = in_stranger["src"] = f"{origin_of(client)}/embed"
        tab = await browser.new_page()
        tab.set_default_timeout(120_000)
        refusals: list[str] = []
        tab.on("console", lambda message: refusals.append(message.text))
        await tab.goto(friend)
        await expect(tab.frame_locator("iframe").locator("#board bdi")).to_have_text("one.example")
        assert refusals == []
        await tab.goto(stranger)
        await expect(tab.frame_locator("iframe").locator("#board")).to_have_count(0)
        await tab.close()
    engine.dispose()
    assert any("frame-ancestors" in refusal for refusal in refusals)
