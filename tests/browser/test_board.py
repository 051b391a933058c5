"""The board in a browser: sorted, searched, copied, and alive."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Route, expect

from pingboard.model import WorkerState, to_ts
from pingboard.store.engine import Engine
from pingboard.store.ingest import Ingest
from pingboard.store.status import record_worker
from pingboard.web.pages import board as board_page
from tests.browser.conftest import origin_of
from tests.browser.data import make_crowd
from tests.browser.tabs import open_tab
from tests.web.site import (
    NOW,
    ROOM,
    make_answers,
    make_each_pair,
    make_editions,
    open_store,
    record,
    serve,
)

COLLECT_PONGS = """() => {
  window.seen = [];
  const source = new EventSource("/api/v1/live");
  source.addEventListener("pong", (event) => window.seen.push(event.lastEventId));
  return new Promise((open) => source.addEventListener("open", () => open()));
}"""
COUNT_PARSED = """() => {
  window.parsed = [];
  const parse = DOMParser.prototype.parseFromString;
  DOMParser.prototype.parseFromString = function (text, type) {
    window.parsed.push(text.length);
    return parse.call(this, text, type);
  };
  const holder = Object.getOwnPropertyDescriptor(Element.prototype, "innerHTML");
  Object.defineProperty(Element.prototype, "innerHTML", { ...holder, set(text) {
    window.parsed.push(text.length);
    holder.set.call(this, text);
  } });
}"""
MAX_PARSED = 400_000
COUNT_CLICKS = """(element) => {
  window.clicks = 0;
  window.addEventListener("click", (event) => {
    event.preventDefault();
    if (element.contains(event.target)) window.clicks += 1;
  });
}"""
LIST_NAMES = "rows => rows.map(row => row.querySelector('bdi').textContent)"


async def names(tab: Page) -> list[str]:
    """The homeservers of the table, from its top."""
    homeservers: list[str] = await tab.locator("#board tbody tr").evaluate_all(LIST_NAMES)
    return homeservers


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Engine]:
    """A database of the test's own: three homeservers, to be written to."""
    engine = open_store(tmp_path)
    record_worker(engine, "main", WorkerState.RUNNING, 0, to_ts(NOW))
    for first, (name, ms) in enumerate([("fast", 200), ("middle", 400), ("slow", 800)]):
        record(engine, make_answers(f"{name}.example", [ms] * (first + 1), first=first * 10))
    yield engine
    engine.dispose()


@pytest.fixture
async def live_tab(browser: Browser, store: Engine) -> AsyncIterator[Page]:
    """A tab on its board, connected."""
    with serve(store) as client:
        async with open_tab(browser, origin_of(client)) as tab:
            await tab.goto("/")
            await expect(tab.locator("#live .state")).to_have_text("Live")
            yield tab


async def test_a_pong_moves_a_row_while_one_looks(live_tab: Page, store: Engine) -> None:
    assert await names(live_tab) == ["fast.example", "middle.example", "slow.example"]
    await live_tab.evaluate("window.stays = document.querySelectorAll('#board tbody tr')[2]")
    record(store, make_answers("slow.example", [100] * 4, first=50))
    first = live_tab.locator("#board tbody tr").first
    await expect(first.locator("bdi")).to_have_text("slow.example")
    await expect(first.locator(".median")).to_contain_text("100")
    await expect(live_tab.locator("#live .heard")).to_contain_text("new pongs: 4")
    await expect(live_tab.locator("#live .ago")).to_contain_text("ago")
    # It is the same row, not a new table.
    assert await live_tab.evaluate("window.stays === document.querySelector('#board tbody tr')")


