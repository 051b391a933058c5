"""What the benchmarks ran on, so that a figure can be judged later."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np


def describe() -> dict[str, str]:
    """Each condition and its value, in reading order."""
    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    load = ", ".join(f"{average:.2f}" for average in os.getloadavg())
    return {
        "CPU": f"{_cpu_model()}, {os.cpu_count()} cores",
        "load average": f"{load} (1, 5, 15 min)",
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "numpy": np.__version__,
        "numpy SIMD": ", ".join(simd["baseline"] + simd.get("found", [])),
        "scheduling": _scheduling(),
        "numpy SIMD disabled": os.environ.get("NPY_DISABLE_CPU_FEATURES") or "none",
    }


def _scheduling() -> str:
    """Whether others that run had to wait, as with `chrt --fifo 50 make bench`."""
    is_real_time = hasattr(os, "SCHED_FIFO") and os.sched_getscheduler(0) == os.SCHED_FIFO
    return "real time, so that what else ran had to wait" if is_real_time else "as usual"


def _cpu_model() -> str:
    """The model as Linux names it, with family and model number; else what Python knows."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor() or "unknown"
    pairs = (line.partition(":")[::2] for line in cpuinfo.read_text().splitlines())
    fields = {name.strip(): value.strip() for name, value in pairs}
    name = fields.get("model name", platform.machine())
    numbers = [f"{key} {fields[key]}" for key in ("cpu family", "model") if key in fields]
    return " ".join([name, f"({', '.join(numbers)})" if numbers else ""]).strip()
