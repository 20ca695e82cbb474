"""How answers leave, and the one place that turns errors into OpenAI-shaped ones."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import msgspec
from starlette.types import Send

from gateway.errors import GatewayError

log = logging.getLogger(__name__)

Headers = Iterable[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]

_encode = msgspec.json.Encoder().encode


def error_body(error: GatewayError) -> bytes:
    """OpenAI's error shape, with the figures behind a refusal under `details`."""
    body: dict[str, object] = {
        "message": error.message,
        "type": error.kind,
        "param": error.param,
        "code": error.code,
    }
    if error.details:
        body["details"] = error.details
    return _encode({"error": body})


def error_headers(error: GatewayError) -> list[tuple[bytes, bytes]]:
    """What tells a client whether, and when, to ask again."""
    headers = [(b"x-should-retry", b"true" if error.retry else b"false")]
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, -int(-error.retry_after // 1))))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return headers


def as_gateway_error(error: Exception) -> GatewayError:
    """Ours as it is; anything else is a bug of ours, logged, and tells the caller nothing."""
    if isinstance(error, GatewayError):
        return error
    log.error("a bug: %s", type(error).__name__, exc_info=error)
    return GatewayError("something went wrong inside the gateway; it has been logged")


async def send_whole(send: Send, status: int, body: bytes, headers: Headers) -> None:
    """A whole answer."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*headers, (b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, error: GatewayError, headers: Headers = ()) -> None:
    """An error, as a whole answer."""
    await send_whole(send, error.status, error_body(error), [JSON, *error_headers(error), *headers])
