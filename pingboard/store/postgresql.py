"""A PostgreSQL address -> an engine, by the rules of libpq, which knows several hosts."""

from __future__ import annotations

from math import ceil
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from sqlalchemy import URL, Engine, create_engine, event

from pingboard.model import ConfigurationError

Result = TypeVar("Result")

_DEFAULTS: dict[str, Any] = {
    # A server or a network that vanishes is noticed in 15 s, not in two hours.
    "connect_timeout": 10,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "application_name": "pingboard",
}
"""For libpq, unless the URL says otherwise."""


class _ImpatientConnection(psycopg.Connection[Any]):
    """A connection that ends where the server takes longer than `max_wait_s` for an answer.

    The system does not notice a server that hangs: it still takes what is sent.
    """

    max_wait_s: float | None = None

    def wait(
        self, gen: PQGen[Result], interval: float = 0.1, timeout: float | None = None
    ) -> Result:
        try:
            return super().wait(gen, interval, timeout or self.max_wait_s)
        except psycopg.OperationalError as error:
            if self.pgconn.transaction_status != TransactionStatus.ACTIVE:
                raise
            # Nobody waits for its answer any more, so nothing else can be asked on it.
            self.pgconn.finish()
            raise psycopg.OperationalError("the server does not answer in time") from error


def open_engine(rest: str, *, read_only: bool, max_wait_s: float | None, **options: Any) -> Engine:
    """Open what libpq understands: several hosts, `target_session_attrs`, a service.

    `max_wait_s` is as in engine; `options` are SQLAlchemy's.
    """
    defaults = {"connect_timeout": ceil(max_wait_s)} if max_wait_s else {}
    parameters = _DEFAULTS | defaults | _read_conninfo(f"postgresql://{rest}")

    def connect() -> psycopg.Connection[Any]:
        connection = _ImpatientConnection.connect(**parameters)
        connection.max_wait_s = max_wait_s
        return connection

    def set_up(connection: psycopg.Connection[Any], _record: object) -> None:
        if read_only:
            # Not as an option of the connection: to libpq the server would not be read-write.
            connection.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
            connection.commit()

    engine = create_engine(
        _render_parameters(parameters),
        creator=connect,
        pool_pre_ping=True,
        hide_parameters=True,
        **options,
    )
    event.listen(engine, "connect", set_up)
    return engine


def _read_conninfo(url: str) -> dict[str, Any]:
    """Return libpq's parameters of a URL; ConfigurationError, without a secret, for a wrong one."""
    try:
        parameters = conninfo_to_dict(url)
        hosts = str(parameters.get("host") or "").split(",")
        ports = str(parameters.get("port") or "").split(",")
        is_valid = not any("@" in host for host in hosts) and all(
            not port or (port.isdecimal() and 0 < int(port) <= 65535) for port in ports
        )
        is_valid &= len(ports) in (1, len(hosts))
    except psycopg.Error:
        is_valid = False
    if not is_valid:
        raise ConfigurationError(
            "PINGBOARD_DATABASE_URL: this PostgreSQL address can't be read; in a user name or "
            "password write @ as %40, : as %3A, / as %2F, # as %23, ? as %3F and % as %25, and a "
            "port is a number; for example postgresql://USER:PASSWORD@HOST:5432/NAME"
        )
    return parameters


def _render_parameters(parameters: dict[str, Any]) -> URL:
    """Return libpq's parameters as a URL that `open_engine` takes too."""
    rest = {name: str(value) for name, value in parameters.items()}
    return URL.create(
        "postgresql+psycopg",
        username=rest.pop("user", None),
        password=rest.pop("password", None),
        database=rest.pop("dbname", None),
        query=rest,
    )
