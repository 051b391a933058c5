"""The page of one homeserver, as it is without a script; how it looks is for tests/browser."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from urllib.parse import parse_qsl, quote, urlsplit
from xml.etree import ElementTree

import httpx
import pytest

from pingboard.model import Batch, BoardName, Rejected, Rejection, Sample, to_ts
from pingboard.store.engine import Engine
from pingboard.store.ingest import Ingest
from pingboard.web.pages.language import LANGUAGES, get_language
from pingboard.web.pages.remedies import REMEDIES
from tests.samples import make_ping, make_pong
from tests.web.site import (
    ALIAS,
    HOSTILE,
    NOW,
    ROOM,
    make_answers,
    make_hourly,
    record,
    serve,
    text_of,
)

PAGE = "/homeservers/two.example"


def delay(samples: list[Sample], ms: int) -> list[Sample]:
    """The same samples with bots that claim as much more."""
    return [
        replace(sample, pong=replace(sample.pong, one_way_ms=sample.pong.one_way_ms + ms))
        for sample in samples
    ]


def forget_send(samples: list[Sample]) -> list[Sample]:
    """The same samples without what tells a clock."""
    return [replace(sample, ping=replace(sample.ping, sent_ts=None)) for sample in samples]


def test_the_page_says_where_the_homeserver_stands(site: httpx.Client) -> None:
    page = text_of(site.get(PAGE))
    assert "#2 of 2 512 ms" in page
    assert "Not on this board No ping from here was answered." in page
    assert "0 of 3 pings unanswered" in page
    assert "There are too few other homeservers to compare with." in page


def test_the_page_says_whose_fault_it_is_when_there_are_others_to_compare(store: Engine) -> None:
    for number in range(5):
        record(store, forget_send(make_answers(f"hs{number}.example", range(390, 410))))
    record(store, forget_send(make_answers("slow.example", range(900, 920))))
    with serve(store) as client:
        slow = text_of(client.get("/homeservers/slow.example"))
        usual = text_of(client.get("/homeservers/hs1.example"))
    assert "Probably your server: it receives messages late." in slow
    assert "Delivery is not measured" in slow
    assert "510 ms slower than the others’ median of 399.5 ms: slower than three quarters" in slow
    assert "Reception is typical." in usual
    assert "No significant difference" in usual


def make_ahead() -> list[Sample]:
    """Pongs of a homeserver whose clock is ahead by about as much as its bot claims too much."""
    return [
        replace(
            sample,
            ping=replace(sample.ping, sent_ts=sample.ping.seen_ts),
            pong=replace(sample.pong, origin_server_ts=sample.pong.seen_ts + 600),
        )
        for sample in delay(make_answers("ahead.example", range(390, 410)), 800)
    ]


def make_pings(server: str, first: int, one_way_ms: int) -> list[Sample]:
    """Pongs to pings of others than us."""
    ts = to_ts(NOW) - 3_600_000
    pings = [
        make_ping(number, server, room_id=ROOM, origin_server_ts=ts, seen_ts=ts)
        for number in range(first, first + 20)
    ]
    return [Sample(ping, make_pong(ping, "hs0.example", one_way_ms), None) for ping in pings]


def test_what_the_clock_hides_is_not_called_typical(store: Engine) -> None:
    record(store, make_ahead())
    record(store, make_pings("ahead.example", 1000, 2000))
    for number in range(5):
        record(store, make_answers(f"hs{number}.example", range(390, 410)))
        record(store, make_pings(f"hs{number}.example", 1100 + 100 * number, 200))
    with serve(store) as client:
        page = text_of(client.get("/homeservers/ahead.example"))
    assert "Probably your server: its messages reach the others late." in page
    assert "Its clock is not good enough to tell whether it receives late too." in page
    assert "Reception is typical" not in page


def test_a_wrong_clock_is_named_and_explains_what_it_explains(store: Engine) -> None:
    record(store, make_ahead())
    for number in range(5):
        record(store, make_answers(f"hs{number}.example", range(390, 410)))
    with serve(store) as client:
        page = text_of(client.get("/homeservers/ahead.example"))
        picture = client.get("/api/v1/homeservers/ahead.example").json()["clock"]
    assert picture["is_wrong"]
    assert "Probably neither" in page
    assert "but its clock is off by about" in page
    assert "Its clock is wrong:" in page
    assert "ahead of ours" in page


def test_rejected_pongs_have_a_reason_and_a_remedy(store: Engine) -> None:
    record(store, make_answers("two.example", [400]))
    seen_ts = to_ts(NOW) - 1000
    rejected = [Rejected(n, ROOM, "two.example", Rejection.LATE, seen_ts) for n in range(3)]
    Ingest(store, "test").record(Batch([], [], rejected))
    with serve(store) as client:
        page = text_of(client.get(PAGE))
        german = text_of(client.get(PAGE, params={"lang": "de"}))
    late = REMEDIES[Rejection.LATE]
    assert f"3× {late.explanation} {late.remedy}" in page
    assert get_language("de").words.gettext(late.remedy) in german


def test_partners_say_whether_they_are_slow_with_everybody(store: Engine) -> None:
    for number in range(12):
        record(store, make_answers(f"hs{number}.example", [200 + 20 * number] * 6))
    record(store, make_answers("lucky.example", [50]))
    with serve(store) as client:
        page = text_of(client.get("/homeservers/ours.example"))
    rows = re.findall(r"(\S+\.example) ([\d,.]+) (–|[\d,.]+) (\d+)", page)
    assert [name for name, *_ in rows] == [
        *(f"hs{number}.example" for number in range(5)),
        *(f"hs{number}.example" for number in range(7, 12)),
    ]
    assert "2 homeservers in between" in page
    assert "1 more with too few samples" in page


@pytest.mark.parametrize("board", ["response", "reception"])
def test_history_and_distribution_have_a_table_with_the_numbers_of_the_api(
    site: httpx.Client, board: str
) -> None:
    page = text_of(site.get(PAGE, params={"board": board, "window": "24h"}))
    median = site.get("/api/v1/rankings", params={"board": board}).json()["standings"][1]
    assert f"{board.title()}: half of 3 samples are below {median['median_ms']} ms" in page
    assert "11 Oct 12:00" in page


def test_the_snippets_lead_to_the_site_by_its_own_name(site: httpx.Client) -> None:
    page = site.get(PAGE, headers={"Host": "ping.example"}).text
    texts = [unescape(text) for text in re.findall(r'data-copy="([^"]*)"', page)]
    badge, link = (
        "http://ping.example/badge/two.example.svg",
        "http://ping.example/homeservers/two.example",
    )
    assert texts == [
        f"[![ping]({badge})]({link})",
        f'<a href="{link}"><img src="{badge}" alt="ping"></a>',
        f"[![ping]({link}/history.svg)]({link})",
    ]
    for address in (badge, link, f"{link}/history.svg"):
        assert site.get(address.removeprefix("http://ping.example")).status_code == 200


def test_a_choice_of_room_goes_along_into_the_snippets(site: httpx.Client) -> None:
    choice = {"room": ROOM, "from": "2026-10-11T00:00:00Z", "board": "reception", "lang": "de"}
    page = site.get(PAGE, params=choice).text
    (first, *_) = (unescape(text) for text in re.findall(r'data-copy="([^"]*)"', page))
    assert "two.example.svg?room=%21ping%3Aone.example)" in first


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("tow.example", "two.example"),
        ("two.exmaple", "two.example"),
        ("TWO.example", "two.example"),
    ],
)
def test_an_unknown_homeserver_is_a_page_with_near_names(
    site: httpx.Client, asked: str, meant: str
) -> None:
    page = site.get(f"/homeservers/{asked}")
    assert page.status_code == 404
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert f'<a href="/homeservers/{meant}">' in page.text
    assert f"<bdi>{asked}</bdi>" in page.text


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_unknown_and_stays_text(site: httpx.Client, name: str) -> None:
    address = f"/homeservers/{quote(name, safe='')}"
    page = site.get(address)
    assert page.status_code == 404
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for tag in ("<script>", "<svg onload"):
        assert tag not in page.text
    # Each language is led to twice.
    assert len(page.content) < 3_000 + 2 * len(LANGUAGES) * len(address)


@pytest.mark.parametrize("name", ["[::1]:8448", "one.example:6167", "a.svg", "history.svg"])
def test_every_kind_of_name_has_its_page(store: Engine, name: str) -> None:
    record(store, make_answers(name, [400, 410]))
    with serve(store) as client:
        page = client.get(f"/homeservers/{quote(name, safe='')}")
        ours = client.get("/homeservers/ours.example")
    assert page.status_code == 200
    assert "#1 of 1 405 ms" in text_of(page)
    assert f'href="/homeservers/{quote(name, safe="")}"' in ours.text


def test_a_known_homeserver_without_samples_says_so(site: httpx.Client) -> None:
    page = text_of(site.get(PAGE, params={"window": "1h"}))
    assert "No pings or pongs in this window" in page


def test_a_wrong_parameter_is_a_page_that_names_it(site: httpx.Client) -> None:
    page = site.get(PAGE, params={"window": "2h"})
    assert page.status_code == 422
    assert "window" in page.text
    assert page.headers["content-type"] == "text/html; charset=utf-8"


def test_the_page_begins_with_since_when_and_the_feed_has_it_too(store: Engine) -> None:
    samples = [make_hourly(f"hs{number}.example", lambda _: 400) for number in range(5)]
    samples.append(make_hourly("slow.example", lambda hour: 400 if hour < 120 else 800))
    samples.append(make_hourly("gone.example", lambda hour: 400 if hour < 150 else None))
    record(store, [sample for part in samples for sample in part])
    with serve(store) as client:
        slow = text_of(client.get("/homeservers/slow.example"))
        german = text_of(client.get("/homeservers/slow.example?lang=de"))
        steady = text_of(client.get("/homeservers/hs1.example"))
        gone = text_of(client.get("/homeservers/gone.example"))
        feed = client.get("/homeservers/slow.example/feed.atom")
        unknown = client.get("/homeservers/nobody.example/feed.atom")
    assert "Twice as slow since 10 Oct 2026, 00:00 UTC; the others did not change." in slow
    assert "Doppelt so langsam seit 10. Okt. 2026, 00:00 UTC; die anderen blieben gleich." in german
    assert " since " not in steady
    assert "Silent since 11 Oct 2026, 06:00 UTC, while others answered." in gone
    assert feed.headers["content-type"].startswith("application/atom+xml")
    (entry,) = ElementTree.fromstring(feed.text).findall("{*}entry")
    assert entry.findtext("{*}updated") == "2026-10-10T00:00:00Z"
    assert entry.findtext("{*}title") == (
        "slow.example: Twice as slow since 10 Oct 2026, 00:00 UTC; the others did not change."
    )
    assert unknown.status_code == 404


def test_the_feed_of_a_room_that_is_chosen_leads_back_to_that_room(site: httpx.Client) -> None:
    default, chosen = (
        site.get("/homeservers/two.example/feed.atom", params=room)
        for room in ({}, {"room": ALIAS})
    )
    assert chosen.headers["cache-control"].startswith("public, max-age=30")
    root = ElementTree.fromstring(chosen.text)
    address = f"{site.base_url}homeservers/two.example"
    room = f"?room={quote(ALIAS)}"
    assert root.findtext("{*}id") == f"{address}/feed.atom{room}"
    assert [link.attrib["href"] for link in root.findall("{*}link")] == [
        f"{address}/feed.atom{room}",
        f"{address}{room}",
    ]
    assert ElementTree.fromstring(default.text).findtext("{*}id") == f"{address}/feed.atom"


def test_all_links_and_the_form_of_a_page_keep_its_window_and_room(site: httpx.Client) -> None:
    window = {"from": "2026-10-11T00:00:00Z", "to": "2026-10-12T00:00:00Z"}
    asked = {"room": ALIAS, **window}
    page = site.get(PAGE, params={**asked, "with": "one.exmaple"}).text
    fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]+)">', page))
    assert fields == asked
    links = [urlsplit(unescape(link)) for link in re.findall(r'<a href="([^"]+)"', page)]
    meant = {**asked, "with": "one.example"}
    assert meant in [dict(parse_qsl(link.query)) for link in links if link.path == PAGE]
    boards = [link for link in links if link.path == "/" and "board=" in link.query]
    assert len(boards) == len(BoardName)
    for link in boards:
        assert dict(parse_qsl(link.query)).items() >= asked.items()


def test_two_homeservers_are_compared_on_one_scale(site: httpx.Client) -> None:
    page = text_of(site.get(f"{PAGE}?with=one.example"))
    assert "two.example #2 · 512 ms" in page
    assert "one.example #1 · 403 ms" in page
    # Both show the minutes that have samples, not a week that has nearly none.
    assert "6 Oct" not in page
    wrong = text_of(site.get(f"{PAGE}?with=one.exmaple"))
    assert "No homeserver one.exmaple was ever seen here. Did you mean one.example ?" in wrong


def test_a_history_of_one_bucket_has_a_dot_and_steps_that_fit_its_span(site: httpx.Client) -> None:
    page = site.get(PAGE).text
    assert '<circle class="dot"' in page
    assert 'data-step="15m"' in page
