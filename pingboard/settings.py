"""PINGBOARD_* variables, `.env` and secret files -> Settings. Only here is a setting read.

To add a setting, add a field to Settings and a line to `.env.example`; nothing else lists them.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    InstanceOf,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from pingboard.edition_schedule import Schedule, parse_schedule
from pingboard.model import ConfigurationError, hide_password, is_vantage, parse_duration
from pingboard.servername import is_server_name, server_of

ENV_FILE = Path(".env")

_PREFIX = "PINGBOARD_"
_SECRETS = ("access_token", "password", "database_url")
_ASSIGNMENT = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*(=?)(.*)", re.DOTALL)


def _duration(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _schedule(value: object) -> object:
    return parse_schedule(value) if isinstance(value, str) else value


def _split(value: object) -> object:
    return value.replace(",", " ").split() if isinstance(value, str) else value


def _check_address(value: str) -> str:
    if value not in ("", "*") and not _is_http_address(value):
        raise ValueError(f"{value!r} names a host or a port that is not possible")
    return value


Origin = Annotated[
    str,
    Field(pattern=r"^(\*|https?://[A-Za-z0-9.-]+(:\d{1,5})?)$"),
    AfterValidator(_check_address),
]


class Settings(BaseSettings):
    """What pingboard is told; `require_account` says whether that is enough for an account."""

    model_config = SettingsConfigDict(
        frozen=True,
        env_prefix=_PREFIX,
        env_ignore_empty=True,
        enable_decoding=False,  # lists are split by _split, not read as JSON
    )

    homeserver: str | None = Field(
        None,
        description="the account's homeserver: its server name, or the address that clients use",
        examples=["example.org"],
    )
    user: str | None = Field(
        None, description="the account's user ID", examples=["@pingboard:example.org"]
    )
    access_token: SecretStr | None = Field(
        None, description="the account's access token", examples=["syt_..."]
    )
    access_token_file: Path | None = Field(
        None, description="a file that holds it", examples=["/run/secrets/access_token"]
    )
    password: SecretStr | None = Field(
        None,
        description="instead of the token: logs in once and keeps the token in the database",
        examples=["correct-horse-battery-staple"],
    )
    password_file: Path | None = Field(
        None, description="a file that holds it", examples=["/run/secrets/password"]
    )
    rooms: Annotated[tuple[str, ...], BeforeValidator(_split)] = Field(
        (),
        description="aliases or IDs of the ping rooms, separated by spaces or commas; "
        "the first is the default room",
        examples=["#ping:maunium.net"],
    )
    interval: Annotated[timedelta, BeforeValidator(_duration)] = Field(
        timedelta(minutes=5),
        ge=timedelta(seconds=1),
        le=timedelta(days=1),
        description="from one ping to the next, with jitter; below 5s only on one's own server",
        examples=["5m"],
    )
    backfill: Annotated[timedelta, BeforeValidator(_duration)] = Field(
        timedelta(days=7),
        ge=timedelta(0),
        le=timedelta(days=365),
        description="how much of a room's history before the first start is imported",
        examples=["7d"],
    )
    vantage: str = Field(
        "main",
        description="a name for the place that this worker pings from",
        examples=["frankfurt"],
    )
    database_url: str = Field(
        "sqlite:///pingboard.db",
        description="where samples are kept: sqlite:///FILE or postgresql://USER:PW@HOST/NAME",
        examples=["sqlite:///pingboard.db"],
    )
    database_url_file: Path | None = Field(
        None, description="a file that holds it", examples=["/run/secrets/database_url"]
    )
    retention: Annotated[timedelta | None, BeforeValidator(_duration)] = Field(
        None,
        ge=timedelta(days=14),
        description="how long raw samples are kept; boards stay exact without; left out, for ever",
        examples=["400d"],
    )
    migrate: bool = Field(
        True, description="bring the database's tables up to date at start", examples=["true"]
    )
    host: str = Field("127.0.0.1", description="address to serve on", examples=["0.0.0.0"])
    port: int = Field(
        8080, ge=0, le=65535, description="port to serve on; 0 takes a free one", examples=["8080"]
    )
    public_url: Annotated[
        str,
        Field(pattern=r"^$|^https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?/?$"),
        AfterValidator(_check_address),
    ] = Field(
        "",
        description="the site's address as others see it, without a path (that is "
        "PINGBOARD_ROOT_PATH); left out, links name the host that was asked for",
        examples=["https://ping.example.org"],
    )
    root_path: str = Field(
        "",
        pattern=r"^(/[A-Za-z0-9._~-]+)*$",
        description="path prefix below which a reverse proxy shows the site",
        examples=["/ping"],
    )
    forwarded_allow_ips: str = Field(
        "127.0.0.1",
        description="reverse proxies whose X-Forwarded-For is believed: addresses or networks, "
        "separated by commas, or *",
        examples=["10.0.0.0/8"],
    )
    rate_limit: int = Field(
        120,
        ge=0,
        le=1_000_000,
        description="units of work a minute for each client, of which an answer that is not in the "
        "cache costs one or more; 0 for no limit",
        examples=["120"],
    )
    embed_origins: Annotated[tuple[Origin, ...], BeforeValidator(_split)] = Field(
        (),
        description="sites that may show /embed in a frame, separated by spaces; * is all",
        examples=["https://blog.example"],
    )
    contact: str = Field(
        "",
        pattern=r"^$|^@[^\s:]+:\S+$|^[^\s@]+@[^\s@]+$|^https?://\S+$",
        description="who runs the site: a Matrix user ID, an e-mail address or a web page; "
        "shown on every page",
        examples=["@alice:example.org"],
    )
    data_licence: str = Field(
        "",
        description="the licence of the data, shown on every page: its name, "
        "and its address behind it if it has one",
        examples=["CC0-1.0 https://creativecommons.org/publicdomain/zero/1.0/"],
    )
    source_url: str = Field(
        "",
        pattern=r"^$|^https?://[^\s@#?]+$",
        description="where pingboard's Git repository is, for a link on every page and for the "
        "command on /join that installs it; left out, what the package says",
        examples=["https://git.example.org/pingboard"],
    )
    title: str | None = Field(
        None,
        description="heading of the section for This Week in Matrix",
        examples=["Dept of Ping"],
    )
    intro: str | None = Field(
        None,
        description="its first sentences, Markdown",
        examples=["The fastest homeservers of this week:"],
    )
    invitation: str | None = Field(
        None,
        description="the sentence that invites to a room, Markdown; {room} is the room's link",
        examples=["Join {room} to play along."],
    )
    edition: Annotated[InstanceOf[Schedule] | None, BeforeValidator(_schedule)] = Field(
        Schedule(),
        description="when the boards of the past week are frozen as an edition; off makes none",
        examples=["Friday 12:00 UTC"],
    )
    commands: bool = Field(True, description="answer !pingboard in the room", examples=["true"])
    announce: bool = Field(
        False, description="announce each edition's fastest in the room", examples=["true"]
    )
    runtime_dir: Path | None = Field(
        None,
        description="a folder for heartbeats, at which `pingboard health` looks",
        examples=["/run/pingboard"],
    )
    log_format: Literal["text", "json"] = Field(
        "text",
        description="how the log is written: text, or json (an object a line)",
        examples=["json"],
    )
    log_level: str = Field(
        "INFO",
        pattern="(?i)^(debug|info|warning|error)$",
        examples=["INFO"],
        description="DEBUG, INFO, WARNING or ERROR",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del init_settings, dotenv_settings, file_secret_settings
        return env_settings, _EnvFileSource(settings_cls)

    @field_validator("homeserver")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        if value is None or is_server_name(value):
            return value
        if "@" in value:  # what stands before it may be a password, so it isn't shown
            raise ValueError(
                "it has an '@'; name the homeserver alone, its account is for "
                "PINGBOARD_USER and PINGBOARD_PASSWORD"
            )
        if not _is_http_address(value):
            raise ValueError(
                f"{value!r} is neither a server name nor an http:// or https:// address"
            )
        return value.rstrip("/")

    @field_validator("forwarded_allow_ips")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        for part in value.split(","):
            if part.strip() == "*":
                continue
            try:
                ip_network(part.strip())
            except ValueError as error:
                raise ValueError(
                    f"{part.strip()!r} is not an IP address, a network or * ({error})"
                ) from None
        return value

    @field_validator("vantage")
    @classmethod
    def _is_vantage(cls, value: str) -> str:
        if not is_vantage(value):
            raise ValueError("it is longer than 255 characters, or has some that can't be shown")
        return value

    @field_validator("user")
    @classmethod
    def _is_user_id(cls, value: str | None) -> str | None:
        if value is not None and server_of(value) is None:
            raise ValueError(f"{value!r} is not a user ID (@name:homeserver)")
        return value

    @field_validator("rooms")
    @classmethod
    def _are_rooms(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for room in value:
            alias = room.startswith("#") and is_server_name(room.partition(":")[2])
            if not alias and not (room.startswith("!") and len(room) > 1):
                raise ValueError(
                    f"{room!r} is neither a room alias (#name:homeserver) nor a room ID"
                )
        return value

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        for name in _SECRETS:
            file = values.get(f"{name}_file")
            if not file:
                continue
            variable = f"{_PREFIX}{name.upper()}"
            if values.get(name):
                raise ValueError(f"{variable} and {variable}_FILE are both set; keep one")
            try:
                secret = Path(file).read_text(encoding="utf-8-sig").strip()
            except (OSError, ValueError) as error:
                raise ValueError(f"{variable}_FILE: {str(file)!r} can't be read: {error}") from None
            if not secret:
                raise ValueError(f"{variable}_FILE: {str(file)!r} is empty")
            values[name] = secret
        return values

    @model_validator(mode="after")
    def _has_a_user_for_its_password(self) -> Self:
        if self.homeserver and self.password and not self.access_token and not self.user:
            raise ValueError(
                "PINGBOARD_USER is not set, and a password needs it; "
                "for example PINGBOARD_USER=@pingboard:example.org"
            )
        return self

    @property
    def wants_lab(self) -> bool:
        """Whether nothing of an account is set, so that `run` brings its own homeservers."""
        return not (self.homeserver or self.user or self.access_token or self.password)

    def require_account(self) -> None:
        """Raise ConfigurationError that names the variable which an account still needs."""
        if not self.homeserver:
            raise _missing("homeserver")
        if not self.access_token and not self.password:
            raise ConfigurationError(
                "PINGBOARD_ACCESS_TOKEN and PINGBOARD_PASSWORD are not set, one is needed; "
                "for example PINGBOARD_ACCESS_TOKEN=syt_..."
            )
        if not self.rooms:
            raise _missing("rooms")


def _missing(name: str) -> ConfigurationError:
    return ConfigurationError(f"{_PREFIX}{name.upper()} is not set; {_example(name)}")


def _example(name: str) -> str:
    examples = Settings.model_fields[name].examples or [""]
    return f"for example {_PREFIX}{name.upper()}={examples[0]}"


class _EnvFileSource(PydanticBaseSettingsSource):
    """The variables of `.env` as pydantic-settings takes them.

    Its own source reads a value up to ` #` and replaces `${...}`, which cuts room aliases and
    passwords.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 (abstract in the base)
        return None, field_name, False  # only __call__ is asked

    def __call__(self) -> dict[str, Any]:
        return {
            name.removeprefix(_PREFIX).lower(): value
            for name, value in read_env_file(ENV_FILE).items()
            # A variable wins, also over a file that is named for the same secret.
            if name.startswith(_PREFIX) and value and not os.environ.get(_other_form(name))
        }


