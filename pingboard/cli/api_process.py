"""The API as a process of its own beside the worker, as `run` has it.

An API under load would otherwise delay the worker's arrival stamps, and so move a rank. The child
inherits the listener; everything else it reads from the settings, as any `pingboard serve` does.
Its standard input is a pipe that ends with this process, however that ends, and it ends too.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pingboard.model import PingboardError

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import AsyncIterator, Coroutine, Mapping

    from pingboard.settings import Settings

STOP_TIMEOUT_S = 7.0
"""How long the API may take to end; both have 10 s in all."""


@contextlib.asynccontextmanager
async def api_process(
    settings: Settings, listener: socket.socket, variables: Mapping[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The API on the listener while the context lasts; `variables` are of its environment."""
    import asyncio
    import os
    import sys

    from pingboard.lab.process import LEASH

    # The rooms are the lab's where there is one; the rest is what we were told ourselves.
    environment = {**os.environ, "PINGBOARD_ROOMS": " ".join(settings.rooms), **variables}
    environment.pop("NOTIFY_SOCKET", None)  # the life that systemd watches is the worker's
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", str(LEASH)),
        *("pingboard", "serve", "--listener-fd", str(listener.fileno())),
        stdin=asyncio.subprocess.PIPE,
        pass_fds=[listener.fileno()],
        env=environment,
    )
    listener.close()
    try:
        yield process
    finally:
        await _end(process)


async def run_beside(work: Coroutine[None, None, None], api: asyncio.subprocess.Process) -> None:
    """Run the worker until it ends, or the API does: neither goes on without the other."""
    import asyncio

    from pingboard.cli.start import say

    working, serving = asyncio.ensure_future(work), asyncio.ensure_future(api.wait())
    try:
        await asyncio.wait({working, serving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise PingboardError(
                f"the API has ended with exit code {api.returncode}, so the worker is ended too"
            )
        say("pingboard: the worker has ended, so the API is ended too")
        await working
    finally:
        with contextlib.suppress(ProcessLookupError):
            api.terminate()  # now, to end at the same time as the worker
        working.cancel()
        serving.cancel()
        await asyncio.wait({working, serving})


async def _end(process: asyncio.subprocess.Process) -> None:
    import asyncio

    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
