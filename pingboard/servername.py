"""Server names: the specification's grammar, and the homeserver of a user ID.

https://spec.matrix.org/v1.16/appendices/#server-name
"""

import re

MAX_LENGTH = 255
"""A user ID has at most 255 characters, so no longer server name can be met in a room."""

_SERVER_NAME = re.compile(
    r"""
    (?: \[ [0-9A-Fa-f:.]{2,45} \]     # IPv6 literal
      | [0-9A-Za-z.-]{1,255} )        # IPv4 literal or DNS name, the same characters
    (?: : (?P<port> [0-9]{1,5} ) )?
    """,
    re.VERBOSE | re.ASCII,
)


def is_server_name(text: str) -> bool:
    """Whether `text` is a server name by the grammar, with a port that exists."""
    if len(text) > MAX_LENGTH:
        return False
    match = _SERVER_NAME.fullmatch(text)
    return match is not None and int(match["port"] or 0) <= 65535


def server_of(user_id: str) -> str | None:
    """The homeserver of a user ID, None where it is not `@localpart:server_name`.

    A localpart can hold nearly anything but a colon, so the first colon splits. The name keeps
    its case and port: `a.example` and `a.example:8448` are two homeservers.
    """
    sigil, _, server = user_id.partition(":")
    if not sigil.startswith("@") or not is_server_name(server):
        return None
    return server


def read_server_name(text: str) -> str:
    """Return the server name that a person means, also by a user ID or an internationalised name.

    What is neither comes back as it is.
    """
    name = text.partition(":")[2] if text.startswith("@") else text
    if name.isascii() or len(name) > MAX_LENGTH:  # encoding takes the square of the length
        return name
    host, colon, port = name.partition(":")
    try:
        return host.encode("idna").decode("ascii") + colon + port
    except UnicodeError:
        return text


def decode_server_name(name: str) -> str:
    """Return a server name with its `xn--` labels decoded; empty where it has none that can be.

    It is shown beside the name, never instead of it: different names may look alike.
    """
    if "xn--" not in name.lower():
        return ""
    try:
        return name.encode("ascii").decode("idna")
    except UnicodeError:
        return ""
