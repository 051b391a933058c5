"""One homeserver of the lab: a Synapse with its own database, ports and keys."""

import importlib.util
from pathlib import Path

import aiohttp

from pingboard.lab.config import SynapseConfig
from pingboard.lab.process import ChildProcess, OnProgress
from pingboard.lab.proxy import LOOPBACK
from pingboard.lab.synapse_api import LabAccount, register_account
from pingboard.model import ConfigurationError, LabError

SYNAPSE = "synapse.app.homeserver"


def require_synapse() -> None:
    """Raise ConfigurationError that says how to install Synapse, unless it is."""
    if importlib.util.find_spec("synapse") is None:
        raise ConfigurationError(
            "no account is set (PINGBOARD_HOMESERVER, PINGBOARD_ACCESS_TOKEN, PINGBOARD_ROOMS), "
            "and a lab instead needs Synapse: pip install matrix-synapse"
        )


class Homeserver(ChildProcess):
    """A Synapse. `name` is for people and the network ("hs1"), `server_name` is Matrix's."""

    def __init__(
        self,
        name: str,
        config: SynapseConfig,
        *,
        directory: Path,
        http: aiohttp.ClientSession,
        on_progress: OnProgress,
    ) -> None:
        file = config.write(directory / name)
        super().__init__(
            name, (SYNAPSE, "-c", str(file)), directory=directory, on_progress=on_progress
        )
        self.server_name = config.server_name
        self.url = f"http://{LOOPBACK}:{config.client_port}"
        self._shared_secret = config.shared_secret
        self._http = http

    async def is_ready(self) -> bool:
        try:
            async with self._http.get(f"{self.url}/health") as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def register(self, localpart: str) -> LabAccount:
        """Make an account here."""
        try:
            return await register_account(self._http, self.url, self._shared_secret, localpart)
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = str(error) or "no answer"
            raise LabError(f"can't register {localpart!r} on {self.name}: {reason}") from error
