"""A homeserver's configuration: in come its names and ports, out go the files that Synapse reads.

Written as JSON, which is YAML too. What each option is for: Synapse's configuration manual.
"""

import base64
import datetime
import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pingboard.lab.proxy import LOOPBACK

_UNLIMITED = {"per_second": 100_000, "burst_count": 100_000}
_NO_LIMITS: dict[str, Any] = {
    "rc_message": _UNLIMITED,
    "rc_registration": _UNLIMITED,
    "rc_login": {
        "address": _UNLIMITED,
        "account": _UNLIMITED,
        "failed_attempts": _UNLIMITED,
    },
    "rc_admin_redaction": _UNLIMITED,
    "rc_joins": {"local": _UNLIMITED, "remote": _UNLIMITED},
    "rc_joins_per_room": _UNLIMITED,
    "rc_invites": {
        "per_room": _UNLIMITED,
        "per_user": _UNLIMITED,
        "per_issuer": _UNLIMITED,
    },
    "rc_room_creation": _UNLIMITED,
    "rc_profile": _UNLIMITED,
    "rc_federation": {"sleep_limit": 100_000, "reject_limit": 100_000, "concurrent": 100},
    # A homeserver that was down is tried again within a second or two, not after minutes.
    "federation": {
        "max_long_retry_delay": "1s",
        "destination_min_retry_interval": "1s",
        "destination_retry_multiplier": 1,
        "destination_max_retry_interval": "2s",
    },
    # The same sync twice is computed twice, so that a restarted client sees what is new.
    "caches": {"sync_response_cache_duration": "0s"},
}


@dataclass(frozen=True, slots=True)
class SynapseConfig:
    """What differs between the lab's homeservers."""

    server_name: str
    client_port: int
    federation_port: int
    proxy_url: str
    certificate: Path
    shared_secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    """with it accounts are registered"""

    def write(self, directory: Path) -> Path:
        """Write it to a new directory; the file to start Synapse with."""
        directory.mkdir()
        log_config = directory / "log.yaml"
        log_config.write_text(json.dumps(_LOG_CONFIG))
        file = directory / "homeserver.yaml"
        file.touch(mode=0o600)
        options = self._options(directory) | {"log_config": str(log_config)}
        file.write_text(json.dumps(options, indent=1))
        return file

    def _options(self, directory: Path) -> dict[str, Any]:
        return {
            "server_name": self.server_name,
            "report_stats": False,
            "database": {"name": "sqlite3", "args": {"database": str(directory / "synapse.db")}},
            "media_store_path": str(directory / "media"),
            "pid_file": str(directory / "synapse.pid"),
            **self._secrets(),
            **self._loopback_federation(),
            **_SMALL,
            **_NO_LIMITS,
        }

    def _secrets(self) -> dict[str, Any]:
        return {
            "signing_key": f"ed25519 a_lab {_unpadded_base64(secrets.token_bytes(32))}",
            "registration_shared_secret": self.shared_secret,
            "macaroon_secret_key": secrets.token_urlsafe(32),
            "form_secret": secrets.token_urlsafe(32),
        }

    def _loopback_federation(self) -> dict[str, Any]:
        return {
            # Federation first: when the client port answers, the other one does too.
            "listeners": [
                _listener(self.federation_port, "federation", tls=True),
                _listener(self.client_port, "client", tls=False),
            ],
            "tls_certificate_path": str(self.certificate),
            "tls_private_key_path": str(self.certificate),
            "federation_verify_certificates": False,
            "https_proxy": self.proxy_url,
            "no_proxy_hosts": [],
            "ip_range_blacklist": [],
            "federation_ip_range_blacklist": [],
            "trusted_key_servers": [],
            "suppress_key_server_warning": True,
        }


_SMALL: dict[str, Any] = {
    "presence": {"enabled": False},
    "bcrypt_rounds": 4,
    "enable_media_repo": False,
    "url_preview_enabled": False,
    "user_directory": {"enabled": False},
}

_LOG_CONFIG: dict[str, Any] = {
    "version": 1,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    # At INFO Synapse writes some lines for every request: a lab that runs for days fills the disk.
    "root": {"level": "WARNING", "handlers": ["stderr"]},
    "disable_existing_loggers": False,
}


def _listener(port: int, resource: str, *, tls: bool) -> dict[str, Any]:
    return {
        "port": port,
        "type": "http",
        "tls": tls,
        "bind_addresses": [LOOPBACK],
        "resources": [{"names": [resource], "compress": False}],
    }


def _unpadded_base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii").rstrip("=")


def write_certificate(directory: Path) -> Path:
    """Make a self-signed certificate with its key, one file, for all homeservers of a lab."""
    # Not at the top: cryptography comes with the extra `lab`.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pingboard lab")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    file = directory / "federation.pem"
    file.touch(mode=0o600)
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return file
