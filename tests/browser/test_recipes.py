"""The recipe for browsers of /recipes, run as it stands on another site than ours."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.async_api import Browser

from tests.browser.conftest import origin_of
from tests.web.site import EXAMPLE_SAMPLES, make_answers, open_store, record, serve

SITE = "https://pingboard.example"
RECIPES = Path("pingboard/web/pages/recipes.md").read_text(encoding="utf-8")


async def test_the_javascript_recipe_runs_on_any_site(
    browser: Browser, address: str, tmp_path: Path
) -> None:
    (script,) = re.findall(r"^```js\n(.*?)^```", RECIPES, re.MULTILINE | re.DOTALL)
    engine = open_store(tmp_path)
    record(engine, EXAMPLE_SAMPLES)
    said: list[str] = []
    with serve(engine) as client:
        # The other site is another pingboard, without its policy, which allows it to ask nobody.
        page = await browser.new_page(bypass_csp=True)
        page.on("console", lambda message: said.append(message.text))
        await page.goto(f"{address}/method")
        here = script.replace(SITE, origin_of(client))
        await page.evaluate(f"(async () => {{ {here}\nwindow.live = live; }})()")
        await page.wait_for_function("window.live.readyState === EventSource.OPEN")
        async with page.expect_console_message(
            lambda message: message.text == "three.example 700 ms"
        ):
            record(engine, make_answers("three.example", [700], first=9))
        await page.close()
    assert said[:2] == ["1 one.example 403", "2 two.example 512"]
    engine.dispose()
