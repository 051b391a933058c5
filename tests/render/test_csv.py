"""CSV: it parses back, and no spreadsheet runs what stands in it."""

from __future__ import annotations

import csv
import io

import pytest

from pingboard.model import Standing
from pingboard.render.csv import rankings

ROW = Standing(1, "[::1]:8448", 512.5, 1 / 3, 10, 20, 30, 1e6, 7)


def parse(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_head_has_the_names_of_the_json() -> None:
    (line,) = rankings([]).splitlines()
    head = line.split(",")
    assert head[:4] == ["rank", "homeserver", "median_ms", "mean_ms"]
    interval = head.index("ci95_low_ms")
    assert head[interval : interval + 2] == ["ci95_low_ms", "ci95_high_ms"]
    assert {"sample_count", "tied_with_previous", "sent_count", "lost_count", "loss"} < set(head)


def test_numbers_read_back_as_the_same_and_unknown_ones_are_empty() -> None:
    (row,) = parse(rankings([ROW._replace(ci95_ms=(500.0, 520.5), loss=0.25)]))
    assert (row["rank"], row["homeserver"], row["median_ms"]) == ("1", "[::1]:8448", "512.5")
    assert float(row["mean_ms"]) == 1 / 3
    assert row["p95_ms"] == "1000000"
    assert (row["ci95_low_ms"], row["ci95_high_ms"]) == ("500", "520.5")
    assert (row["tied_with_previous"], row["sent_count"], row["loss"]) == ("false", "", "0.25")


@pytest.mark.parametrize("name", ["-evil.example", "=cmd()", "+1", "@SUM(A1)", "\t=1"])
def test_a_name_that_looks_like_a_formula_is_text(name: str) -> None:
    (row,) = parse(rankings([ROW._replace(homeserver=name)]))
    assert row["homeserver"] == f"'{name}"


def test_separators_in_a_name_stay_inside_its_cell() -> None:
    (row,) = parse(rankings([ROW._replace(homeserver='a,"b"\r\nc')]))
    assert row["homeserver"] == 'a,"b"\r\nc'
    assert row["median_ms"] == "512.5"
