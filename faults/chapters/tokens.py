"""Homeserver and network: the login is refused, ends, or expires."""

from __future__ import annotations

from time import monotonic

from faults.case import case
from faults.claims import expect, until
from faults.faultproxy import answer
from faults.scene import Scene

UNKNOWN_TOKEN = {"errcode": "M_UNKNOWN_TOKEN", "error": "Unknown token", "soft_logout": False}


@case(4, "Hard 401", "ends within 10 s with a code of its own, /readyz says so")
async def refused(scene: Scene) -> str:
    await scene.start()
    scene.end_codes = frozenset(range(2, 100))
    begin = monotonic()
    scene.proxy.inject("/", answer(401, UNKNOWN_TOKEN))
    # A sync that is held open by the homeserver is answered when something happens.
    await scene.exchange(1)
    code = await scene.worker.end(scene.within(10))
    expect(code not in (0, 1), f"ended with code {code}, which has other meanings")
    seconds = monotonic() - begin
    await scene.expect_readiness("auth")
    return f"code {code} after {seconds:.1f} s, /readyz says auth"


@case(5, "Soft logout", "one new login, same device", short=False)
async def soft_logout(scene: Scene) -> str:
    await _start_with_password(scene)
    device = _device(scene)
    scene.proxy.inject("/sync", answer(401, {**UNKNOWN_TOKEN, "soft_logout": True}), times=1)
    await scene.exchange(1)
    await _logged_in_again(scene)
    return _expect_one_login(scene, device)


@case(6, "Expired token, with a password", "one new login, nothing lost", short=False)
async def expired(scene: Scene) -> str:
    await _start_with_password(scene)
    await scene.has_more(1, scene.within(20))
    device, token = _device(scene), _token(scene)
    async with scene.stage.http.post(
        f"{scene.homeservers[0].url}/_matrix/client/v3/logout",
        headers={"Authorization": f"Bearer {token}"},
        json={},
    ) as response:
        expect(response.status == 200, "the token could not be ended")
    await scene.exchange(3)
    await _logged_in_again(scene)
    expect(token not in scene.worker.log, "the token is in the log")
    return _expect_one_login(scene, device)


@case(10, "First sync fails with a saved token", "the token is kept")
async def saved_token(scene: Scene) -> str:
    await scene.start()
    await scene.has_more(1, scene.within(20))
    await scene.worker.terminate()
    scene.proxy.inject("/sync", answer(500, {"errcode": "M_UNKNOWN", "error": "no"}), times=3)
    begin = monotonic()
    await scene.exchange(3)
    await scene.start()
    await until(
        lambda: scene.proxy.count("sync", begin) > 3, scene.within(30), "no sync after three errors"
    )
    first = scene.proxy.asked("sync", begin)[:4]
    expect(all("since=" in request.path for request in first), "a sync without the saved token")
    return f"{len(first)} syncs, all from the saved token"


async def _start_with_password(scene: Scene) -> None:
    await scene.start(ACCESS_TOKEN=None, PASSWORD=scene.account.account.password)


def _device(scene: Scene) -> object:
    return scene.database.query("SELECT device_id FROM session")[0][0]


def _token(scene: Scene) -> str:
    return str(scene.database.query("SELECT access_token FROM session")[0][0])


async def _logged_in_again(scene: Scene) -> None:
    # A worker may also end, and be started again by whoever looks after it.
    await until(lambda: count_logins(scene) >= 2, scene.within(40), "no second login")
    await scene.has_more(1, scene.within(30))


def count_logins(scene: Scene) -> int:
    """How many logins were tried; the kinds that there are are asked for too."""
    return sum(request.method == "POST" for request in scene.proxy.asked("login"))


def _expect_one_login(scene: Scene, device: object) -> str:
    logins = count_logins(scene)
    expect(logins == 2, f"{logins} logins")
    expect(_device(scene) == device, "another device")
    return f"{logins - 1} login, the same device"
