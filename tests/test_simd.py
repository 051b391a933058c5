"""The choice of vector instructions, which numpy has to understand."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pingboard.simd import VARIABLE, has_slow_avx512

ZEN_4 = """\
processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 17
flags\t\t: fpu sse avx2 avx512f avx512vl
"""


@pytest.mark.parametrize(
    ("line", "instead", "is_slow"),
    [
        ("", "", True),
        ("AuthenticAMD", "GenuineIntel", False),
        ("family\t: 25", "family\t: 26", False),
        ("avx512f ", "", False),
    ],
)
def test_only_zen_4_has_slow_avx512(line: str, instead: str, is_slow: bool) -> None:
    other = "\n\nprocessor\t: 1\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nflags\t\t: avx512f\n"
    assert has_slow_avx512(ZEN_4.replace(line, instead) + other) is is_slow


def test_a_text_that_is_no_cpuinfo_says_nothing() -> None:
    assert not has_slow_avx512("")
    assert not has_slow_avx512("processor: Armv8\n")


@pytest.mark.parametrize("given", [None, "", "AVX512_ICL"])
def test_numpy_takes_what_is_chosen_and_what_is_set_stays(given: str | None) -> None:
    code = (
        "import os; from pingboard import simd; simd.choose();"
        f"print(os.environ.get({VARIABLE!r})); import numpy"
    )
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    if given is not None:
        environment[VARIABLE] = given
    # As errors: numpy warns of a feature that it does not know.
    command = [sys.executable, "-W", "error", "-c", code]
    process = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    allowed = ["None", "X86_V4 AVX512_ICL"] if given is None else [given]
    assert process.stdout.rstrip("\n") in allowed
