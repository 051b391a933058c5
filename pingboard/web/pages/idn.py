"""Internationalised names, as people read them."""

from __future__ import annotations


def decode_name(homeserver: str) -> str:
    """A server name with its `xn--` labels decoded; empty where it has none that can be.

    It is shown beside the name, never instead of it: different names may look alike.
    """
    if "xn--" not in homeserver.lower():
        return ""
    try:
        return homeserver.encode("ascii").decode("idna")
    except UnicodeError:
        return ""
