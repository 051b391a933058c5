"""What every page has: a language, the navigation, the rooms to choose from, its policy.

A page is a template below `templates/` that extends `base.html`, rendered by `render`. Templates
have, besides what the page gives them:

* `_()`, `ngettext()` and `{% trans %}`: the strings of the catalogue;
* `language`: numbers and dates (`language.number(ms)`, `language.instant(at)`);
* `url(path, **parameters)`: the address of another page, in the room and language of this one;
* `origin`: the site's scheme and host;
* `root`: the prefix below which the site is shown; what is no page is `{{ root }}/rankings.md`;
* `static(name)`: the address of a file of ours.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from http import HTTPStatus
from importlib.metadata import metadata
from importlib.resources import files
from typing import Annotated, Any, NamedTuple, cast
from urllib.parse import quote, urlencode

import jinja2
from fastapi import Request
from markupsafe import Markup, escape
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError
from starlette.responses import HTMLResponse

from pingboard.model import write_instant
from pingboard.servername import decode_server_name, server_of
from pingboard.web.pages.language import LANGUAGES, Language, find_language, get_language, mark
from pingboard.web.parameters import RoomQuery

TAG = "pages"
"""Marks the paths whose errors are pages too (see errors)."""

NAVIGATION = {
    "/": mark("Board"),
    "/matrix": mark("Heat map"),
    "/editions": mark("Editions"),
    "/join": mark("Join"),
    "/method": mark("Method"),
    "/docs": mark("API"),
}
"""The pages that every page leads to, in order."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""No style or script but from our own files: not in an attribute, not inline."""


def require_language(code: str) -> str:
    """Return the code of a language of ours, or tell which there are."""
    if code not in LANGUAGES:
        known = {"languages": ", ".join(LANGUAGES)}
        raise PydanticCustomError("language", "Should be one of {languages}", known)
    return code


class PageQuery(RoomQuery):
    """What every page takes, so that a choice of room and language goes along from page to page."""

    lang: Annotated[str, AfterValidator(require_language)] | None = Field(
        None, description="Left out: what Accept-Language likes best."
    )


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


class RoomLink(NamedTuple):
    """Where to bring a bot."""

    name: str
    link: str
    uri: str
    """for a Matrix client on the same device (MSC2312)"""


@dataclass(frozen=True, slots=True)
class ChoiceLink:
    """One of several links to choose from."""

    text: str
    href: str
    is_current: bool = False


def render(
    request: Request,
    template: str,
    context: Mapping[str, Any],
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    room_id: str | None = None,
    keeps_choice: bool = True,
) -> HTMLResponse:
    """A page. `room_id` is the room that it shows, where it shows one.

    Its links keep the choice of room and language; not those of a page that says what is wrong,
    for that choice may be it.
    """
    language = language_of(request)
    html = (
        get_environment(language.code)
        .get_template(template)
        .render(
            {
                "is_ok": status == HTTPStatus.OK,
                **describe_layout(request, language, room_id, keeps_choice),
                **context,
            }
        )
    )
    says = {"Content-Language": language.code, "Vary": "Accept-Language"}
    return HTMLResponse(
        html, status, {"Content-Security-Policy": POLICY, **says, **(headers or {})}
    )


def render_text(template: str, context: Mapping[str, Any]) -> str:
    """What is no page and in no language: an image, a feed."""
    return get_environment("en").get_template(template).render(context)


def language_of(request: Request) -> Language:
    return find_language(request.query_params, request.headers.get("accept-language", ""))


def describe_layout(
    request: Request, language: Language, room_id: str | None, keeps_choice: bool
) -> dict[str, Any]:
    """What `base.html` shows around a page."""
    root = request.scope.get("root_path", "")
    # Two slashes would begin the name of another site.
    path = "/" + request.url.path.removeprefix(root).lstrip("/")
    asked = dict(request.query_params)
    kept: dict[str, str] = {
        name: asked[name] for name in ("room", "lang") if keeps_choice and name in asked
    }
    url = partial(_address, root, kept)
    site: Site = request.app.state.given.site
    origin = f"{request.url.scheme}://{request.url.netloc}"
    return {
        "root": root,
        "origin": origin,
        # Parameters that are not ours are gone from the request (see middleware).
        "canonical": origin + _query(root + path, asked),
        "url": url,
        "static": partial(_static, root),
        "language": language,
        "navigation": [
            ChoiceLink(
                language.words.gettext(text),
                url(there),
                path == there,
            )
            for there, text in NAVIGATION.items()
        ],
        "site": site,
        "rooms": _list_rooms(request, root + path, asked, room_id),
        "languages": [
            (
                ChoiceLink(
                    name, _query(root + path, {**asked, "lang": code}), code == language.code
                ),
                code,
            )
            for code, (name, *_) in LANGUAGES.items()
        ],
    }


def describe_room(name: str) -> RoomLink:
    """The links of a room's alias or ID.

    https://spec.matrix.org/v1.16/appendices/#uris
    """
    kind, rest = ("r", name[1:]) if name.startswith("#") else ("roomid", name[1:])
    uri = f"matrix:{kind}/{quote(rest, safe=':')}?action=join"
    return RoomLink(name, f"https://matrix.to/#/{quote(name, safe='!:')}", uri)


_BREAKS = re.compile(r"\.|(?=:\d+$)")


@cache
def get_environment(code: str) -> jinja2.Environment:
    """The templates in one language."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pingboard.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.filters["code"] = _mark_code
    environment.filters["breakable"] = _break_name
    environment.filters["decoded"] = decode_server_name
    environment.filters["instant"] = write_instant
    environment.policies["ext.i18n.trimmed"] = True
    words = get_language(code).words
    # The extension gives this method to the environment, which its type does not know.
    cast("Any", environment).install_gettext_callables(
        lambda text: _join_units(words.gettext(text)), words.ngettext, newstyle=True
    )
    return environment


def _join_units(text: str) -> str:
    """A text with its placeholders, in which no line breaks between a number and its unit."""
    return text.replace(")s ms", ")s\N{NO-BREAK SPACE}ms")


def _address(root: str, kept: Mapping[str, str], path: str, **parameters: object) -> str:
    return _query(root + path, {**kept, **parameters})


def _query(path: str, parameters: Mapping[str, object]) -> str:
    given = {name: value for name, value in parameters.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def _list_rooms(
    request: Request, path: str, asked: Mapping[str, str], room_id: str | None
) -> list[ChoiceLink]:
    """The rooms to choose from on a page that shows one; [] where there is no choice."""
    if room_id is None:
        return []
    known = request.app.state.given.boards.rooms()
    if len(known) < 2:
        return []
    return [
        ChoiceLink(
            room.alias or room.room_id,
            _query(path, {**asked, "room": room.alias or room.room_id}),
            room.room_id == room_id,
        )
        for room in known
    ]


def _break_name(name: str) -> Markup:
    """A server name that breaks behind a dot or before its port, elsewhere only if it has to."""
    return Markup(_BREAKS.sub(r"\g<0><wbr>", str(escape(name))))  # noqa: S704


def _mark_code(text: str) -> Markup:
    """Text with its `code` as HTML."""
    escaped = str(escape(text))  # of a Markup, `sub` would escape the tags as well
    return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", escaped))  # noqa: S704


@cache
def _digest(name: str) -> str:
    content = files("pingboard.web").joinpath("static", name).read_bytes()
    return hashlib.blake2b(content, digest_size=6).hexdigest()


def _static(root: str, name: str) -> str:
    """With a digest of the content, so that a browser may keep it for ever (see static_files)."""
    return f"{root}/static/{name}?v={_digest(name)}"
