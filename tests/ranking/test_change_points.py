"""Change-points: quiet weeks stay quiet, what doubles is found, and when."""

from __future__ import annotations

import numpy as np
import pytest

from pingboard.model import ChangeKind
from pingboard.ranking.change_points import ChangePoint, find_change_points, split_at_changes
from pingboard.ranking.trends import Trend

HOURS = 168
WEEKS = 200
OTHERS = 12


def make_week(
    seed: int, *, ratio: float = 1.0, since: int = HOURS, shared: float = 1.0, rho: float = 0.4
) -> dict[str, Trend]:
    """A week of hourly medians as rooms have them: a daily rhythm that all share and one of its
    own, autocorrelated noise, spikes, hours without a sample; from `since` on "own" takes `ratio`
    times as long, and everybody `shared` times."""
    choose = np.random.default_rng(seed)
    hours = np.arange(HOURS)
    rhythm = 0.2 * np.sin(2 * np.pi * hours / 24 + choose.uniform(0, 6))
    step = np.where(hours >= since, 1.0, 0.0)
    trends: dict[str, Trend] = {}
    for name in ["own", *(f"other-{number}" for number in range(OTHERS))]:
        noise = choose.normal(0, 0.25, HOURS)
        for hour in range(1, HOURS):
            noise[hour] += rho * noise[hour - 1]
        own_rhythm = 0.07 * np.sin(2 * np.pi * hours / 24 + choose.uniform(0, 6))
        spikes = (choose.random(HOURS) < 0.03) * choose.uniform(0.5, 3, HOURS)
        level = np.log(choose.uniform(80, 900)) + rhythm + own_rhythm + noise + spikes
        level += step * np.log(shared) + (step * np.log(ratio) if name == "own" else 0)
        is_missing = choose.random(HOURS) < 0.05
        trends[name] = [
            None if missing else float(ms)
            for ms, missing in zip(np.exp(level), is_missing, strict=True)
        ]
    return trends


def find_levels(trends: dict[str, Trend]) -> list[ChangePoint]:
    return [
        change
        for change in find_change_points(trends, "own")
        if change.kind in (ChangeKind.SLOWER, ChangeKind.FASTER)
    ]


def test_of_200_quiet_weeks_none_has_a_change() -> None:
    # What /method states. Neighbouring hours are independent, somewhat alike, or much alike.
    alarms = [
        seed for seed in range(WEEKS) if find_levels(make_week(seed, rho=(0, 0.4, 0.7)[seed % 3]))
    ]
    assert alarms == []


def test_the_rank_test_alone_keeps_its_level_on_quiet_noise() -> None:
    choose = np.random.default_rng(7)
    alarms = sum(bool(split_at_changes(choose.normal(0, 1, HOURS))) for _ in range(1000))
    assert alarms <= 10  # its level is 0.01 at most: Bonferroni's bound is a cautious one


@pytest.mark.parametrize(("hours_ago", "found_share"), [(72, 1.0), (36, 1.0), (24, 0.9), (16, 0.5)])
def test_a_doubling_is_found_and_dated(hours_ago: int, found_share: float) -> None:
    detected, near = 0, 0
    for seed in range(WEEKS):
        changes = find_levels(make_week(seed, ratio=2, since=HOURS - hours_ago))
        if changes:
            detected += 1
            near += abs(changes[-1].hour - (HOURS - hours_ago)) <= 3
            assert changes[-1].kind is ChangeKind.SLOWER
            assert changes[-1].others_ratio == 1
    assert detected / WEEKS >= found_share
    assert near / detected >= 0.75


def test_a_halving_is_faster() -> None:
    changes = find_levels(make_week(1, ratio=0.5, since=100))
    assert [change.kind for change in changes] == [ChangeKind.FASTER]
    assert changes[0].ratio == pytest.approx(0.5, rel=0.2)


def test_what_everybody_shares_is_not_its_own_change() -> None:
    [change] = find_levels(make_week(3, shared=2, since=100))
    assert change.is_shared
    assert change.kind is ChangeKind.SLOWER
    assert change.others_ratio == pytest.approx(2, rel=0.2)


def test_a_silence_has_a_beginning_and_an_end() -> None:
    trends = make_week(5)
    own = trends["own"]
    trends["own"] = [None if 50 <= hour < 62 else ms or 300.0 for hour, ms in enumerate(own)]
    changes = [change for change in find_change_points(trends, "own") if change.ratio == 1]
    assert changes == [ChangePoint(ChangeKind.SILENT, 50), ChangePoint(ChangeKind.BACK, 62)]


def test_hours_in_which_nobody_was_asked_are_no_silence() -> None:
    trends = {
        name: [None if 50 <= hour < 80 else ms or 300.0 for hour, ms in enumerate(trend)]
        for name, trend in make_week(5).items()
    }
    assert find_change_points(trends, "own") == []


def test_a_change_is_not_compared_with_too_few_others() -> None:
    trends = {
        name: trend for name, trend in make_week(1, ratio=3, since=90).items() if name == "own"
    }
    [change] = find_levels(trends)
    assert change.others_ratio is None


def test_a_homeserver_that_nobody_heard_has_no_changes() -> None:
    assert find_change_points({}, "own") == []
    assert find_change_points({"own": [None] * HOURS}, "own") == []
