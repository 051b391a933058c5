"""Which vector instructions numpy sorts with, where its own choice is a bad one.

numpy sorts with AVX-512 wherever the CPU has it. AMD's Zen 4 has it, but a compress-store to memory
is microcoded there, and sorting takes six times as long as with AVX2 (numpy/x86-simd-sort issue 6).
Sorting is most of what pingboard computes (bench: "rank kernel").
"""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "NPY_DISABLE_CPU_FEATURES"
"""numpy's own; read when it is imported. Set, also to nothing, it is left as it is."""

_AVX512 = "X86_V4 AVX512_ICL"
_CPUINFO = Path("/proc/cpuinfo")


def choose() -> None:
    """Let numpy leave AVX-512 alone on a CPU where AVX2 is faster; before numpy is imported."""
    if VARIABLE in os.environ:
        return
    try:
        with _CPUINFO.open(encoding="ascii", errors="replace") as file:
            first = file.read(4096)
    except OSError:
        return
    if has_slow_avx512(first):
        os.environ[VARIABLE] = _AVX512


def has_slow_avx512(cpuinfo: str) -> bool:
    """Whether the first processor of Linux's /proc/cpuinfo is a Zen 4: family 25, with AVX-512."""
    lines = cpuinfo.partition("\n\n")[0].splitlines()
    fields = {
        name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    return (
        fields.get("vendor_id") == "AuthenticAMD"
        and fields.get("cpu family") == "25"
        and "avx512f" in fields.get("flags", "").split()
    )
