"""What the store keeps is kept for an account on a homeserver."""

from __future__ import annotations

from pingboard.cli.worker import account_key
from pingboard.matrix.session import Account


def test_another_user_or_another_homeserver_is_another_account() -> None:
    accounts = [
        Account("https://one.example", "@a:one.example"),
        Account("https://one.example", "@b:one.example"),
        Account("https://two.example", "@a:one.example"),
    ]
    assert len({account_key(account) for account in accounts}) == 3
