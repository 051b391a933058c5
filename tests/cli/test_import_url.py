"""Where an import from an address may lead."""

from __future__ import annotations

from urllib.error import URLError

import pytest

from pingboard.cli import import_url
from pingboard.cli.import_url import open_url
from tests.cli.http_server import answering


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_a_redirect_to_another_scheme_is_not_followed(target: str) -> None:
    with (
        answering(302, {"Location": target}) as address,
        pytest.raises(OSError, match=r"neither http nor https|is not allowed"),
    ):
        open_url(address)


def test_redirects_without_end_are_given_up() -> None:
    with (
        answering(302, {"Location": "deeper/"}) as address,
        pytest.raises(OSError, match="redirect"),
    ):
        open_url(address)


def test_a_redirect_does_not_lead_from_the_internet_into_our_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = import_url._is_private
    with answering(302, {"Location": "http://127.0.0.1:1/"}) as address:
        monkeypatch.setattr(import_url, "_is_private", lambda url: url != address and known(url))
        with pytest.raises(URLError, match="private network"):
            open_url(address)


@pytest.mark.parametrize(
    ("url", "is_private"),
    [
        ("http://127.0.0.1/", True),
        ("http://[::1]/", True),
        ("http://192.168.1.2/", True),
        ("http://169.254.169.254/", True),
        ("http://[::ffff:10.0.0.1]/", True),
        ("http://8.8.8.8/", False),
    ],
)
def test_private_addresses_are_known(url: str, is_private: bool) -> None:
    assert import_url._is_private(url) is is_private
