"""The bodies of OpenAI's embeddings and Responses, checked as far as their metering needs."""

from __future__ import annotations

import msgspec

from gateway.errors import BadRequest
from gateway.wire.request_body import RequestBody, read_body, read_field, read_fields, start_of

_decode_flag = msgspec.json.Decoder(bool | None).decode


def read_embeddings(body: bytes) -> RequestBody:
    """Take an embeddings request apart. Raises BadRequest with the path of what is wrong."""
    fields = read_fields(body)
    _check_input(fields, lists_of=(b'"', b"[", b"0123456789"))
    if "stream" in fields and start_of(fields["stream"], 4) == b"true":
        raise BadRequest("embeddings are not streamed", param="stream")
    return read_body("embeddings", body, fields)


def read_responses(body: bytes) -> RequestBody:
    """Take a request in OpenAI's Responses format apart. Raises BadRequest.

    A background response is answered before its usage is known, and would go through unmetered,
    so it is refused.
    """
    fields = read_fields(body)
    if "prompt" not in fields:
        _check_input(fields, lists_of=(b"{",))
    if read_field(fields, "background", _decode_flag, "true or false"):
        raise BadRequest(
            "background responses are not served: their usage cannot be booked", param="background"
        )
    return read_body("responses", body, fields)


def _check_input(fields: dict[str, msgspec.Raw], lists_of: tuple[bytes, ...]) -> None:
    raw = fields.get("input")
    first = b"" if raw is None else start_of(raw, 1)
    if first in (b"", b"n"):
        raise BadRequest("input is missing", param="input")
    if first not in (b'"', b"["):
        raise BadRequest("input must be text or a list", param="input")
    if first == b"[" and raw is not None:
        inside = bytes(raw)[1:64].lstrip()[:1]
        if inside == b"]":
            raise BadRequest("input must have at least one item", param="input")
        if not any(inside in kind for kind in lists_of):
            raise BadRequest("input[0] is not of a kind that is taken here", param="input[0]")