async def test_more_than_a_thousand_rows_are_live_too(browser: Browser, tmp_path: Path) -> None:
    engine = make_crowd(tmp_path, 1100, pings=1)
    with serve(engine) as client:
        async with open_tab(browser, origin_of(client)) as tab:
            await tab.goto("/?limit=1200")
            await expect(tab.locator("#live .state")).to_have_text("Live")
            await tab.evaluate("window.stays = document.querySelector('#board tbody tr')")
            await tab.evaluate(COUNT_PARSED)
            record(engine, make_answers("new.example", [300]))
            await expect(tab.locator("#board tbody tr")).to_have_count(1101)
            assert await tab.evaluate("window.stays === document.querySelector('#board tbody tr')")
            # Not all at once, which would hold up whoever scrolls.
            assert 0 < await tab.evaluate("Math.max(...window.parsed)") < MAX_PARSED
    engine.dispose()


async def test_the_order_that_was_chosen_stays_while_pongs_come(
    live_tab: Page, store: Engine
) -> None:
    await live_tab.get_by_role("button", name="Samples").click()
    await expect(live_tab.locator("th[aria-sort] button")).to_have_text("Samples")
    assert await names(live_tab) == ["slow.example", "middle.example", "fast.example"]
    assert live_tab.url.endswith("/?sort=-samples")
    record(store, make_answers("fast.example", [210] * 9, first=50))
    await expect(live_tab.locator("#board tbody tr").first).to_contain_text("fast.example")
    assert await names(live_tab) == ["fast.example", "slow.example", "middle.example"]
    assert await live_tab.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    await live_tab.reload()
    assert await names(live_tab) == ["fast.example", "slow.example", "middle.example"]


async def test_reduced_motion_is_honoured(browser: Browser, store: Engine) -> None:
    with serve(store) as client:
        for motion, moves in (("reduce", False), ("no-preference", True)):
            async with open_tab(browser, origin_of(client), reduced_motion=motion) as tab:
                await tab.goto("/")
                await tab.evaluate(
                    """() => { window.moved = 0; const animate = Element.prototype.animate;
                    Element.prototype.animate = function (...a) {
                      window.moved += 1; return animate.apply(this, a); }; }"""
                )
                await tab.get_by_role("button", name="Samples").click()
                await expect(tab.locator("#board tbody tr").first).to_contain_text("slow.example")
                assert bool(await tab.evaluate("window.moved")) is moves


async def test_a_board_that_was_empty_shows_its_first_pong(
    browser: Browser, tmp_path: Path
) -> None:
    engine = open_store(tmp_path)
    record_worker(engine, "main", WorkerState.RUNNING, 0, to_ts(NOW))
    with serve(engine) as client:
        async with open_tab(browser, origin_of(client)) as tab:
            await tab.goto("/")
            await expect(tab.get_by_text("No pongs here yet")).to_be_visible()
            record(engine, make_answers("first.example", [300]))
            await expect(tab.locator("#board bdi")).to_have_text("first.example")
    engine.dispose()


async def test_the_first_round_trip_turns_the_page_to_another_board(
    browser: Browser, tmp_path: Path
) -> None:
    engine = open_store(tmp_path)
    record_worker(engine, "main", WorkerState.RUNNING, 0, to_ts(NOW))
    record(engine, make_each_pair(3))
    with serve(engine) as client:
        async with open_tab(browser, origin_of(client)) as tab:
            await tab.goto("/")
            await expect(tab.locator("#live .state")).to_have_text("Live")
            await expect(tab.locator("h1")).to_have_text("Fastest Matrix homeservers by delivery")
            await expect(tab.locator("#fallback")).to_be_visible()
            record(engine, make_answers("first.example", [300], first=10))
            await expect(tab.locator("#board bdi")).to_have_text(["first.example"])
            await expect_response(tab)
    engine.dispose()


async def expect_response(tab: Page) -> None:
    """All of the page is about the board `response`."""
    title = "Fastest Matrix homeservers"
    await expect(tab.locator("h1")).to_have_text(title)
    await expect(tab.locator("#board")).to_have_attribute("aria-label", title)
    await expect(tab.locator(".meaning")).to_contain_text("the median round trip")
    await expect(tab.locator("#fallback")).to_have_count(0)
    json = tab.locator(".forms").get_by_role("link", name="JSON")
    await expect(json).to_have_attribute("href", "/api/v1/rankings")
    assert (await tab.title()).startswith(f"{title} · ")


