"""The `Accept` header -> the form of an answer (RFC 9110, 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence


def preferred(accept: str, offered: Sequence[str]) -> str:
    """The media type among those offered that the header likes best; ties go to the first.

    Also the first where it likes none: an answer in another form is of more use than a 406.
    """
    wishes = [_parse(part) for part in accept.lower().split(",")]
    return max(offered, key=lambda media_type: _quality(media_type, wishes))


def _parse(part: str) -> tuple[str, float]:
    media_range, *parameters = (piece.strip() for piece in part.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return media_range, float(parameter[2:])
            except ValueError:
                return media_range, 0.0
    return media_range, 1.0


def _quality(media_type: str, wishes: Sequence[tuple[str, float]]) -> float:
    # The most exact range decides, whatever a wider one says.
    for media_range in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        for wished, quality in wishes:
            if wished == media_range:
                return quality
    return 0.0
