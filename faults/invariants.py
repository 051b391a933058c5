"""What has to hold after every case, whatever happened in it.

Every authentic pong of the room is stored exactly once; the worker lives and ends in order, or has
ended with a documented exit code and one clear line; its log has no token, no user ID and no
traceback; nor has its database a user ID; the database is whole.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from time import monotonic

from faults.claims import CaseError
from faults.scene import Scene
from faults.seed import analyze
from faults.truth import differences

TRACEBACK = re.compile(r"Traceback .*\n(?:[ |+].*\n)*(.*)")
"""to the line that names the error"""
ACCESS_TOKEN = "syt_"
"""How Synapse's begin, also those that a worker gets by a login of its own."""

USER_ID = re.compile(r"@[\w.=/+-]*:hs\d\.localhost")
END_WITHIN_S = 10


async def check_invariants(scene: Scene) -> None:
    """Raise `CaseError` with everything that does not hold."""
    faults = [*await _check_end(scene), *check_log(scene, scene.worker.log)]
    if scene.heals:
        faults += scene.database.faults()
        faults += _check_privacy(scene)
    if faults:
        raise CaseError("; ".join(faults))


async def _check_end(scene: Scene) -> list[str]:
    """The worker lives and has everything, and SIGTERM ends it."""
    faults: list[str] = []
    worker = scene.worker
    if worker.was_started and not worker.is_running and not worker.was_asked_to_end:
        faults += _check_obituary(scene)
    if not scene.heals:
        return faults
    scene.proxy.clear()
    await scene.stage.mend()
    await scene.start()  # does nothing where it runs
    faults += await check_samples(scene)
    code, seconds = await scene.worker.terminate()
    if code != 0 or seconds > scene.within(END_WITHIN_S):
        faults.append(f"SIGTERM ended it with code {code} after {seconds:.1f} s")
    return faults


def _check_obituary(scene: Scene) -> Iterator[str]:
    code = scene.worker.exit_code()
    if code not in scene.end_codes:
        yield f"ended by itself with code {code}: {_last_line(scene)}"
    elif not _last_line(scene).startswith("pingboard: "):
        yield f"its last line is not a clear one: {_last_line(scene)}"


async def check_samples(scene: Scene) -> list[str]:
    """Nothing lost, nothing made up, nothing changed; waits for what is under way.

    Pings go on meanwhile. What is said while we look can't be asked for: of a busy room, read for
    seconds, some of the latest is always under way.
    """
    if not scene.short:
        await asyncio.to_thread(analyze, scene.homeservers[0])
    end = monotonic() + scene.settle_s
    due = await scene.truth() if scene.complete else {}
    while True:
        # The store first: what arrives between the two readings is in the truth alone.
        stored = scene.stored()
        truth = await scene.truth()
        wrong, lost = differences(due, stored, truth)
        if (not wrong and not lost) or monotonic() > end:
            break
        await asyncio.sleep(0.3)
    return [
        f"{len(keys)} of {len(truth)} samples {how}, for example {keys[0]}"
        for keys, how in ((wrong, "wrong"), (lost, "lost"))
        if keys
    ]


def check_log(scene: Scene, log: str) -> Iterator[str]:
    """No traceback, no secret and no user ID is in a log."""
    if match := TRACEBACK.search(log):
        yield f"a traceback in the log: {match[1][:300]}"
    if ACCESS_TOKEN in log or any(user.account.password in log for user in scene.stage.users):
        yield "a token or password in the log"
    if match := USER_ID.search(log):
        yield f"a user ID in the log: {_line_of(log, match.start())}"


def _check_privacy(scene: Scene) -> Iterator[str]:
    for file in scene.directory.glob("pingboard.db*"):
        content = file.read_bytes()
        if any(user.user_id.encode() in content for user in scene.stage.users):
            yield "a user ID in the database"
            break


def _last_line(scene: Scene) -> str:
    lines = scene.worker.log.splitlines()
    return lines[-1][:300] if lines else "(no log)"


def _line_of(text: str, position: int) -> str:
    return text[text.rfind("\n", 0, position) + 1 :].partition("\n")[0][:200]