async def test_the_last_round_trip_turns_the_page_to_another_board(
    browser: Browser, store: Engine
) -> None:
    now = [NOW]
    record(store, make_each_pair(3))
    with serve(store, clock=lambda: now[0]) as client:
        async with open_tab(browser, origin_of(client)) as tab:
            await tab.goto("/?window=24h")
            await expect(tab.locator("#live .state")).to_have_text("Live")
            await expect(tab.locator("h1")).to_have_text("Fastest Matrix homeservers")
            # The round trips leave the window; the pings of other homeservers are still in it.
            now[0] += timedelta(hours=13)
            record(store, make_answers("fast.example", [300], first=50))
            await expect(tab.locator("#board")).to_contain_text("matrix.hs001.example")
            await expect(tab.locator("h1")).to_have_text("Fastest Matrix homeservers by delivery")
            await expect(tab.locator("#fallback")).to_be_visible()


async def test_what_came_before_the_page_listened_is_shown_all_the_same(
    browser: Browser, store: Engine
) -> None:
    with serve(store) as client:
        async with open_tab(browser, origin_of(client)) as tab:

            async def record_first(route: Route) -> None:
                record(store, make_answers("between.example", [300]))
                await route.continue_()

            await tab.route("**/api/v1/live*", record_first)
            await tab.goto("/")
            await expect(tab.locator("#board")).to_contain_text("between.example")


async def test_a_board_whose_worker_died_stops_calling_itself_live(
    browser: Browser, store: Engine
) -> None:
    now = [NOW]
    with serve(store, clock=lambda: now[0]) as client:
        async with open_tab(browser, origin_of(client)) as tab:
            await tab.clock.install()
            await tab.goto("/")
            await expect(tab.locator("#live .state")).to_have_text("Live")
            now[0] += timedelta(minutes=10)
            await tab.clock.fast_forward(61_000)
            await tab.clock.resume()
            await expect(tab.locator("#stale")).to_contain_text("No new data since 12 Oct 2026")
            await expect(tab.locator("#live")).to_be_hidden()


async def test_a_stale_board_turns_live_when_the_worker_is_back(
    browser: Browser, store: Engine
) -> None:
    later = NOW + timedelta(minutes=10)
    with serve(store, clock=lambda: later) as client:
        async with open_tab(browser, origin_of(client)) as tab:
            await tab.clock.install()
            await tab.goto("/")
            await expect(tab.locator("#stale")).to_be_visible()
            await expect(tab.locator("#live")).to_be_hidden()
            await tab.get_by_role("searchbox").focus()
            # It is heard again, before the first pong comes.
            record_worker(store, "main", WorkerState.RUNNING, 0, to_ts(later))
            await tab.clock.fast_forward(61_000)
            await tab.clock.resume()
            await expect(tab.locator("#live .state")).to_have_text("Live")
            await expect(tab.locator("#stale")).to_have_count(0)
            await expect(tab.get_by_role("searchbox")).to_be_focused()


async def test_a_page_that_waits_for_its_room_becomes_the_board(
    browser: Browser, store: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_page, "REFRESH_S", 1)
    with serve(store, default_room="#late:one.example") as client:
        async with open_tab(browser, origin_of(client)) as tab:
            await tab.goto("/")
            await expect(tab.get_by_text("No room yet")).to_be_visible()
            Ingest(store, "test").record_room(ROOM, "#late:one.example")
            await expect(tab.locator("#board bdi")).to_have_count(3)


async def test_print_keeps_the_heads_and_hides_search_and_choices(tab: Page) -> None:
    await tab.goto("/")
    await tab.emulate_media(media="print")
    await expect(tab.get_by_role("button", name="Median, ms")).to_be_visible()
    await expect(tab.get_by_role("searchbox")).to_be_hidden()
    await expect(tab.locator("#choices")).to_be_hidden()


