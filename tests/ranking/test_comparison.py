"""One homeserver beside the others: what may be said, and what may not."""

from __future__ import annotations

import pytest

from pingboard.model import BoardName, Standing
from pingboard.ranking.clocks import Clock
from pingboard.ranking.comparison import Comparison, Diagnosis, Verdict, compare, diagnose

OTHERS = [100.0, 200.0, 200.0, 200.0, 300.0]
"""Their median is 200 ms, their middle half exactly that."""

SPREAD = [float(ms) for ms in range(100, 301, 10)]
"""Their median is 200 ms, their middle half 150 to 250."""


AHEAD, BEHIND = Clock(300, 80), Clock(-300, 80)


def stand(median_ms: float, interval: tuple[float, float] | None = None) -> Standing:
    ms = median_ms
    return Standing(1, "one.example", ms, ms, ms, ms, ms, ms, 50, interval)


def judge(board: BoardName, median_ms: float, clock: Clock | None = None) -> Verdict:
    row = stand(median_ms, (median_ms - 5, median_ms + 5))
    return compare(board, row, SPREAD, clock).verdict


@pytest.mark.parametrize(
    ("median_ms", "interval", "verdict"),
    [
        (400, (390, 410), Verdict.SLOW),
        (240, (230, 245), Verdict.ORDINARY),
        (160, (155, 170), Verdict.ORDINARY),
        (110, (105, 120), Verdict.FAST),
        (400, (190, 900), Verdict.EVEN),
        (200, (200, 200), Verdict.EVEN),
        (400, None, Verdict.FEW_SAMPLES),
    ],
)
def test_a_difference_counts_only_beyond_chance_and_beyond_the_middle_half(
    median_ms: float, interval: tuple[float, float] | None, verdict: Verdict
) -> None:
    for board in BoardName:
        assert compare(board, stand(median_ms, interval), SPREAD, None).verdict is verdict


def test_a_homeserver_is_compared_with_the_others_alone() -> None:
    comparison = compare(BoardName.RECEPTION, stand(260, (255, 265)), OTHERS, None)
    assert (comparison.others, comparison.others_median_ms, comparison.difference_ms) == (
        5,
        200,
        60,
    )
    assert comparison.middle_ms == (200, 200)
    assert comparison.clock_ms == 0


@pytest.mark.parametrize("others", [[], [100.0], [100.0, 900.0]])
def test_there_is_no_comparison_with_too_few_others(others: list[float]) -> None:
    comparison = compare(BoardName.RESPONSE, stand(400, (390, 410)), others, None)
    assert comparison.verdict is Verdict.FEW_OTHERS
    assert comparison.middle_ms is None


@pytest.mark.parametrize(
    ("board", "median_ms", "clock", "verdict"),
    [
        # 200 ms is the median of the others; 300 ms is the clock, give or take 80.
        (BoardName.RECEPTION, 500, AHEAD, Verdict.CLOCK),
        (BoardName.RECEPTION, 580, AHEAD, Verdict.CLOCK),
        (BoardName.RECEPTION, 581, AHEAD, Verdict.SLOW),
        (BoardName.RECEPTION, 419, AHEAD, Verdict.CLOCK),
        (BoardName.RECEPTION, 200, AHEAD, Verdict.CLOCK),
        (BoardName.DELIVERY, 10, AHEAD, Verdict.CLOCK),
        (BoardName.DELIVERY, 500, AHEAD, Verdict.SLOW),
        (BoardName.DELIVERY, 500, BEHIND, Verdict.CLOCK),
        (BoardName.DELIVERY, 20, BEHIND, Verdict.FAST),
        (BoardName.RECEPTION, 20, BEHIND, Verdict.CLOCK),
    ],
)
def test_what_a_wrong_clock_explains_is_not_held_against_a_homeserver(
    board: BoardName, median_ms: float, clock: Clock, verdict: Verdict
) -> None:
    assert judge(board, median_ms, clock) is verdict


@pytest.mark.parametrize(
    ("median_ms", "verdict"),
    [(280, Verdict.CLOCK), (120, Verdict.CLOCK), (281, Verdict.SLOW), (119, Verdict.FAST)],
)
def test_a_clock_that_may_be_right_explains_no_more_than_its_uncertainty(
    median_ms: float, verdict: Verdict
) -> None:
    for offset_ms in (-80, 0, 80):
        assert judge(BoardName.RECEPTION, median_ms, Clock(offset_ms, 80)) is verdict


def test_no_clock_explains_a_round_trip() -> None:
    assert judge(BoardName.RESPONSE, 500, AHEAD) is Verdict.SLOW
    assert compare(BoardName.RESPONSE, stand(500), SPREAD, AHEAD).clock_ms == 0


def decide(**verdicts: Verdict) -> dict[BoardName, Comparison]:
    some = compare(BoardName.RECEPTION, stand(200, (190, 210)), SPREAD, None)
    return {
        BoardName(name): some._replace(board=BoardName(name), verdict=verdict)
        for name, verdict in verdicts.items()
    }


@pytest.mark.parametrize(
    ("verdicts", "diagnosis"),
    [
        ({}, Diagnosis.UNKNOWN),
        ({"response": Verdict.SLOW}, Diagnosis.UNKNOWN),
        (
            {"delivery": Verdict.FEW_SAMPLES, "reception": Verdict.FEW_OTHERS},
            Diagnosis.UNKNOWN,
        ),
        ({"reception": Verdict.EVEN}, Diagnosis.NO_SENDING),
        ({"delivery": Verdict.FEW_SAMPLES, "reception": Verdict.FAST}, Diagnosis.NO_SENDING),
        ({"delivery": Verdict.ORDINARY}, Diagnosis.NO_RECEIVING),
        ({"delivery": Verdict.EVEN, "reception": Verdict.FAST}, Diagnosis.ORDINARY),
        ({"delivery": Verdict.EVEN, "reception": Verdict.EVEN}, Diagnosis.ORDINARY),
        ({"delivery": Verdict.FAST, "reception": Verdict.FAST}, Diagnosis.FAST),
        ({"delivery": Verdict.SLOW, "reception": Verdict.ORDINARY}, Diagnosis.SENDING),
        ({"delivery": Verdict.SLOW}, Diagnosis.SENDING),
        ({"delivery": Verdict.FAST, "reception": Verdict.SLOW}, Diagnosis.RECEIVING),
        ({"reception": Verdict.SLOW}, Diagnosis.RECEIVING),
        ({"delivery": Verdict.SLOW, "reception": Verdict.SLOW}, Diagnosis.BOTH),
        ({"delivery": Verdict.CLOCK, "reception": Verdict.SLOW}, Diagnosis.RECEIVING),
        ({"delivery": Verdict.CLOCK, "reception": Verdict.EVEN}, Diagnosis.UNSURE),
        ({"reception": Verdict.CLOCK, "response": Verdict.ORDINARY}, Diagnosis.UNSURE),
        ({"reception": Verdict.CLOCK, "response": Verdict.SLOW}, Diagnosis.EITHER),
    ],
)
def test_the_verdicts_on_all_boards_together_say_where_the_trouble_is(
    verdicts: dict[str, Verdict], diagnosis: Diagnosis
) -> None:
    assert diagnose(decide(**verdicts), Clock(0, 80)) is diagnosis


def test_a_clock_that_is_known_to_be_wrong_is_named() -> None:
    comparisons = decide(delivery=Verdict.CLOCK, reception=Verdict.EVEN)
    assert diagnose(comparisons, AHEAD) is Diagnosis.CLOCK
