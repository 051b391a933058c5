"""The languages of the pages: a catalogue of strings -> words, numbers and dates of each.

The English sentence is its own key; `locale/de.po` holds the German one, `make strings` brings the
catalogue in step with code and templates. A further language is a further .po file and a line in
`LANGUAGES`. The machine's forms (JSON, Markdown, CSV, badges) are in no language but their own.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from gettext import GNUTranslations, NullTranslations
from importlib.resources import files

from babel import Locale, negotiate_locale
from babel.dates import format_date, format_datetime
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import get_decimal_symbol, get_group_symbol
from werkzeug.datastructures import Accept
from werkzeug.http import parse_accept_header

from pingboard.render.markdown import shortest_decimal
from pingboard.web.negotiation import MAX_HEADER_BYTES

LANGUAGES = {"en": ("English", "en_GB", "d MMM"), "de": ("Deutsch", "de_DE", "d. MMM")}
"""By code: its own name, whose numbers and dates it has, and a short day in the pattern of CLDR.

The first is the default.
"""

DEFAULT = next(iter(LANGUAGES))


@dataclass(frozen=True, slots=True)
class Language:
    """How a page speaks."""

    code: str
    name: str
    locale: Locale
    words: NullTranslations
    group: str
    """between thousands"""
    point: str
    """before a fraction"""
    short_day: str
    """`12 Oct`, as a pattern"""

    def integer(self, number: float) -> str:
        """With separators, rounded to a whole: `1,512`."""
        # Babel takes 20 us for each, and a board has tens of thousands.
        return f"{number:,.0f}".replace(",", self.group)

    def decimal(self, number: float) -> tuple[str, str]:
        """What is before the decimal point and the rest, shortest: ("1,512", ".5"), ("403", "")."""
        whole, _, fraction = shortest_decimal(abs(number)).partition(".")
        point = self.point if fraction else ""
        sign = "\N{MINUS SIGN}" if number < 0 else ""
        return sign + self.integer(int(whole)), point + fraction

    def number(self, number: float) -> str:
        """As short as it goes: `1,512.5`."""
        return "".join(self.decimal(number))

    def tenths(self, number: float) -> str:
        """With one digit after the decimal point: `1,512.0`."""
        whole, fraction = f"{number:,.1f}".split(".")
        return whole.replace(",", self.group) + self.point + fraction

    def percent(self, share: float) -> str:
        """A share of 1, as exact as it is worth: `0 %`, `0.4 %`, `12 %`."""
        digits = 1 if 0 < share < 0.0995 else 0
        text = f"{share * 100:.{digits}f}".replace(".", self.point)
        return f"{text}\N{NARROW NO-BREAK SPACE}%"

    def instant(self, at: datetime) -> str:
        """An aware UTC datetime to the minute: `12 Oct 2026, 00:00 UTC`."""
        return f"{format_datetime(at, f'{self.short_day} y, HH:mm', locale=self.locale)} UTC"

    def moment(self, at: datetime, is_time: bool | None) -> str:
        """An aware UTC datetime, short: time of day, day, or (None) both, `12 Oct 14:00`."""
        day = self.short_day
        pattern = {True: "HH:mm", False: day, None: f"{day} HH:mm"}[is_time]
        return format_datetime(at, pattern, locale=self.locale)

    def day(self, at: datetime) -> str:
        """The date of an aware UTC datetime: `12 October 2026`."""
        return format_date(at, "long", locale=self.locale)


@cache
def get_language(code: str) -> Language:
    name, locale_code, short_day = LANGUAGES[code]
    locale = Locale.parse(locale_code)
    symbols = get_group_symbol(locale), get_decimal_symbol(locale)
    return Language(code, name, locale, _read_words(code), *symbols, short_day)


def _read_words(code: str) -> NullTranslations:
    if code == DEFAULT:
        return NullTranslations()
    text = files("pingboard.web").joinpath("locale", f"{code}.po").read_bytes()
    # Compiled here, so that no compiled file can be out of step with its source.
    compiled = io.BytesIO()
    write_mo(compiled, read_po(io.BytesIO(text), locale=code))
    compiled.seek(0)
    return GNUTranslations(compiled)


@lru_cache(256)
def choose_language(accepted: str) -> str:
    """The code that an Accept-Language header likes best; the default where it likes none."""
    wishes = parse_accept_header(accepted[:MAX_HEADER_BYTES], Accept)
    by_weight = sorted(wishes, key=lambda wish: -wish[1])
    tags = [tag for tag, weight in by_weight if weight > 0]
    # In lower case: Babel gives back what the header says, such as "DE".
    return (negotiate_locale(tags, list(LANGUAGES), sep="-") or DEFAULT).lower()


def mark(text: str) -> str:
    """Return the text as it is; `make strings` finds it here, a page translates it later."""
    return text


def find_language(query: Mapping[str, str], accepted: str) -> Language:
    """The language of a request: what `lang` says, else what its Accept-Language likes best."""
    code = query.get("lang", "")
    return get_language(code if code in LANGUAGES else choose_language(accepted))