async def test_no_pong_is_missed_or_doubled_when_the_server_restarts(
    browser: Browser, store: Engine, free_port: int
) -> None:
    with serve(store, port=free_port) as client:
        context = open_tab(browser, origin_of(client), is_cut_off=True)
        tab = await context.__aenter__()
        await tab.goto("/")
        await expect(tab.locator("#live .state")).to_have_text("Live")
        await tab.evaluate(COLLECT_PONGS)
        record(store, make_answers("before.example", [300] * 3, first=100))
        await expect(tab.locator("#live .heard")).to_contain_text("new pongs: 3")
    await expect(tab.locator("#live .state")).to_have_text("Not connected, trying again")
    record(store, make_answers("meanwhile.example", [300] * 5, first=200))
    with serve(store, port=free_port):
        record(store, make_answers("after.example", [300] * 2, first=300))
        await expect(tab.locator("#live .heard")).to_contain_text("new pongs: 10")
        await expect(tab.locator("#board")).to_contain_text("after.example")
        await tab.wait_for_function("window.seen.length >= 10")  # by a connection of its own
        seen = await tab.evaluate("window.seen")
        await context.__aexit__(None, None, None)
    assert len(seen) == len(set(seen)) == 10


async def test_a_search_is_as_quick_as_typing_and_can_be_shared(tab: Page) -> None:
    await tab.goto("/")
    await tab.get_by_role("searchbox").fill("KOESTERS")
    await expect(tab.locator("#board tbody tr")).to_have_count(1)
    assert await names(tab) == ["pc.koesters.example:6167"]
    assert tab.url.endswith("/?q=KOESTERS")
    await expect(tab.locator("#said")).to_have_text("1 homeserver found")
    await expect(tab.get_by_role("link", name="Delivery")).to_have_attribute(
        "href", "/?board=delivery&q=KOESTERS"
    )
    await tab.get_by_role("searchbox").fill("")
    await expect(tab.locator("#board tbody tr")).to_have_count(17)
    await tab.get_by_role("searchbox").fill("nobody")
    await expect(tab.get_by_text("No such homeserver")).to_be_visible()


async def test_all_can_be_shown_of_what_a_search_found(browser: Browser, crowd: str) -> None:
    async with open_tab(browser, crowd) as tab:
        await tab.goto("/?q=homeserver-149")
        await expect(tab.locator("#board tbody tr")).to_have_count(1)
        search = tab.get_by_role("searchbox")
        await search.fill("")
        await expect(tab.get_by_role("link", name="Show all 150")).to_be_visible()
        await search.fill("homeserver-149")
        await expect(tab.locator("#board tbody tr")).to_have_count(1)
        await expect(tab.get_by_role("link", name="Show all")).to_have_count(0)
        await search.fill("homeserver-1")
        await tab.get_by_role("link", name="Show all 61").click()
        await expect(tab.locator("#board tbody tr")).to_have_count(61)


async def test_the_bracket_is_explained_only_where_there_is_one(tab: Page) -> None:
    await tab.goto("/")
    bracket = tab.get_by_text("A bracket beside ranks")
    await expect(bracket).to_be_visible()
    await tab.get_by_role("button", name="Samples").click()
    await expect(tab.locator("th[aria-sort] button")).to_have_text("Samples")
    await expect(bracket).to_have_count(0)
    await tab.get_by_role("button", name="Rank").click()
    await expect(bracket).to_be_visible()


async def test_a_search_goes_along_to_other_rooms_and_languages(tab: Page) -> None:
    await tab.goto("/")
    await tab.locator(".rooms summary").click()
    await tab.get_by_role("searchbox").fill("envs")
    await expect(tab.locator("#board tbody tr")).to_have_count(1)
    await expect(tab.get_by_role("link", name="Deutsch")).to_have_attribute(
        "href", "/?q=envs&lang=de"
    )
    room = tab.get_by_role("link", name="#slow-ping:two.example")
    await expect(room).to_be_visible()
    await expect(room).to_have_attribute("href", re.compile("q=envs"))


