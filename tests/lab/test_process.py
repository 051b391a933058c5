import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from faults.claims import until
from pingboard.lab import LabError
from pingboard.lab.process import ChildProcess
from tests.commands import is_alive

READY = "from pathlib import Path; Path('ready').touch()\n"


class Script(ChildProcess):
    """Ready when its script has made the file `ready`."""

    ready_timeout_s = 20.0
    grace_s = 0.2

    def __init__(self, directory: Path, code: str) -> None:
        file = directory / "script.py"
        file.write_text(code)
        self._ready_file = directory / "ready"
        self.progress: list[str] = []
        super().__init__(
            "script",
            (str(file), "argument"),
            directory=directory,
            on_progress=self.progress.append,
            environment={"PINGBOARD_USER": "@echo:hs1"},
        )

    async def is_ready(self) -> bool:
        return self._ready_file.exists()


MakeScript = Callable[[str], Script]


@pytest.fixture
async def make_script(tmp_path: Path) -> AsyncIterator[MakeScript]:
    scripts: list[Script] = []

    def make(code: str) -> Script:
        scripts.append(Script(tmp_path, code))
        return scripts[-1]

    yield make
    for script in scripts:
        await script.kill()


async def test_a_child_gets_its_arguments_and_its_environment_alone(
    make_script: MakeScript, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PINGBOARD_PASSWORD", "secret of the parent")
    monkeypatch.setenv("LANG", "C.UTF-8")
    script = make_script(
        "import os, sys, time\n"
        "print(sys.argv[1:], os.environ['LANG'], flush=True)\n"
        "print({n: v for n, v in os.environ.items() if n.startswith('PINGBOARD')}, flush=True)\n"
        f"{READY}time.sleep(60)"
    )
    await script.start()
    assert script.log_file.read_text() == (
        "['argument'] C.UTF-8\n{'PINGBOARD_USER': '@echo:hs1'}\n"
    )


async def test_a_child_can_be_a_module(tmp_path: Path) -> None:
    class Module(ChildProcess):
        async def is_ready(self) -> bool:
            return False

    module = Module("json", ("json.tool", "-h"), directory=tmp_path, on_progress=print)
    with pytest.raises(LabError, match="json has ended with exit code 0; its log ends with"):
        await module.start()
    assert module.log_file.read_text().startswith("usage: ")


async def test_a_death_at_the_start_is_reported_with_the_last_lines(
    make_script: MakeScript,
) -> None:
    script = make_script("for n in range(40): print('line', n)\nraise SystemExit(3)")
    with pytest.raises(LabError) as told:
        await script.start()
    lines = str(told.value).splitlines()
    assert lines[0] == "script has ended with exit code 3; its log ends with"
    assert lines[1:] == [f"    line {number}" for number in range(25, 40)]


async def test_a_silent_death_is_reported_too(make_script: MakeScript) -> None:
    script = make_script("import os; os.kill(os.getpid(), 9)")
    with pytest.raises(LabError, match="script has ended by signal 9; its log is empty"):
        await script.start()


async def test_a_child_that_never_gets_ready_is_given_up(make_script: MakeScript) -> None:
    script = make_script("import time; time.sleep(60)")
    script.ready_timeout_s = 0.2
    with pytest.raises(LabError, match=r"script is not ready after 0\.2 s; its log is empty"):
        await script.start()


async def test_a_later_death_is_reported(make_script: MakeScript) -> None:
    script = make_script(
        "import signal, time; signal.signal(signal.SIGUSR1, lambda *_: 1 / 0)\n"
        f"{READY}time.sleep(60)"
    )
    await script.start()
    os.kill(script.pid, signal.SIGUSR1)
    await until(lambda: bool(script.progress))
    assert script.progress[0].startswith("script has ended with exit code 1; its log ends with\n")
    assert script.progress[0].endswith("\n    ZeroDivisionError: division by zero")
    with pytest.raises(LabError, match="script is not running"):
        await script.pause()


async def test_an_end_that_was_asked_for_is_not_reported(make_script: MakeScript) -> None:
    script = make_script(f"{READY}import time; time.sleep(60)")
    await script.start()
    await script.stop()
    await script.stop()
    assert script.progress == []


async def test_a_child_is_started_once_and_again_after_its_end(make_script: MakeScript) -> None:
    script = make_script(f"{READY}import time; time.sleep(60)")
    await script.start()
    first = script.pid
    await script.start()
    assert script.pid == first
    await script.kill()
    await script.start()
    assert script.pid != first


@pytest.mark.parametrize("how", [Script.stop, Script.kill])
async def test_a_paused_child_can_be_ended(
    make_script: MakeScript, how: Callable[[Script], Awaitable[None]]
) -> None:
    script = make_script(f"{READY}import time; time.sleep(60)")
    await script.start()
    pid = script.pid
    await script.pause()
    await how(script)
    assert not is_alive(pid)


async def test_a_child_that_ignores_sigterm_is_killed(make_script: MakeScript) -> None:
    script = make_script(
        f"import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{READY}time.sleep(60)"
    )
    await script.start()
    pid = script.pid
    await script.stop()
    assert not is_alive(pid)


async def test_a_child_is_out_of_reach_of_the_terminals_ctrl_c(make_script: MakeScript) -> None:
    script = make_script(f"{READY}import time; time.sleep(60)")
    await script.start()
    assert os.getpgid(script.pid) == script.pid
