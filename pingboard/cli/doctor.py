"""`doctor`: what is wrong, in one line each with its remedy; reads only, also beside a worker."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pingboard.cli.open_database import opened
from pingboard.cli.output import without_user_ids
from pingboard.model import ConfigurationError, PingboardError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from datetime import datetime

    from pingboard.model.findings import Finding
    from pingboard.settings import Settings
    from pingboard.store.engine import Engine

WAL_FIXED = (3, 51, 3)
"""The first SQLite in which two connections that checkpoint at once can't corrupt a database."""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON: a list of findings.")] = False,
) -> None:
    """Say what is wrong with settings, database, account, rooms.

    One line each, with the remedy. Exit code 1 if anything is wrong. Runs beside a live worker.
    """
    from pingboard.model.findings import Verdict

    findings = [*_check_all()]
    _print(findings, as_json=as_json)
    if any(finding.verdict is Verdict.FAULT for finding in findings):
        raise typer.Exit(1)


def _print(findings: list[Finding], *, as_json: bool) -> None:
    import dataclasses
    import json

    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=1))
        return
    for finding in findings:
        typer.echo(without_user_ids(str(finding)))


def _check_all() -> Iterator[Finding]:
    from pingboard.model.findings import Finding, Verdict
    from pingboard.settings import load_settings

    yield from _check_certificates()
    try:
        settings = load_settings()
    except ConfigurationError as error:
        for line in str(error).splitlines():
            yield Finding(
                "settings", Verdict.FAULT, line, "correct it; .env.example describes each"
            )
        return
    yield from _check_settings(settings)
    with contextlib.ExitStack() as stack:
        engine = yield from _check_database(settings, stack)
        yield from _check_account(settings, engine)
        if engine is not None:
            yield from _check_worker(settings, engine)


def _check_settings(settings: Settings) -> Iterator[Finding]:
    import os

    from pingboard.model.findings import Finding, Verdict
    from pingboard.settings import ENV_FILE, read_env_file

    names = sorted(name for name in os.environ if name.startswith("PINGBOARD_"))
    from_file = sorted(name for name in read_env_file(ENV_FILE) if name.startswith("PINGBOARD_"))
    yield Finding(
        "settings",
        Verdict.OK,
        f"{len(names)} from the environment, {len(from_file)} from {ENV_FILE}",
    )
    hidden = [name for name in from_file if name in names]
    if hidden:
        yield Finding(
            "settings",
            Verdict.WARNING,
            f"{', '.join(hidden)} of {ENV_FILE}: the environment has it too, and wins",
            "keep one of the two",
        )
    secrets = [settings.access_token_file, settings.password_file, settings.database_url_file]
    for file in [ENV_FILE, *(Path(secret) for secret in secrets if secret is not None)]:
        # In a container's there is nobody else, and its user is not their owner.
        is_private = file.is_relative_to("/run/secrets")
        if file.exists() and file.stat().st_mode & 0o077 and not is_private:
            yield Finding("settings", Verdict.WARNING, f"{file}: others can read it", "chmod 600")


def _check_certificates() -> Iterator[Finding]:
    """Name a CA bundle that can't be used: TLS passes over it, and then trusts nobody."""
    import os
    import ssl

    from pingboard.model.findings import Finding, Verdict

    path = os.environ.get("SSL_CERT_FILE")
    if path is None:
        return
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:  # a missing file, or (SSLError) one without certificates
        yield Finding(
            "certificates",
            Verdict.FAULT,
            f"SSL_CERT_FILE: {path} can't be used: {error.strerror or error}",
            "name a file of CA certificates in PEM, or unset it to use the system's",
        )


def _check_database(
    settings: Settings, stack: contextlib.ExitStack
) -> Generator[Finding, None, Engine | None]:
    """Yield findings; return an engine that reads, or None where there is nothing to read."""
    from pingboard.model.findings import Finding, Verdict
    from pingboard.store.check import check_hours
    from pingboard.store.engine import describe_database, is_current

    try:
        engine = stack.enter_context(opened(settings.database_url, read_only=True))
        if not is_current(engine):
            yield Finding(
                "database",
                Verdict.WARNING,
                "there is none of this version",
                "it is made or upgraded at the next start, or by `pingboard db upgrade`",
            )
            return None
        described = describe_database(engine)
    except PingboardError as error:
        yield Finding("database", Verdict.FAULT, str(error))
        return None
    yield Finding("database", Verdict.OK, described.text)
    if described.sqlite_version is not None and described.sqlite_version < WAL_FIXED:
        yield Finding(
            "database",
            Verdict.OK,
            f"SQLite {'.'.join(map(str, described.sqlite_version))} has the WAL fault that "
            "3.51.3 corrects; pingboard writes through one process, which it does not hit",
        )
    yield check_hours(engine)
    return engine