async def test_a_search_of_the_board_that_is_shown_instead_asks_for_that_board(
    browser: Browser, tmp_path: Path
) -> None:
    engine = open_store(tmp_path)
    record(engine, make_each_pair(3))
    with serve(engine) as client:
        async with open_tab(browser, origin_of(client)) as tab:
            await tab.goto("/")
            await expect(tab.locator("#fallback")).to_be_visible()
            await tab.get_by_role("searchbox").fill("hs001")
            await expect(tab.locator("#board bdi")).to_have_text(["matrix.hs001.example"])
            assert tab.url.endswith("/?board=delivery&q=hs001")
            await expect(tab.locator("#fallback")).to_have_count(0)
    engine.dispose()


@pytest.mark.parametrize("selector", ["#look button", "#choices a >> nth=1"])
async def test_a_refresh_leaves_the_focus_where_it_is(
    live_tab: Page, store: Engine, selector: str
) -> None:
    await live_tab.get_by_role("searchbox").fill("example")
    await live_tab.locator(selector).focus()
    await expect(live_tab.locator("#summary")).to_contain_text("3 of 3 homeservers")
    await expect(live_tab.locator(selector)).to_be_focused()
    record(store, make_answers("slowest.example", [9000], first=50))
    await expect(live_tab.locator("#board")).to_contain_text("slowest.example")
    await expect(live_tab.locator(selector)).to_be_focused()


@pytest.mark.parametrize("selector", ["#look button", "#board tbody a >> nth=0"])
async def test_a_refresh_loses_no_click(live_tab: Page, store: Engine, selector: str) -> None:
    target = live_tab.locator(selector)
    await target.evaluate(COUNT_CLICKS)
    await target.hover()
    await live_tab.mouse.down()
    # New marks of the scale in the head, and another number in the row.
    record(store, make_answers("slowest.example", [9000], first=50))
    record(store, make_answers("fast.example", [200], first=60))
    await expect(live_tab.locator("#board")).to_contain_text("slowest.example")
    await live_tab.mouse.up()
    assert await live_tab.evaluate("window.clicks") == 1


async def test_what_stands_around_the_table_follows_too(browser: Browser, store: Engine) -> None:
    now = [NOW]
    with serve(store, clock=lambda: now[0]) as client:
        async with open_tab(browser, origin_of(client)) as tab:
            await tab.goto("/")
            await expect(tab.locator("#live .state")).to_have_text("Live")
            await expect(tab.get_by_text("There is no edition yet")).to_be_visible()
            await expect(tab.locator("footer")).to_contain_text("Generated 12 Oct 2026, 00:00")
            now[0] += timedelta(minutes=1)
            later = NOW + timedelta(days=7)
            record_worker(store, "main", WorkerState.RUNNING, 0, to_ts(later))
            make_editions(store, later)
            record(store, make_answers("new.example", [300], first=50))
            await expect(tab.locator("#board")).to_contain_text("new.example")
            await expect(tab.get_by_text("There is no edition yet")).to_have_count(0)
            await expect(tab.locator("footer")).to_contain_text("Generated 12 Oct 2026, 00:01")


async def test_columns_are_sorted_both_ways_and_by_keyboard(tab: Page) -> None:
    await tab.goto("/")
    ranked = await names(tab)
    loss = tab.get_by_role("button", name="Loss")
    await loss.focus()
    await tab.keyboard.press("Enter")
    await expect(tab.locator("#board tbody tr").first).to_contain_text("tor.example")
    await expect(loss).to_be_focused()
    await tab.keyboard.press("Enter")
    await expect(tab.locator("th[aria-sort=ascending] button")).to_have_text("Loss")
    await expect(tab.locator("#board tbody tr").last).to_contain_text("tor.example")
    await tab.get_by_role("button", name="Rank").click()
    await expect(tab.locator("th[aria-sort=ascending] button")).to_have_text("Rank")
    assert await names(tab) == ranked


