"""PINGBOARD_* variables -> Settings, and one clear line for each fault."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path

import pytest

from pingboard.model import ConfigurationError, parse_duration
from pingboard.settings import Settings, load_settings, read_env_file


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("PINGBOARD_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_nothing_configured_is_fine() -> None:
    settings = load_settings()
    assert settings.wants_lab
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.database_url == "sqlite:///pingboard.db"
    assert settings.interval == timedelta(minutes=5)


def test_rooms_are_separated_by_spaces_or_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINGBOARD_ROOMS", "#a:one.example, !b:one.example !v12hash")
    assert load_settings().rooms == ("#a:one.example", "!b:one.example", "!v12hash")


@pytest.mark.parametrize("value", ["blog.example", "https://blog.example/page", "'self'", "a;b"])
def test_an_embed_origin_that_is_no_origin_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("PINGBOARD_EMBED_ORIGINS", value)
    with pytest.raises(ConfigurationError, match=r"PINGBOARD_EMBED_ORIGINS.*blog\.example"):
        load_settings()


def test_embed_origins_are_separated_by_spaces_or_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINGBOARD_EMBED_ORIGINS", "https://a.example, http://b.example:8080 *")
    assert load_settings().embed_origins == ("https://a.example", "http://b.example:8080", "*")


def test_a_dotenv_file_is_read_and_a_variable_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("PINGBOARD_PORT=81\nPINGBOARD_HOST=::1\nOTHER=x\n")
    monkeypatch.setenv("PINGBOARD_PORT", "82")
    settings = load_settings()
    assert (settings.host, settings.port) == ("::1", 82)


def test_what_is_set_to_nothing_is_not_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PINGBOARD_PORT=81\nPINGBOARD_HOST=\nPINGBOARD_USER=\n")
    monkeypatch.setenv("PINGBOARD_PORT", "")
    settings = load_settings()
    assert (settings.host, settings.port, settings.user) == ("127.0.0.1", 81, None)


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("PINGBOARD_ROOMS=#a:x.example #b:y.example", "rooms", ("#a:x.example", "#b:y.example")),
        ("PINGBOARD_ROOMS=#a:x.example, #b:y.example", "rooms", ("#a:x.example", "#b:y.example")),
        ("PINGBOARD_TITLE=Dept of Ping #44", "title", "Dept of Ping #44"),
        ("PINGBOARD_TITLE='Dept of \"Ping\" #44'", "title", 'Dept of "Ping" #44'),
        ('PINGBOARD_TITLE="Dept of Ping #44"', "title", "Dept of Ping #44"),
        ("export PINGBOARD_TITLE = a=b\\n ", "title", "a=b\\n"),
        ("PINGBOARD_INTRO=${HOME} and $HOME", "intro", "${HOME} and $HOME"),
        ("PINGBOARD_TITLE=Größe\r", "title", "Größe"),
        ("  # PINGBOARD_TITLE=no\n\nPINGBOARD_TITLE=yes", "title", "yes"),
    ],
)
def test_what_is_written_in_a_dotenv_file_is_what_is_meant(
    tmp_path: Path, line: str, name: str, value: object
) -> None:
    for mark in ("", "\ufeff"):
        (tmp_path / ".env").write_text(f"{mark}{line}\n", encoding="utf-8", newline="")
        assert getattr(load_settings(), name) == value


def test_a_password_is_neither_cut_nor_interpolated(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PINGBOARD_PASSWORD=ab #cd ${HOME} $1\n")
    password = load_settings().password
    assert password is not None
    assert password.get_secret_value() == "ab #cd ${HOME} $1"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"A=1\nPINGBOARD_PASSWORD: hunter2\n", "line 2: PINGBOARD_PASSWORD is not followed"),
        (b"PINGBOARD_PASSWORD\n", "line 1: PINGBOARD_PASSWORD is not followed by '='"),
        (b"PINGBOARD_PASSWORD='hunter2\n", "line 1: the value of PINGBOARD_PASSWORD begins with"),
        (b"\n\n!!! hunter2\n", "line 3: it does not have the form NAME=value"),
        (b"A=1\nPINGBOARD_TITLE=Gr\xf6\xdfe\n", "line 2: it is not UTF-8; save the file as UTF-8"),
        ("PINGBOARD_TITLE=x\n".encode("utf-16"), "line 1: the file is UTF-16; save it as UTF-8"),
        (b"PINGBOARD_TITLE=a\0b\n", "line 1: the value of PINGBOARD_TITLE has a NUL byte"),
        (b"PINGBOARD_ROOMS=#a:x\n\nPINGBOARD_ROOMS=#b:y", "line 3: PINGBOARD_ROOMS is there a sec"),
        (b"hunter2=\nhunter2=", "line 2: NAME is there a second time; keep one"),
    ],
)
def test_a_line_that_can_not_be_read_is_named_without_its_value(
    tmp_path: Path, content: bytes, line: str
) -> None:
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(ConfigurationError, match=re.escape(f".env, {line}")) as raised:
        load_settings()
    assert "\n" not in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_the_lines_of_the_readme_can_be_copied_as_they_are(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    lines = re.findall(r"^    (PINGBOARD_.*\n)", readme, re.MULTILINE)
    file = tmp_path / ".env"
    file.write_text("".join(lines))
    settings = read_env_file(file)
    assert len(settings) == 4
    assert not [value for value in settings.values() if " " in value]


def test_a_dotenv_file_that_is_a_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    with pytest.raises(ConfigurationError, match=r"^\.env can't be read: Is a directory$"):
        load_settings()


def test_a_secret_is_read_from_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("syt_token\n")
    monkeypatch.setenv("PINGBOARD_ACCESS_TOKEN_FILE", str(tmp_path / "secret"))
    token = load_settings().access_token
    assert token is not None
    assert token.get_secret_value() == "syt_token"


def test_a_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINGBOARD_PASSWORD", "hunter2")
    assert "hunter2" not in repr(load_settings())


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("PORT", "abc", r"PINGBOARD_PORT: 'abc': .*integer.*; for example PINGBOARD_PORT=8080"),
        ("PORT", "70000", r"PINGBOARD_PORT: '70000': .*65535"),
        ("INTERVAL", "soon", r"PINGBOARD_INTERVAL: 'soon' is not a duration .*for example"),
        ("INTERVAL", "500ms", r"PINGBOARD_INTERVAL: '500ms': .*1 second; for example"),
        ("ROOMS", "ping", r"PINGBOARD_ROOMS: 'ping' is neither a room alias .*=#ping:maunium.net"),
        ("ROOMS", "#ping:", r"PINGBOARD_ROOMS: '#ping:' is neither a room alias"),
        (
            "HOMESERVER",
            "one example",
            r"PINGBOARD_HOMESERVER: 'one example' is neither a server name",
        ),
        ("USER", "pingboard", r"PINGBOARD_USER: 'pingboard' is not a user ID .*for example"),
        ("LOG_LEVEL", "loud", r"PINGBOARD_LOG_LEVEL: 'loud'"),
        ("MIGRATE", "perhaps", r"PINGBOARD_MIGRATE: 'perhaps'"),
        ("PASSWORD_FILE", "/none", r"PINGBOARD_PASSWORD_FILE: '/none' can't be read"),
        ("HOMSERVER", "x", r"PINGBOARD_HOMSERVER is not a .*PINGBOARD_HOMESERVER\?"),
        ("HOMSERVER", "", r"PINGBOARD_HOMSERVER is not a pingboard setting"),
        ("port", "81", r"PINGBOARD_port is not a .*PINGBOARD_PORT\?"),
        ("INTERVAL", "5", r"PINGBOARD_INTERVAL: '5' has no unit; write 5s, 5m or 5h"),
        ("INTERVAL", "9" * 400 + "d", r"PINGBOARD_INTERVAL: '9+d' is longer than any"),
        ("HOMESERVER", "https://", r"PINGBOARD_HOMESERVER: 'https://' is neither a server name"),
        (
            "HOMESERVER",
            "https://[x",
            r"PINGBOARD_HOMESERVER: 'https://\[x' is neither a server name",
        ),
        ("HOMESERVER", "https://x:99999", r"PINGBOARD_HOMESERVER: 'https://x:99999' is neither"),
        (
            "FORWARDED_ALLOW_IPS",
            "traefik",
            r"PINGBOARD_FORWARDED_ALLOW_IPS: 'traefik' is not an IP",
        ),
        ("FORWARDED_ALLOW_IPS", "10.0.0.1/8", r"PINGBOARD_FORWARDED_ALLOW_IPS: .*host bits"),
    ],
)
def test_a_fault_is_one_line_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, line: str
) -> None:
    monkeypatch.setenv(f"PINGBOARD_{name}", value)
    with pytest.raises(ConfigurationError, match=f"^{line}") as raised:
        load_settings()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["PINGBOARD_PROT", "PINGBOARD-PORT", "PINBOARD_PORT"])
def test_a_typo_in_a_dotenv_file_is_found_too(tmp_path: Path, name: str) -> None:
    (tmp_path / ".env").write_text(f"{name}=81\n")
    with pytest.raises(
        ConfigurationError, match=rf"{name} \(\.env\) is not .* did you mean PINGBOARD_PORT"
    ):
        load_settings()


def test_a_variable_of_another_program_is_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINBOARD_USER", "x")
    assert load_settings().user is None


def test_two_faults_are_two_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINGBOARD_PORT", "abc")
    monkeypatch.setenv("PINGBOARD_USER", "x")
    with pytest.raises(ConfigurationError) as raised:
        load_settings()
    assert len(str(raised.value).splitlines()) == 2


def test_a_secret_and_its_file_are_not_both_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("b")
    monkeypatch.setenv("PINGBOARD_PASSWORD", "a")
    monkeypatch.setenv("PINGBOARD_PASSWORD_FILE", str(tmp_path / "secret"))
    with pytest.raises(ConfigurationError, match="both set; keep one"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "other"),
    [("DATABASE_URL", "DATABASE_URL_FILE"), ("DATABASE_URL_FILE", "DATABASE_URL")],
)
def test_a_variable_goes_before_the_other_form_of_it_in_a_dotenv_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, other: str
) -> None:
    (tmp_path / "url").write_text("sqlite:///one.db")
    values = {"DATABASE_URL": "sqlite:///one.db", "DATABASE_URL_FILE": str(tmp_path / "url")}
    (tmp_path / ".env").write_text(f"PINGBOARD_{other}=elsewhere\n")
    monkeypatch.setenv(f"PINGBOARD_{name}", values[name])
    assert load_settings().database_url == "sqlite:///one.db"


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"ROOMS": "#a:b.example"}, "PINGBOARD_HOMESERVER is not set; for example"),
        ({"HOMESERVER": "http://x"}, "PINGBOARD_ACCESS_TOKEN and PINGBOARD_PASSWORD are not set"),
        ({"HOMESERVER": "http://x", "ACCESS_TOKEN": "t"}, "PINGBOARD_ROOMS is not set"),
    ],
)
def test_what_an_account_still_needs_is_named(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], missing: str
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(f"PINGBOARD_{name}", value)
    with pytest.raises(ConfigurationError, match=f"^{missing}"):
        load_settings().require_account()


def test_a_password_needs_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINGBOARD_HOMESERVER", "http://x")
    monkeypatch.setenv("PINGBOARD_PASSWORD", "p")
    with pytest.raises(ConfigurationError, match=r"^PINGBOARD_USER is not set"):
        load_settings()


@pytest.mark.parametrize(
    ("text", "seconds"), [("150ms", 0.15), ("1s", 1), ("5m", 300), ("1.5h", 5400), ("0", 0)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text).total_seconds() == seconds


def test_every_setting_is_documented_with_an_example() -> None:
    documented = (Path(__file__).parents[1] / ".env.example").read_text()
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.examples, name
        assert f"PINGBOARD_{name.upper()}" in documented