def _other_form(name: str) -> str:
    """Return the variable that names a file where `name` is the value, and the other way round."""
    return name.removesuffix("_FILE") if name.endswith("_FILE") else f"{name}_FILE"


def read_env_file(path: Path) -> dict[str, str]:
    """Return the variables of a file of `NAME=value` lines, each value as it is written.

    A `#` begins a comment only where it begins a line; quotes around a whole value are taken off.
    An absent file has none. Raises ConfigurationError with file and line for what can't be read;
    never with the value, which may be a secret.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read: {error.strerror or error}") from None
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigurationError(f"{path}, line 1: the file is UTF-16; save it as UTF-8")
    variables: dict[str, str] = {}
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        try:
            _read_assignment(line.decode().strip(), variables)
        except UnicodeDecodeError:
            raise ConfigurationError(
                f"{path}, line {number}: it is not UTF-8; save the file as UTF-8"
            ) from None
        except ValueError as error:
            raise ConfigurationError(f"{path}, line {number}: {error}") from None
    return variables


def _read_assignment(line: str, variables: dict[str, str]) -> None:
    """Add the variable of a line; one that is empty or a comment has none."""
    if not line or line.startswith("#"):
        return
    match = _ASSIGNMENT.fullmatch(line)
    if match is None:
        raise ValueError("it does not have the form NAME=value")
    name, equals, value = match[1], match[2], match[3].strip()
    shown = _show(name)
    if not equals:
        raise ValueError(f"{shown} is not followed by '='; write {shown}=value")
    if "\0" in value:
        raise ValueError(f"the value of {shown} has a NUL byte")
    if value[:1] in ("'", '"'):
        if len(value) < 2 or value[-1] != value[0]:
            raise ValueError(f"the value of {shown} begins with a quote that does not end it")
        value = value[1:-1]
    if name in variables:
        raise ValueError(f"{shown} is there a second time; keep one")
    variables[name] = value


def _show(name: str) -> str:
    """Return a name, unless it may be a secret that was wrapped onto a line of its own."""
    return name if name.upper().startswith(_PREFIX) else "NAME"


def load_settings() -> Settings:
    """Return the settings of this process; raise ConfigurationError, a line for each fault."""
    from_file = read_env_file(ENV_FILE)
    _refuse_unknown(from_file)
    try:
        return Settings()
    except ValidationError as error:
        given = from_file | {name: value for name, value in os.environ.items() if value}
        raise ConfigurationError(
            "\n".join(_describe(fault, given) for fault in error.errors(include_url=False))
        ) from None


def _refuse_unknown(from_file: Mapping[str, str]) -> None:
    """Raise ConfigurationError for a name that is no setting: a typo must not pass silently.

    `PINGBOARD_TEST_*` belongs to the tests.
    """
    known = {f"{_PREFIX}{name.upper()}" for name in Settings.model_fields}
    for name in sorted({*from_file, *os.environ} - known):
        if name.startswith("PINGBOARD_TEST_") or not _is_meant_for_us(name, from_file, known):
            continue
        close = difflib.get_close_matches(name.upper(), known, 1)
        hint = f"did you mean {close[0]}?" if close else "see .env.example for those there are"
        where = "" if name in os.environ else f" ({ENV_FILE})"
        raise ConfigurationError(f"{name}{where} is not a pingboard setting; {hint}")


def _is_meant_for_us(name: str, from_file: Mapping[str, str], known: Iterable[str]) -> bool:
    """Whether a name is a setting with a typo; in the file, which is ours, also in its prefix."""
    if re.match(r"PINGBOARD[_.-]", name.upper()):
        return True
    return name in from_file and bool(difflib.get_close_matches(name.upper(), known, 1, 0.9))


def _is_http_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # a port that is none, brackets that don't match
        return False
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and port != 0
        and not re.search(r"\s", text)
    )


def _describe(fault: Any, given: Mapping[str, str]) -> str:
    """Return one line for one fault: the variable, what is wrong with its value, an example."""
    message = str(fault["msg"]).removeprefix("Value error, ")
    if not fault["loc"]:
        return message
    name = str(fault["loc"][0])
    variable = f"{_PREFIX}{name.upper()}"
    if fault["type"] == "string_pattern_mismatch":  # nobody should have to read a pattern
        shown = hide_password(fault["input"])
        message = f"{shown!r} does not fit ({Settings.model_fields[name].description})"
    elif fault["type"] != "value_error" and name not in _SECRETS:
        shown = given.get(variable, fault["input"])
        message = f"{shown!r}: {message[0].lower()}{message[1:]}"
    return f"{variable}: {message}; {_example(name)}"
