"""Answers too long to be kept: sent part by part, each made when the client has taken the last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from starlette.requests import Request
from starlette.responses import StreamingResponse

from pingboard.web.negotiation import choose_encoding, encode_stream


def stream_text(
    request: Request, parts: Iterable[str], media_type: str, headers: Mapping[str, str]
) -> StreamingResponse:
    """Stream a text, compressed as the client prefers; `Vary` in `headers` has to say so."""
    coding = choose_encoding(request.headers.get("accept-encoding", "").encode()) or b""
    response = StreamingResponse(encode_stream(coding, parts), 200, headers, media_type)
    if coding:
        response.headers["Content-Encoding"] = coding.decode()
    return response
