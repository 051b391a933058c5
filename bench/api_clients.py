"""Four clients that ask for one board after the other, until killed: `python -m bench.api_clients`.

Each asks for another number of rows each time, so that no answer is one that was kept.
"""

from __future__ import annotations

import itertools
import sys
import threading
import urllib.request

CLIENTS = 4


def main() -> None:
    """Ask the site at the first argument."""
    for number in range(CLIENTS):
        threading.Thread(target=_ask, args=(sys.argv[1], number)).start()


def _ask(site: str, first: int) -> None:
    for number in itertools.count(first, CLIENTS):
        counts = f"limit={1 + number % 500}&min_samples={1 + number // 500}"
        url = f"{site}/api/v1/rankings?board=response&{counts}"
        with urllib.request.urlopen(url) as answer:
            answer.read()


if __name__ == "__main__":
    main()
