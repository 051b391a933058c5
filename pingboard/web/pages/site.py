"""What a site says of itself on every page: where it measures from, who runs it, what may be used.

The operator's part is settings; the addresses of source and documentation are those of the package
(`[project.urls]` in pyproject.toml).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import metadata

from pingboard.servername import server_of
from pingboard.web.pages.language import mark

PACKAGE_LINKS = {"Source": mark("Source code"), "Documentation": mark("Documentation")}
"""Which of the package's addresses are shown, and as what."""


@dataclass(frozen=True, slots=True)
class Site:
    """A site's own settings, as its operator wrote them; empty where there is none."""

    vantage: str = "main"
    """the name of the place that is measured from"""
    contact: str = ""
    """a Matrix user ID, an e-mail address or a web page"""
    data_licence: str = ""
    """a name, and its address behind it"""

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
def find_package_links() -> dict[str, str]:
    """Address by (untranslated) text, of those of `PACKAGE_LINKS` that the package has."""
    links = [entry.partition(", ") for entry in metadata("pingboard").get_all("Project-URL") or []]
    return {PACKAGE_LINKS[label]: url for label, _, url in links if label in PACKAGE_LINKS}
