"""The table of faults/REPORT.md."""

from __future__ import annotations

from faults.chapters import cases
from faults.report import FILE, HEAD, merged, name_of, row
from faults.run import Outcome

FIRST, SECOND, *_ = cases()
NAMES = [name_of(FIRST), name_of(SECOND)]


def had(outcome: Outcome) -> str:
    return row(outcome, short=False)


def test_a_new_row_replaces_the_old_one_and_the_others_stay() -> None:
    old = [had(Outcome(case, "old", "", 1)) for case in (SECOND, FIRST)]
    text = merged("Words.\n\n", old, NAMES)
    again = merged(text, [had(Outcome(FIRST, "new", "", 2))], NAMES)
    assert again == f"Words.\n\n{HEAD}\n{had(Outcome(FIRST, 'new', '', 2))}\n{old[0]}\n"


def test_rows_of_cases_that_are_no_more_go() -> None:
    text = merged(f"Words.\n\n{HEAD}\n| 99. Gone | a | b | long | 1 | pass |\n", [], NAMES)
    assert text == f"Words.\n\n{HEAD}\n"


def test_a_fault_is_one_line_without_bars() -> None:
    fault = "first | line\nmiddle\nlast"
    assert had(Outcome(FIRST, "", fault, 1)).endswith("| 1 | FAIL: first / line ... last |")


def test_every_row_of_the_report_is_of_a_case_that_passed() -> None:
    rows = FILE.read_text().partition(HEAD)[2].splitlines()[1:]
    assert {line.split(" | ")[0].removeprefix("| ") for line in rows} <= set(map(name_of, cases()))
    assert [line for line in rows if not line.endswith("| pass |")] == []
