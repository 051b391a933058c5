import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from faults.user import User
from pingboard.lab import Lab, LabError
from pingboard.model import ConfigurationError
from tests.lab.conftest import Client


async def test_every_homeserver_answers_a_ping_within_a_bound(lab: Lab, owner: Client) -> None:
    ping = await owner.send_ping()
    everybody = {homeserver.server_name for homeserver in lab.homeservers}
    assert await owner.answers(ping, 2) == everybody


def test_names_are_readable(lab: Lab) -> None:
    first = lab.homeservers[0]
    assert first.name == "hs1"
    assert first.server_name.startswith("hs1.localhost:")
    assert lab.room_alias == f"#ping:{first.server_name}"


async def test_a_delay_on_a_link_moves_the_round_trip(lab: Lab, owner: Client) -> None:
    hs1, hs2 = (homeserver.server_name for homeserver in lab.homeservers)
    lab.network.delay("hs2", 2.0)
    try:
        seconds = await owner.seconds_to_pongs(hs1, hs2)
    finally:
        lab.network.delay("hs2", 0)
    assert seconds[hs2] >= 4.0
    assert seconds[hs1] < seconds[hs2]


async def test_a_held_link_delivers_after_its_release(lab: Lab, owner: Client) -> None:
    hs1, hs2 = (homeserver.server_name for homeserver in lab.homeservers)
    lab.network.hold("hs2")
    try:
        ping = await owner.send_ping()
        assert await owner.answers(ping, 1) == {hs1}
        assert await owner.answers(ping, 2, within_s=0.5) == {hs1}
    finally:
        lab.network.release("hs2")
    assert await owner.answers(ping, 2) == {hs1, hs2}


async def test_a_paused_homeserver_delivers_after_it_resumes(lab: Lab, owner: Client) -> None:
    hs1, hs2 = (homeserver.server_name for homeserver in lab.homeservers)
    await lab.homeservers[1].pause()
    try:
        ping = await owner.send_ping()
        assert await owner.answers(ping, 1) == {hs1}
        assert await owner.answers(ping, 2, within_s=0.5) == {hs1}
    finally:
        await lab.homeservers[1].resume()
    assert await owner.answers(ping, 2) == {hs1, hs2}


async def test_an_account_can_log_in_with_its_password(
    lab: Lab, http: aiohttp.ClientSession
) -> None:
    account = await lab.register(lab.homeservers[1], "alice")
    assert account.user_id == f"@alice:{lab.homeservers[1].server_name}"
    login = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": account.user_id},
        "password": account.password,
    }
    await User(http, account).call("POST", "login", login)


async def test_a_localpart_can_be_registered_once(lab: Lab) -> None:
    with pytest.raises(LabError, match="can't register 'echo': User ID already taken"):
        await lab.register(lab.homeservers[0], "echo")


def test_secrets_do_not_show(lab: Lab) -> None:
    assert lab.owner.access_token not in repr(lab.owner)
    assert lab.owner.password not in repr(lab.owner)


@pytest.fixture(scope="module")
async def other_lab() -> AsyncIterator[Lab]:
    """The other choices: delays, no bots."""
    async with Lab(servers=2, delays={"hs2": 0.1}, echo=False) as lab:
        yield lab


async def test_a_delayed_homeserver_is_slow_to_join(
    other_lab: Lab, http: aiohttp.ClientSession
) -> None:
    account = await other_lab.register(other_lab.homeservers[1], "alice")
    user = User(http, account)
    clock = asyncio.get_running_loop().time
    begin = clock()
    await user.join(other_lab.room_alias)
    # The alias, make_join and send_join: three requests, each there and back.
    assert clock() - begin >= 3 * 2 * 0.1


async def test_a_killed_homeserver_comes_back_as_it_was(
    other_lab: Lab, http: aiohttp.ClientSession
) -> None:
    homeserver = other_lab.homeservers[0]
    await homeserver.kill()
    with pytest.raises(LabError, match="hs1 is not running"):
        _ = homeserver.pid
    with pytest.raises(LabError, match="can't register 'late' on hs1"):
        await other_lab.register(homeserver, "late")
    await homeserver.start()
    await User(http, other_lab.owner).call("GET", "account/whoami")


async def test_a_bot_that_does_not_come_up_is_reported_with_its_log(tmp_path: Path) -> None:
    bot = tmp_path / "bot.py"
    bot.write_text("raise SystemExit('no such room')")
    with pytest.raises(LabError, match=r"echo-hs1 has ended with exit code 1(.|\n)*no such room"):
        async with Lab(servers=1, echo_command=(str(bot),)):
            pass


def test_an_unknown_name_in_the_delays_is_refused() -> None:
    with pytest.raises(LabError, match="no homeserver 'hs4' in this lab; there are hs1, hs2, hs3"):
        Lab(delays={"hs4": 0.1})


@pytest.mark.parametrize("seconds", [-0.1, float("nan"), float("inf")])
def test_an_impossible_delay_is_refused(seconds: float) -> None:
    with pytest.raises(LabError, match="a delay is a number of seconds"):
        Lab(delays={"hs1": seconds})


async def test_a_missing_synapse_is_reported_with_the_way_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "synapse", None)  # Python's way to say: not installed
    with pytest.raises(ConfigurationError, match=r"pip install matrix-synapse$"):
        async with Lab():
            pass


def test_a_lab_without_homeservers_is_refused() -> None:
    with pytest.raises(LabError, match="at least 1 homeserver, not 0"):
        Lab(servers=0)
