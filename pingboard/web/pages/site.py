"""What a site says of itself on every page: where it measures from, who runs it, what may be used.

These are settings. The source code's address is that of the package (`[project.urls]` in
pyproject.toml) where none is set.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import metadata

from pingboard.servername import server_of


@dataclass(frozen=True, slots=True)
class Site:
    """A site's own settings, as its operator wrote them; empty where there is none."""

    vantage: str = "main"
    """the name of the place that is measured from"""
    contact: str = ""
    """a Matrix user ID, an e-mail address or a web page"""
    data_licence: str = ""
    """a name, and its address behind it"""
    source_url: str = ""
    """the Git repository of the program"""

    @property
    def source_link(self) -> str:
        """Where the source code is; empty where nobody has said."""
        return self.source_url or _find_package_source()

    @property
    def contact_link(self) -> str:
        """The address that reaches the operator."""
        if server_of(self.contact):
            return f"https://matrix.to/#/{self.contact}"
        if self.contact.startswith(("http://", "https://")):
            return self.contact
        return f"mailto:{self.contact}"

    @property
    def licence_name(self) -> str:
        """The licence without its address."""
        return self.data_licence.removesuffix(self.licence_link).strip()

    @property
    def licence_link(self) -> str:
        """The licence's address; empty where it has none."""
        last = self.data_licence.rpartition(" ")[2]
        return last if last.startswith(("http://", "https://")) else ""


@cache
def _find_package_source() -> str:
    links = [entry.partition(", ") for entry in metadata("pingboard").get_all("Project-URL") or []]
    return next((url for label, _, url in links if label == "Source"), "")
