"""What users type wrong or bring in another form: one line, exit code 2, or simply read."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pingboard.cli import import_url
from pingboard.model import BoardName
from pingboard.store.engine import migrate, open_engine
from tests.cli.http_server import answering
from tests.commands import environment, run
from tests.pingstat import random_rows
from tests.web.site import ROOM, make_answers, open_store, record, serve


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/pingboard.db"
    engine = open_engine(url)
    migrate(engine)
    engine.dispose()
    return url


def refuse(url: str, *arguments: str, folder: Path) -> str:
    """The only line that a refused command says."""
    code, stdout, stderr = run(url, *arguments, folder=folder)
    assert (code, stdout) == (2, "")
    [line] = stderr.splitlines()
    return line


def test_csv_that_is_json_and_json_that_is_csv_are_named(url: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"room_id": 1}]')
    line = refuse(url, "import", "csv", "a.json", folder=tmp_path)
    assert line == ("pingboard: a.json: it is JSON, not CSV; try `pingboard import pingstat`")
    (tmp_path / "a.csv").write_text("room,ping\n")
    line = refuse(url, "import", "ndjson", "a.csv", folder=tmp_path)
    assert line == "pingboard: a.csv: its lines are not JSON objects"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("bogus", "No such command 'bogus'"),
        ("table --bord response", "No such option: --bord (Possible options: --board)"),
        (
            "table --board new",
            "'new' is not one of " + ", ".join(f"'{name}'" for name in BoardName),
        ),
        ("table --limit 0", "Invalid value for '--limit'"),
        ("table --window 1w", "--window '1w' is none of 1h, 6h, 24h"),
        ("table --room #x:y", "no room '#x:y' is known here"),
        ("section --style new", "'new' is not one of 'classic', 'rooms', 'current'"),
        ("import csv", "Missing argument 'FILE|URL'"),
        ("import csv . --rejected /none/x", ".: it can't be read: Is a directory"),
        ("import csv - --rejected /none/x", "--rejected: /none/x can't be written"),
        ("export --format xml", "'xml' is not one of 'ndjson', 'csv', 'pingstat'"),
        ("export --to soon", "--to 'soon' is not a time; for example --to 2026-"),
        ("export --from 2026-02-01 --to 2026-01-01", "--from 2026-02-01 is after --to 2026-01-01"),
        ("export --output /none/x", "--output: /none/x can't be written: No such file"),
        ("serve --port 81", "--port is a setting: set PINGBOARD_PORT=81"),
        ("lab --delay hs2=soon", "for example --delay hs2=150ms"),
        ("lab --delay hs9=1s", "--delay: no homeserver 'hs9' in this lab; there are hs1, hs2, hs3"),
        ("db backup", "Missing argument 'FILE'"),
        ("db copy sqlite:///b.db", "the target is not PostgreSQL; for example postgresql://"),
        ("db copy postgresql://u:a@b@h/x", "the target: this PostgreSQL address can't be read"),
    ],
)
def test_a_wrong_argument_is_one_line_that_names_it(
    url: str, tmp_path: Path, arguments: str, named: str
) -> None:
    line = refuse(url, *arguments.split(), folder=tmp_path)
    assert line.startswith("pingboard: ")
    assert named in line


@pytest.mark.parametrize("command", ["run", "worker", "serve", "echo", "table", "db upgrade"])
def test_a_wrong_setting_is_one_line_of_every_command(
    url: str, tmp_path: Path, command: str
) -> None:
    code, stdout, stderr = run(url, *command.split(), folder=tmp_path, settings={"PORT": "http"})
    assert (code, stdout) == (2, "")
    [line] = stderr.splitlines()
    assert line.startswith("pingboard: PINGBOARD_PORT: 'http'")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PUBLIC_URL", "ping.example", "'ping.example' does not fit (the site's address as others"),
        ("PUBLIC_URL", "https://u:hunter2@a.example/x", "'https://…@a.example/x' does not fit"),
        ("PUBLIC_URL", "https://a.example:99999", "names a host or a port that is not possible"),
        ("CONTACT", "alice", "'alice' does not fit (who runs the site: a Matrix user ID"),
        ("ROOT_PATH", "ping/", "'ping/' does not fit (path prefix"),
        ("EMBED_ORIGINS", "https://a.example blog", "'blog' does not fit (sites that may show"),
        ("EMBED_ORIGINS", "https://a.example:0", "names a host or a port that is not possible"),
        ("VANTAGE", "a" * 256, "it is longer than 255 characters"),
        ("LOG_LEVEL", "loud", "'loud' does not fit (DEBUG, INFO, WARNING or ERROR)"),
    ],
)
def test_a_setting_of_another_form_is_refused_with_an_example(
    url: str, tmp_path: Path, name: str, value: str, said: str
) -> None:
    code, stdout, stderr = run(url, "table", folder=tmp_path, settings={name: value})
    assert (code, stdout) == (2, "")
    [line] = stderr.splitlines()
    assert line.startswith(f"pingboard: PINGBOARD_{name}: ")
    assert said in line
    assert f"; for example PINGBOARD_{name}=" in line


@pytest.mark.parametrize(
    "address",
    [
        "https://user:hunter2@one.example",
        "https://user:hunter2@one.example:99999",
        "http://user:hunter2@[::1",
        "ftp://user:hunter2@one.example",
        "user:hunter2@one.example",
        "https://user:hunter2@one example",
    ],
)
def test_a_password_in_the_address_of_a_homeserver_is_refused_and_not_shown(
    url: str, tmp_path: Path, address: str
) -> None:
    code, stdout, stderr = run(url, "table", folder=tmp_path, settings={"HOMESERVER": address})
    assert (code, stdout) == (2, "")
    [line] = stderr.splitlines()
    assert line.startswith("pingboard: PINGBOARD_HOMESERVER: it has an '@'")
    assert "hunter2" not in line


@pytest.mark.parametrize("secret", ["syt_hunter2", "hunter2='x", "hunter2=\0"])
def test_a_secret_on_the_line_after_its_name_is_not_shown(
    url: str, tmp_path: Path, secret: str
) -> None:
    (tmp_path / ".env").write_text(f"PINGBOARD_ACCESS_TOKEN=\n{secret}\n")
    line = refuse(url, "table", folder=tmp_path)
    assert line.startswith("pingboard: .env, line 2: ")
    assert "hunter2" not in line


def test_csv_of_something_else_and_rows_that_are_too_long_are_named(
    url: str, tmp_path: Path
) -> None:
    for content in (
        "",
        "\n\n",
        "rank,homeserver\n",
        "room_id\tpong_server\n",
        "<html>login</html>",
    ):
        (tmp_path / "a.csv").write_text(content)
        line = refuse(url, "import", "csv", "a.csv", folder=tmp_path)
        assert line == (
            "pingboard: a.csv: its first line lacks 'room_id', a column of "
            "`pingboard export --format csv`"
        )
    (header,) = run(url, "export", "--format", "csv", folder=tmp_path)[1].splitlines()
    (tmp_path / "a.csv").write_text(f"{header}\n{',' * 50}\n")
    code, _, stderr = run(url, "import", "csv", "a.csv", folder=tmp_path)
    assert code == 2
    assert "row 1: has more values than columns" in stderr


@pytest.mark.parametrize(
    ("form", "content"), [("ndjson", '{"level": "info"}'), ("pingstat", "[{}]")]
)
def test_rows_of_something_else_alone_are_an_error(
    url: str, tmp_path: Path, form: str, content: str
) -> None:
    (tmp_path / "other").write_text(content)
    code, _, stderr = run(url, "import", form, "other", folder=tmp_path)
    assert code == 2
    assert "rejected 1 rows" in stderr


def test_rows_with_a_name_that_nothing_has_are_rejected(url: str, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    store = open_store(tmp_path / "source")
    record(store, make_answers("one.example", [400]))
    store.dispose()
    source = f"sqlite:///{tmp_path}/source/pingboard.db"
    row = json.loads(run(source, "export", folder=tmp_path)[1])
    for name, value in (("vantage", "a" * 256), ("vantage", ""), ("room_alias", "#\ud800:x")):
        (tmp_path / "rows").write_text(json.dumps(row | {name: value}))
        code, _, stderr = run(url, "import", "ndjson", "rows", folder=tmp_path)
        assert code == 2
        assert f"row 1: {name} is '" in stderr


def test_csv_with_semicolons_and_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    record(store, make_answers("one.example", [400, 500]))
    url = f"sqlite:///{tmp_path}/pingboard.db"
    _, exported, _ = run(url, "export", "--format", "csv", folder=tmp_path)
    store.dispose()
    (tmp_path / "b.csv").write_bytes("\ufeff".encode() + exported.replace(",", ";").encode())
    code, _, stderr = run(f"sqlite:///{tmp_path}/b.db", "import", "csv", "b.csv", folder=tmp_path)
    assert (code, stderr) == (0, "imported 2 samples; 0 were there already\n")


def test_pingstats_json_with_a_byte_order_mark_is_read(url: str, tmp_path: Path) -> None:
    rows = json.dumps(random_rows(1, 20))
    (tmp_path / "a.json").write_text("\ufeff" + rows, encoding="utf-8")
    code, _, stderr = run(url, "import", "pingstat", "a.json", folder=tmp_path)
    assert code == 0
    assert stderr.startswith("imported ")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("none.json", "No such file"),
        ("http://a host.example/x", "an address has no spaces"),
        ("http://127.0.0.1:1/x", "refused"),
        ("http://user:hunter2@127.0.0.1:1/x", "an address has no user and no password"),
        ("http://127.0.0.1:1/@x", "refused"),
    ],
)
def test_a_source_that_can_not_be_read_is_one_line(
    url: str, tmp_path: Path, source: str, reason: str
) -> None:
    line = refuse(url, "import", "pingstat", source, folder=tmp_path)
    shown = re.sub(r"user:.*@", "…@", source)
    assert line.startswith(f"pingboard: {shown}: it can't be read: ")
    assert reason in line


def test_a_port_that_speaks_no_http_is_one_line(url: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"220 mail.example ESMTP\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        source = f"http://127.0.0.1:{listener.getsockname()[1]}/x"
        line = refuse(url, "import", "pingstat", source, folder=tmp_path)
        thread.join()
    assert "220 mail.example" in line


@pytest.mark.parametrize(
    ("status", "headers", "body", "reason"),
    [
        (302, {"Location": "/again"}, b"", "302 redirects in a circle, or more than 5 times"),
        (404, {}, b'{"error": "no\\nsuch\\u001b[31m room"}', "404 Not Found: nosuch[31m room"),
        (404, {}, b'["no"]', "404 Not Found"),
        (404, {}, b"[" * 10_000, "404 Not Found"),
    ],
)
def test_whatever_the_other_side_answers_instead_is_one_line(
    url: str, tmp_path: Path, status: int, headers: dict[str, str], body: bytes, reason: str
) -> None:
    with answering(status, headers, body) as source:
        line = refuse(url, "import", "pingstat", source, folder=tmp_path)
    assert f"it can't be read: the other side answers {reason}" in line


def test_an_answer_that_only_drips_does_not_hold_the_database(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_url, "SLOW_AFTER_S", 0)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(ConnectionError):
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
                while not is_refused.wait(0.01):
                    connection.sendall(b" ")

        is_refused = threading.Event()
        thread = threading.Thread(target=drip)
        thread.start()
        source = f"http://127.0.0.1:{listener.getsockname()[1]}/x"
        try:
            line = refuse(url, "import", "csv", source, folder=tmp_path)
        finally:
            is_refused.set()
            thread.join()
    assert "it arrives at less than 1,000 bytes a second" in line


def test_a_room_that_the_other_side_does_not_have_is_one_line(url: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    store = open_store(tmp_path / "other")
    record(store, make_answers("one.example", [400]))
    with serve(store) as client:
        source = f"{client.base_url}_matrix/maubot/plugin/pingstat/!no:x/stats.raw.json"
        line = refuse(url, "import", "pingstat", source, folder=tmp_path)
    store.dispose()
    assert "it has no rows; does the other side have that room" in line


def test_a_window_with_an_offset_means_that_instant(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    record(store, make_answers("one.example", [400, 500, 600]))  # at 12:00:00, :01 and :02 UTC
    store.dispose()
    url = f"sqlite:///{tmp_path}/pingboard.db"
    for since, count in (
        ("2026-10-11T14:00:01+02:00", 2),
        ("2026-10-11T12:00:01", 2),
        ("2026-10-11T12:00:01Z", 2),
        ("2026-10-11T12:00:02+00:00", 1),
    ):
        _, exported, _ = run(url, "export", "--from", since, folder=tmp_path)
        assert len(exported.splitlines()) == count, since


def test_a_restored_database_is_closed_to_others_by_whoever_opens_it_first(
    url: str, tmp_path: Path
) -> None:
    file = tmp_path / "pingboard.db"
    file.chmod(0o644)
    assert run(url, "export", folder=tmp_path)[0] == 0
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_table_without_samples_says_what_to_try(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    record(store, make_answers("one.example", [400]))
    store.dispose()
    url = f"sqlite:///{tmp_path}/pingboard.db"
    code, stdout, stderr = run(url, "table", "--room", ROOM, "--window", "1h", folder=tmp_path)
    assert code == 0
    assert stdout.startswith("|Rank|")
    assert "try a longer --window" in stderr


def test_ctrl_c_in_an_import_says_how_far_it_came(url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pingboard", "import", "pingstat", "-"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment({"DATABASE_URL": url}),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    # More than a pipe holds: once it is written, the import is reading.
    process.stdin.write(json.dumps(random_rows(1, 2000)).removesuffix("]").encode() + b",")
    process.stdin.flush()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert b"the same command again goes on with the rest" in stderr
    assert b"Traceback" not in stderr
