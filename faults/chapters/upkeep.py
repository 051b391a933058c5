"""Worker and storage: a standby, migrations, backups, and what one restores from them."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import sys
from collections.abc import Coroutine
from contextlib import closing, suppress
from pathlib import Path
from time import monotonic
from typing import Any

from faults.case import case
from faults.chapters.storage import postgresql
from faults.claims import expect, run_program, until
from faults.scene import Scene
from faults.truth import Samples

STEP = """
import sys
from alembic import command
from alembic.config import Config
config = Config()
config.set_main_option("script_location", sys.argv[1])
getattr(command, sys.argv[2])(config, sys.argv[3])
"""
ANEW = "SET client_min_messages = warning; DROP SCHEMA public CASCADE; CREATE SCHEMA public"
SCRIPTS = Path(__file__).parents[2] / "alembic"


@case(
    27, "A standby on PostgreSQL", "takes over within 30 s of a kill -9 of the first", short=False
)
async def standby(scene: Scene) -> str:
    async with postgresql(scene):
        await scene.start()
        await scene.has_more(1, scene.within(20))
        first, scene.worker = scene.worker, scene.make_worker(name="standby")
        await scene.worker.launch()
        await asyncio.sleep(20)
        expect(scene.worker.is_running, f"the standby has ended: {scene.worker.log[-200:]}")
        begin = monotonic()
        await first.kill()
        await scene.has_more(2, scene.within(30))
        seconds = monotonic() - begin
        return f"samples of the standby {seconds:.1f} s after"


@case(35, "Every migration up and down, and killed in the middle", "old or new, nothing else")
async def migrations(scene: Scene) -> str:
    """There is one, from nothing to all tables."""
    scene.heals = False  # there is no worker in it
    file = scene.directory / "migrated.db"
    rounds, kills = int(scene.long(1, 10)), 0
    for command, target, revision in [("upgrade", "head", 1), ("downgrade", "base", 0)] * rounds:
        old = _revision(file)
        after_s = random.uniform(0.4, scene.long(1.5, 4))
        kills += await _step(file, command, target, kill_after_s=after_s)
        expect(_revision(file) in (old, revision), f"{command} left revision {_revision(file)}")
        await _step(file, command, target, kill_after_s=None)
        expect(_revision(file) == revision, f"{command} to {target} did not come to its end")
    return f"{2 * rounds} steps, {kills} killed"


@case(36, "Backup while writing, restored", "the room's samples again")
async def restored(scene: Scene) -> str:
    copy = scene.directory / "copy.db"
    await _back_up_while_writing(scene, _run_pingboard(scene, "db", "backup", str(copy)))
    with closing(sqlite3.connect(copy)) as connection:
        check = connection.execute("PRAGMA integrity_check").fetchone()[0]
        had = connection.execute("SELECT count(*) FROM sample").fetchone()[0]
    expect(check == "ok", f"the copy is damaged: {check}")
    await scene.worker.kill()
    everything = scene.stored()
    file = Path(scene.database.url.removeprefix("sqlite:///"))
    for suffix in ("-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    shutil.copy(copy, file)
    await _fill_in_again(scene, everything)
    return f"{had} samples in the copy, {len(everything)} again after the restore"


@case(36, "pg_dump while writing, restored", "the room's samples again", short=False)
async def restored_on_postgresql(scene: Scene) -> str:
    async with postgresql(scene) as server:
        programs = server.programs
        copy, url = str(scene.directory / "copy.dump"), scene.database.url
        dump = run_program(programs / "pg_dump", "-Fc", "-f", copy, url)
        await _back_up_while_writing(scene, dump)
        await scene.worker.kill()
        everything = scene.stored()
        await run_program(programs / "psql", "-qc", ANEW, url)
        await run_program(programs / "pg_restore", "--exit-on-error", "-d", url, copy)
        had = len(scene.samples())
        await _fill_in_again(scene, everything)
        return f"{had} samples in the copy, {len(everything)} again after the restore"


async def _back_up_while_writing(scene: Scene, back_up: Coroutine[Any, Any, None]) -> None:
    await scene.start()
    async with asyncio.TaskGroup() as both:
        both.create_task(scene.flood(int(scene.long(60, 1000))))
        await scene.has_more(20, scene.within(60))
        await back_up


async def _fill_in_again(scene: Scene, samples: Samples) -> None:
    """What was written after the backup: the sync token is as old as the rest of it."""
    await scene.start()

    await until(
        lambda: samples.items() <= scene.stored().items(),
        scene.within(60),
        "what was written after the backup is not filled in",
    )


def _revision(file: Path) -> int:
    """0 for none."""
    with closing(sqlite3.connect(file)) as connection:
        expect(connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok", "damaged")
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        if "alembic_version" not in tables:
            expect("sample" not in tables, "half of a migration is stored")
            return 0
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        expect(("sample" in tables) == (row is not None), "half of a migration is stored")
        return int(row[0]) if row else 0


async def _step(file: Path, command: str, target: str, kill_after_s: float | None) -> bool:
    """Migrate in a process of its own, as `pingboard db upgrade` does; whether it was killed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", STEP, str(SCRIPTS), command, target),
        env={"PINGBOARD_DATABASE_URL": f"sqlite:///{file}", "PYTHONPATH": str(SCRIPTS.parent)},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(kill_after_s):
            _, stderr = await process.communicate()
    except TimeoutError:
        with suppress(ProcessLookupError):  # it may have ended just now
            process.kill()
        return await process.wait() != 0
    expect(process.returncode == 0, f"{command} {target}: {stderr.decode()[-300:]}")
    return False


async def _run_pingboard(scene: Scene, *arguments: str) -> None:
    await run_program(
        *(sys.executable, "-m", "pingboard", *arguments),
        env={"PINGBOARD_DATABASE_URL": scene.database.url, "PYTHONPATH": str(SCRIPTS.parent)},
        cwd=scene.directory,
    )
