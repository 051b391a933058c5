"""Which form of an answer a client likes best."""

import pytest

from pingboard.web.negotiation import choose_media_type

FORMS = ["application/json", "text/markdown", "text/csv"]


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/markdown", "text/markdown"),
        ("Text/CSV", "text/csv"),
        ("text/*", "text/markdown"),
        ("text/csv;q=0.9, text/markdown;q=0.8", "text/csv"),
        ("text/*, text/markdown;q=0", "text/csv"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("image/png", "application/json"),
        ("text/csv;q=much, text/markdown;q=0.1", "text/markdown"),
    ],
)
def test_the_header_decides_and_json_is_the_default(accept: str, form: str) -> None:
    assert choose_media_type(accept, FORMS) == form
