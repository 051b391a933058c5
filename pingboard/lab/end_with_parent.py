"""Ends a process when its parent ends: `end_with_parent.py MODULE_OR_FILE ARGUMENTS...`

Standard input is a pipe that the parent holds open and never writes to. It reaches its end
when the parent ends, however it ends, and then this one ends too. So a `kill -9` of the lab leaves
no homeserver behind, one of `pingboard run` leaves no API, and no port stays open.

It runs as a file, not with `-m`: the package's own imports (an HTTP client, cryptography) would
cost every child a quarter of a second. Hence only the standard library here.
"""

import os
import runpy
import signal
import sys
import threading
from pathlib import Path


def main() -> None:
    """Run the module, or the file, named by the first argument, with the others as its own."""
    # A process group of its own: Ctrl-C in the terminal reaches the lab, which ends its children
    # in order. Still the parent's session, so that the kernel wakes a paused child (SIGCONT)
    # when the parent dies and its group becomes an orphan.
    os.setpgid(0, 0)
    threading.Thread(target=_die_at_end_of_input, daemon=True).start()
    _make_pingboard_importable()
    target = sys.argv[1]
    sys.argv = sys.argv[1:]
    if target.endswith(".py"):
        runpy.run_path(target, run_name="__main__")
    else:
        runpy.run_module(target, run_name="__main__", alter_sys=True)


def _die_at_end_of_input() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def _make_pingboard_importable() -> None:
    """The parent may have found pingboard in its working directory; the child has another one."""
    root = str(Path(__file__).resolve().parents[2])
    if root not in sys.path:
        sys.path.append(root)


if __name__ == "__main__":
    main()
