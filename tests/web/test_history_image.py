"""The history as an image: always an image, never a script, never much."""

from __future__ import annotations

import base64
import hashlib
from datetime import timedelta
from urllib.parse import quote
from xml.etree import ElementTree

import httpx
import pytest

from pingboard.store.engine import Engine
from tests.web.site import HOSTILE, SVG, lose, make_answers, record, serve

IMAGE = "/homeservers/two.example/history.svg"


def read(answer: httpx.Response) -> ElementTree.Element:
    """The image, read by an XML parser; nothing in it can do anything."""
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/svg+xml"
    root = ElementTree.fromstring(answer.text)
    names = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert names <= {"svg", "title", "desc", "style", "rect", "path", "g", "text", "line", "circle"}
    attributes = {name for element in root.iter() for name in element.attrib}
    assert not [name for name in attributes if name.startswith("on") or "href" in name]
    return root


def texts_of(root: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def test_an_image_draws_the_history_and_says_it(site: httpx.Client) -> None:
    root = read(site.get(IMAGE))
    assert texts_of(root)[:2] == ["two.example · response", "#2 · 512 ms · 7d"]
    assert root.findtext(f"{SVG}desc") == "Medians from 512 to 512 ms; 0 of 3 pings lost."
    assert len([dot for dot in root.iter(f"{SVG}circle") if dot.get("class") == "dot"]) == 1


def test_what_was_lost_has_the_colour_of_its_level(store: Engine) -> None:
    record(store, make_answers("two.example", range(400, 420)))
    lose(store, "two.example", pings=range(100, 103), before_now=timedelta(hours=12))
    with serve(store) as client:
        root = read(client.get(IMAGE))
    classes = {path.get("class") for path in root.iter(f"{SVG}path")}
    # Three of 23: more than a twentieth, less than a fifth.
    assert {"median loss2", "lost loss2"} <= classes
    assert not {"median loss1", "median loss3", "lost loss1", "lost loss3"} & classes


def test_an_image_is_of_the_board_and_window_that_are_asked_for(site: httpx.Client) -> None:
    root = read(site.get(IMAGE, params={"board": "reception", "window": "24h"}))
    assert texts_of(root)[:2] == ["two.example · reception", "#2 · 256 ms · 24h"]


@pytest.mark.parametrize("name", ["nobody.example", *HOSTILE])
def test_an_unknown_or_hostile_name_has_an_image_too(site: httpx.Client, name: str) -> None:
    answer = site.get(f"/homeservers/{quote(name, safe='')}/history.svg")
    assert texts_of(read(answer))[-1] == "no pongs"
    assert len(answer.content) < 5000


def test_a_room_that_is_not_there_yet_has_an_image(store: Engine) -> None:
    with serve(store, default_room="#not-joined:one.example") as client:
        assert texts_of(read(client.get(IMAGE)))[-1] == "no pongs"


def test_the_policy_allows_the_style_inside_and_nothing_else(site: httpx.Client) -> None:
    answer = site.get(IMAGE)
    style = read(answer).findtext(f"{SVG}style") or ""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = answer.headers["content-security-policy"]
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'"
    assert "prefers-color-scheme: dark" in style


def test_an_image_may_be_kept_for_a_while(site: httpx.Client) -> None:
    answer = site.get(IMAGE)
    assert "max-age" in answer.headers["cache-control"]
    again = site.get(IMAGE, headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("window", ["7d", "365d"])
def test_an_image_is_small_however_much_there_is(store: Engine, window: str) -> None:
    samples = make_answers("two.example", [200 + number % 97 for number in range(3000)])
    record(store, samples)
    with serve(store) as client:
        assert len(client.get(IMAGE, params={"window": window}).content) < 40_000