def _check_account(settings: Settings, engine: Engine | None) -> Iterator[Finding]:
    import asyncio

    from pingboard.cli.worker import account_key, account_of
    from pingboard.matrix.check import AccountCheck
    from pingboard.model.findings import Finding, Verdict
    from pingboard.store.ingest import Ingest

    try:
        settings.require_account()
    except ConfigurationError as error:
        is_lab = settings.wants_lab
        verdict = Verdict.OK if is_lab else Verdict.FAULT
        text = "none is set: `pingboard run` brings a lab of its own" if is_lab else str(error)
        yield Finding("account", verdict, text)
        return
    account = account_of(settings)
    token = account.access_token
    if token is None and engine is not None:
        token = Ingest(engine, account_key(account)).saved_session().access_token
    check = AccountCheck(account.homeserver, token)
    has_password = account.password is not None
    asyncio.run(check.run(settings.rooms, settings.interval, has_password=has_password))
    yield from check.findings


def _check_worker(settings: Settings, engine: Engine) -> Iterator[Finding]:
    from datetime import UTC, datetime

    from fastapi_problem.error import Problem

    from pingboard.model import from_ts
    from pingboard.model.findings import Finding, Verdict
    from pingboard.store.lease import find_holder
    from pingboard.store.status import read_status
    from pingboard.web.worker_health import read_readiness

    now = datetime.now(UTC)
    holder = find_holder(engine)
    for worker in read_status(engine).workers:
        synced = "never" if worker.synced_ts is None else f"{from_ts(worker.synced_ts):%F %TZ}"
        yield Finding("worker", Verdict.OK, f"{worker.vantage}: {worker.state}, last sync {synced}")
    yield Finding(
        "worker",
        Verdict.OK if holder else Verdict.WARNING,
        f"{holder} holds the lease" if holder else "none runs: nobody holds the lease",
        "" if holder else "start `pingboard worker` or `pingboard run`",
    )
    yield from _check_bots(settings, engine, now)
    try:
        read_readiness(engine, now)
    except Problem as problem:
        reason = problem.extras.get("reason", "")
        yield Finding("readyz", Verdict.FAULT, f"503 {reason}: {problem.detail}")
    else:
        yield Finding("readyz", Verdict.OK, "200")


def _check_bots(settings: Settings, engine: Engine, now: datetime) -> Iterator[Finding]:
    from pingboard.boards import Boards
    from pingboard.model import BoardName, DamagedHourError, UnknownRoomError, Window
    from pingboard.model.findings import Finding, Verdict

    boards = Boards(engine)
    for room in settings.rooms:
        try:
            board = boards.board(BoardName.RECEPTION, Window.named("24h", now), now=now, room=room)
        except (UnknownRoomError, DamagedHourError):  # of which `hours` tells
            continue
        heard = len(board.standings)
        yield Finding(
            room,
            Verdict.OK if heard else Verdict.WARNING,
            f"bots of {heard} homeservers heard in the last 24 h",
            "" if heard else "bring an echo bot: `pingboard echo`, or maubot's",
        )
    boards.close()


def health() -> None:
    """Check that a command is alive, for containers.

    Exit code 1 if the command of this container or unit hangs, or its port does not answer. It
    looks into PINGBOARD_RUNTIME_DIR, where every command keeps its heartbeat.
    """
    from pingboard.cli.heartbeat import find_fault
    from pingboard.settings import load_settings

    settings = load_settings()
    if settings.runtime_dir is None:
        raise ConfigurationError(
            "PINGBOARD_RUNTIME_DIR is not set, for this command and for the one that it checks; "
            "for example PINGBOARD_RUNTIME_DIR=/run/pingboard"
        )
    fault = find_fault(settings.runtime_dir)
    if fault is not None:
        typer.echo(f"pingboard: {fault}", err=True)
        sys.exit(1)
