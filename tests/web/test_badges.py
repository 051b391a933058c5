"""Badges: always an image, never a script."""

from __future__ import annotations

from urllib.parse import quote
from xml.etree import ElementTree

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pingboard.store.engine import Engine
from tests.web.site import HOSTILE, SVG, make_answers, record, serve


def texts_of(answer: httpx.Response) -> list[str]:
    """What the image says, read by an XML parser."""
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/svg+xml"
    root = ElementTree.fromstring(answer.text)
    assert root.tag == f"{SVG}svg"
    names = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert names == {"svg", "title", "rect", "path", "g", "text"}
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def test_a_badge_says_rank_median_and_window(site: httpx.Client) -> None:
    assert texts_of(site.get("/badge/two.example.svg")) == ["matrix ping", "#2 · 512 ms · 7d"]
    reception = site.get("/badge/two.example.svg", params={"board": "reception", "label": "in"})
    assert texts_of(reception) == ["in", "#2 · 256 ms · 7d"]
    day = {"from": "2026-10-11T00:00:00Z"}
    message = site.get("/badge/two.example.json", params=day).json()["message"]
    assert message == "#2 · 512 ms · 2026-10-11 to 2026-10-12"


@pytest.mark.parametrize("name", ["nobody.example", *HOSTILE])
def test_an_unknown_or_hostile_name_has_a_badge_too(site: httpx.Client, name: str) -> None:
    path = f"/badge/{quote(name, safe='')}"
    assert texts_of(site.get(f"{path}.svg")) == ["matrix ping", "no pongs · 7d"]
    assert site.get(f"{path}.json").json()["message"] == "no pongs · 7d"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_any_label_is_a_badge(site: httpx.Client, label: str) -> None:
    answer = site.get("/badge/two.example.svg", params={"label": label})
    assert texts_of(answer)[1] == "#2 · 512 ms · 7d"


def test_a_room_that_is_not_there_yet_has_badges(store: Engine) -> None:
    with serve(store, default_room="#not-joined:one.example") as client:
        assert texts_of(client.get("/badge/one.example.svg"))[1] == "no pongs · 7d"


@pytest.mark.parametrize("name", ["[::1]:8448", "one.example:6167", "a.svg", "b.json"])
def test_every_kind_of_name_has_its_own_badge(store: Engine, name: str) -> None:
    record(store, make_answers(name, [412, 413]))
    with serve(store) as client:
        assert texts_of(client.get(f"/badge/{quote(name, safe='')}.svg"))[1] == "#1 · 412.5 ms · 7d"


def test_each_range_of_medians_has_a_colour_of_its_own(store: Engine) -> None:
    for ms in (100, 600, 1000, 3000, 9000):
        record(store, make_answers(f"hs{ms}.example", [ms]))
    with serve(store) as client:
        colours = [
            client.get(f"/badge/hs{ms}.example.json").json()["color"]
            for ms in (100, 600, 1000, 3000, 9000)
        ]
    assert len(set(colours)) == 5


def test_a_wrong_parameter_is_a_problem_as_everywhere(site: httpx.Client) -> None:
    answer = site.get("/badge/two.example.svg", params={"style": "flat"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["query", "style"]