async def test_sorting_and_searching_need_no_javascript(browser: Browser, address: str) -> None:
    async with open_tab(browser, address, java_script_enabled=False) as tab:
        await tab.goto("/?window=30d")
        await tab.get_by_role("searchbox").fill("e.example")
        await tab.get_by_role("button", name="Find", exact=True).click()
        await tab.get_by_role("button", name="Loss").click()
        assert tab.url.endswith("/?window=30d&q=e.example&sort=-loss")
        assert await tab.locator("th[aria-sort=descending] button").inner_text() == "Loss"
        assert await tab.locator("#board tbody tr").count() == 2


@pytest.mark.parametrize("path", ["/", "/?board=delivery&window=24h&limit=3"])
async def test_the_copy_button_copies_what_the_markdown_address_gives(
    browser: Browser, address: str, path: str
) -> None:
    async with open_tab(browser, address) as tab:
        await tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await tab.goto(path)
        await tab.get_by_role("link", name="Copy table").click()
        await expect(tab.get_by_role("link", name="Copied")).to_be_visible()
        copied = await tab.evaluate("navigator.clipboard.readText()")
        there = (
            await tab.locator(".forms").get_by_role("link", name="Markdown").get_attribute("href")
        )
        given = await (await tab.context.request.get(f"{address}{there}")).text()
    assert copied == given
    assert copied.startswith("|Rank|Hostname|Median MS|\n")


async def test_the_section_of_the_week_is_copied_with_one_click(
    browser: Browser, address: str
) -> None:
    async with open_tab(browser, address) as tab:
        await tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await tab.goto("/")
        await tab.get_by_role("link", name="Copy this week’s section").click()
        await expect(tab.get_by_role("link", name="Copied")).to_be_visible()
        copied = await tab.evaluate("navigator.clipboard.readText()")
        given = await (await tab.context.request.get(f"{address}/section.md?edition=latest")).text()
    assert copied == given


async def test_where_no_section_can_be_copied_one_is_led_to_the_editions(
    browser: Browser, store: Engine
) -> None:
    with serve(store) as client:
        async with open_tab(browser, origin_of(client), status=404) as tab:
            await tab.goto("/")
            await tab.get_by_role("link", name="Copy this week’s section").click()
            await expect(tab.get_by_text("No edition yet")).to_be_visible()


async def test_dark_is_dark_and_light_is_light(browser: Browser, address: str) -> None:
    shades = {}
    for scheme in ("light", "dark"):
        async with open_tab(browser, address, color_scheme=scheme) as tab:
            await tab.goto("/")
            colour = await tab.evaluate("getComputedStyle(document.body).backgroundColor")
            shades[scheme] = sum(map(int, colour.strip("rgb()").split(",")))
    assert shades["dark"] < 100 < 700 < shades["light"]


async def test_the_language_is_the_browsers_and_can_be_switched(
    browser: Browser, address: str
) -> None:
    async with open_tab(browser, address, locale="de-DE") as tab:
        await tab.goto("/?window=24h")
        await expect(tab.locator("h1")).to_have_text("Die schnellsten Matrix-Homeserver")
        await expect(tab.locator("#live .ago")).to_contain_text("vor")
        await tab.get_by_role("link", name="English").click()
        await expect(tab.locator("h1")).to_have_text("Fastest Matrix homeservers")
        await tab.get_by_role("link", name="Method").click()
        await expect(tab.locator("h1")).to_have_text("What is measured, and what is not")
        assert await tab.evaluate("document.documentElement.lang") == "en"


async def test_the_room_can_be_switched_and_the_board_stays(tab: Page) -> None:
    await tab.goto("/?board=reception")
    await tab.locator(".rooms summary").click()
    await tab.get_by_role("link", name="#slow-ping:two.example").click()
    await expect(tab.locator("main .room")).to_have_text("#slow-ping:two.example")
    await expect(tab.locator("h1")).to_have_text("Fastest Matrix homeservers by reception")
    assert len(await names(tab)) == 6
