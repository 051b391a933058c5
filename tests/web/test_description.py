"""What the OpenAPI description shows is what is answered."""

from __future__ import annotations

import httpx

from pingboard.web.schemas import EXAMPLES
from tests.web.write_examples import ask


def test_every_example_is_what_a_site_answers(site: httpx.Client) -> None:
    assert ask(site) == EXAMPLES, "if the change is meant: make openapi"
