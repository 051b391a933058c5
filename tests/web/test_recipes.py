"""The recipes of the page /recipes, run as they stand, but for the address."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

RECIPES = Path("pingboard/web/pages/recipes.md").read_text(encoding="utf-8")
SITE = "https://pingboard.example"


def blocks(language: str) -> list[str]:
    blocks = re.findall(rf"^```{language}\n(.*?)^```", RECIPES, re.MULTILINE | re.DOTALL)
    return [block for block in blocks if block != f"PINGBOARD={SITE}\n"]


@pytest.fixture
def environment(site: httpx.Client) -> dict[str, str]:
    return {**os.environ, "PINGBOARD": str(site.base_url).rstrip("/")}


def run(command: list[str], environment: dict[str, str]) -> str:
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_curl_recipes_run(environment: dict[str, str]) -> None:
    outputs = [run(["bash", "-ec", block], environment) for block in blocks("sh")]
    rankings, table, nothing, samples, live = outputs
    assert json.loads(rankings)["standings"][0]["homeserver"] == "one.example"
    assert table.startswith("|Rank|Hostname|Median MS|")
    assert nothing == ""
    assert len(samples.splitlines()) == 9
    assert "retry: 2000" in live


def test_the_python_recipes_run(environment: dict[str, str]) -> None:
    outputs = [run([sys.executable, "-c", block], environment) for block in blocks("python")]
    assert outputs == [
        "two.example is 2 of 2: 512 ms\nloss: 0\n",
        "8 samples\n",
        "slowest: 300 ms\n",
    ]


def test_the_home_assistant_sensor_reads_what_there_is(site: httpx.Client) -> None:
    (sensor,) = (yaml.safe_load(block) for block in blocks("yaml")[:1])
    resource = sensor["rest"][0]
    answer = site.get(resource["resource"].removeprefix(SITE)).json()
    template = resource["sensor"][0]["value_template"]
    value: Any = {"value_json": answer}
    for name in re.findall(r"\w+", template):
        value = value[name]
    assert value == 512


def test_the_german_page_says_that_the_recipes_are_english(site: httpx.Client) -> None:
    german, english = site.get("/recipes?lang=de").text, site.get("/recipes").text
    assert "Die Rezepte sind auf Englisch." in german
    assert '<div class="prose" lang="en">' in german
    assert "in English" not in english


def test_the_badges_of_the_recipes_are_there(site: httpx.Client) -> None:
    for path in re.findall(rf"{SITE}(/badge/[^)]*)\)", RECIPES):
        assert site.get(path).status_code == 200
