"""`python -m bench.peak bench.store|bench.peer FILE START END`: the peak of memory, in MiB."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

runpy.run_module(sys.argv.pop(1), run_name="__main__")
# Not getrusage: its peak includes that of the process that started this one.
peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
print(int(peak[1]) / 1024 if peak else "unknown: this system has no /proc")
