"""Worker and storage: a standby, migrations, backups, and what one restores from them."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import sys
from collections.abc import Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

from faults.case import case, expect, run_program, until
from faults.scene import Scene
from faults.storage import postgresql, settle
from pingboard.store.engine import migrate, open_engine

ROWS = """
    INSERT INTO room (id, room_id) VALUES (1, '!many:hs1.localhost');
    INSERT INTO server (id, name) WITH RECURSIVE n(i) AS
        (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) SELECT i, 's' || i FROM n;
    INSERT INTO ping (id, room, server, event, origin_server_ts, seen_ts) WITH RECURSIVE n(i) AS
        (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :pings)
        SELECT i, 1, 1 + i % 100, '$p' || i, 1780000000000 + i * 1000, 1780000000000 + i * 1000
        FROM n;
    INSERT INTO sample (ping, pong_server, one_way_ms, delay_ms, lag_ms, provenance, event_hash)
        SELECT ping.id, server.id, 50 + server.id, 90, 0, 0, ping.id * 100 + server.id
        FROM ping CROSS JOIN server;
"""
STEP = """
import sys
from alembic import command
from alembic.config import Config
config = Config()
config.set_main_option("script_location", sys.argv[1])
getattr(command, sys.argv[2])(config, sys.argv[3])
"""
ANEW = "SET client_min_messages = warning; DROP SCHEMA public CASCADE; CREATE SCHEMA public"
SCRIPTS = Path(__file__).parents[1] / "alembic"
OLDEST = 1
"""The revision that made the table of samples; below it there are none."""


@case(27, "A standby on PostgreSQL", "takes over within 30 s of a kill -9 of the first")
async def standby(scene: Scene) -> str:
    async with postgresql(scene):
        await scene.start()
        await scene.has_more(1, scene.within(20))
        second = scene.make_worker(name="standby")
        await second.launch()
        try:
            await asyncio.sleep(scene.long(3, 20))
            expect(second.is_running, f"the standby has ended: {second.log[-200:]}")
            clock = asyncio.get_running_loop().time
            begin = clock()
            await scene.worker.kill()
            await scene.has_more(2, scene.within(30))
            seconds = clock() - begin
            await settle(scene)
            code, _ = await second.terminate()
        finally:
            await second.kill()
        expect(code == 0, f"SIGTERM ended the standby with code {code}")
        scene.heals = False
        return f"samples of the standby {seconds:.1f} s after"


@case(35, "Every migration up and down, and killed in the middle", "old or new, nothing else")
async def migrations(scene: Scene) -> str:
    """Down to the first and up again; each step is begun once before and killed on its way, in the
    short form every third."""
    scene.heals = False  # there is no worker in it
    file = scene.directory / "many.db"
    samples = int(scene.long(10_000, 1_000_000))
    await asyncio.to_thread(_fill, file, samples // 100)
    head, slowest, kills = _revision(file), 0.0, 0
    downs = [("downgrade", number) for number in range(head - 1, OLDEST - 1, -1)]
    ups = [("upgrade", number) for number in range(OLDEST + 1, head + 1)]
    for number, (command, target) in enumerate(downs + ups):
        old = _revision(file)
        if number % int(scene.long(3, 1)) == 0:
            after_s = random.uniform(0.4, scene.long(1.5, 4))
            kills += await _step(file, command, target, kill_after_s=after_s)
        expect(_revision(file) in (old, target), f"{command} left revision {_revision(file)}")
        clock = asyncio.get_running_loop().time
        begin = clock()
        await _step(file, command, target, kill_after_s=None)
        slowest = max(slowest, clock() - begin)
        expect(_revision(file) == target, f"{command} to {target} did not come to its end")
        expect(_count(file) == samples, f"{command} to {target} left {_count(file)} samples")
    return f"{samples} samples, {len(downs + ups)} steps, {kills} killed, slowest {slowest:.1f} s"


@case(36, "Backup while writing, restored", "the room's samples again")
async def restored(scene: Scene) -> str:
    copy = scene.directory / "copy.db"
    await _back_up_while_writing(scene, _run_pingboard(scene, "db", "backup", str(copy)))
    with closing(sqlite3.connect(copy)) as connection:
        check = connection.execute("PRAGMA integrity_check").fetchone()[0]
        had = connection.execute("SELECT count(*) FROM sample").fetchone()[0]
    expect(check == "ok", f"the copy is damaged: {check}")
    await scene.worker.kill()
    everything = len(scene.samples())
    file = Path(scene.database.url.removeprefix("sqlite:///"))
    for suffix in ("-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    shutil.copy(copy, file)
    await _fill_in_again(scene, everything)
    return f"{had} samples in the copy, {everything} again after the restore"


@case(36, "pg_dump while writing, restored", "the room's samples again")
async def restored_on_postgresql(scene: Scene) -> str:
    async with postgresql(scene) as programs:
        copy, url = str(scene.directory / "copy.dump"), scene.database.url
        dump = run_program(programs / "pg_dump", "-Fc", "-f", copy, url)
        await _back_up_while_writing(scene, dump)
        await scene.worker.kill()
        everything = len(scene.samples())
        await run_program(programs / "psql", "-qc", ANEW, url)
        await run_program(programs / "pg_restore", "--exit-on-error", "-d", url, copy)
        had = len(scene.samples())
        await _fill_in_again(scene, everything)
        await settle(scene)
        code, _ = await scene.worker.terminate()
        expect(code == 0, f"SIGTERM ended it with code {code}")
        scene.heals = False
        return f"{had} samples in the copy, {everything} again after the restore"


async def _back_up_while_writing(scene: Scene, back_up: Coroutine[Any, Any, None]) -> None:
    await scene.start()
    async with asyncio.TaskGroup() as both:
        both.create_task(scene.flood(int(scene.long(60, 1000))))
        await scene.has_more(20, scene.within(60))
        await back_up


async def _fill_in_again(scene: Scene, samples: int) -> None:
    """What was written after the backup: the sync token is as old as the rest of it."""
    await scene.start()

    async def same() -> bool:
        return len(scene.samples()) >= samples

    await until(same, scene.within(60), "what was written after the backup is not filled in")


def _fill(file: Path, pings: int) -> None:
    engine = open_engine(f"sqlite:///{file}")
    migrate(engine)
    engine.dispose()
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(ROWS.replace(":pings", str(pings)))
        connection.commit()


def _revision(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def _count(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        expect(connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok", "damaged")
        return int(connection.execute("SELECT count(*) FROM sample").fetchone()[0])


async def _step(file: Path, command: str, target: int, kill_after_s: float | None) -> bool:
    """Migrate in a process of its own, as `pingboard db upgrade` does; whether it was killed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", STEP, str(SCRIPTS), command, f"{target:04}"),
        env={"PINGBOARD_DATABASE_URL": f"sqlite:///{file}", "PYTHONPATH": str(SCRIPTS.parent)},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(kill_after_s):
            _, stderr = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return True
    expect(process.returncode == 0, f"{command} {target}: {stderr.decode()[-300:]}")
    return False


async def _run_pingboard(scene: Scene, *arguments: str) -> None:
    await run_program(
        *(sys.executable, "-m", "pingboard", *arguments),
        env={"PINGBOARD_DATABASE_URL": scene.database.url, "PYTHONPATH": str(SCRIPTS.parent)},
        cwd=scene.directory,
    )
