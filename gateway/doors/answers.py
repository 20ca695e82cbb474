"""How answers leave, and the one place that turns errors into OpenAI-shaped ones.

Promises: every answer has an x-jobgate-request-id; an error has OpenAI's shape whoever found it,
the framework included (what the Messages door says has Anthropic's); what a bug was about stays in
the log, and there as code and not as values.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable

import msgspec
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.doors.policy import methods_at
from gateway.errors import BadRequest, GatewayError, NotFound
from gateway.pipeline.asked import new_request_id

log = logging.getLogger(__name__)

Headers = Iterable[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
_REQUEST_ID = b"x-jobgate-request-id"
_PATH_SHOWN = 200

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


def message_error_body(error: GatewayError) -> bytes:
    """Anthropic's error shape."""
    kind = _ANTHROPIC_KINDS.get(error.status, "api_error")
    inside: dict[str, object] = {"type": kind, "message": error.message, "code": error.code}
    if error.details:
        inside["details"] = error.details
    return _encode({"type": "error", "error": inside})


_ANTHROPIC_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""Error types of Anthropic's API reference, by status."""


def error_headers(error: GatewayError) -> list[tuple[bytes, bytes]]:
    """What tells a client whether, and when, to ask again."""
    headers = [(b"x-should-retry", b"true" if error.retry else b"false")]
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, -int(-error.retry_after // 1))))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return headers


def as_gateway_error(error: Exception) -> GatewayError:
    """Ours as it is; anything else is a bug of ours, logged, and tells the caller nothing.

    The log has where it happened but not the error's own words, which may quote a prompt.
    """
    if isinstance(error, GatewayError):
        return error
    where = "".join(traceback.format_tb(error.__traceback__))
    log.error("a bug: %s\n%s", type(error).__name__, where)
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


class Numbered:
    """Middleware: an answer that has no request id gets one.

    The doors under /v1 number their own answers, and nothing is put between them and the server.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def numbered(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                if all(name != _REQUEST_ID for name, _ in headers):
                    message["headers"] = [*headers, (_REQUEST_ID, new_request_id().encode())]
            await send(message)

        own = scope["type"] != "http" or scope["path"].startswith("/v1/")
        await self._app(scope, receive, send if own else numbered)


def answer_in_one_shape(app: FastAPI) -> None:
    """Make the app's errors OpenAI-shaped and its answers numbered."""
    app.add_middleware(Numbered)
    app.add_exception_handler(GatewayError, _answer_error)
    app.add_exception_handler(HTTPException, answer_http_error)
    app.add_exception_handler(RequestValidationError, _answer_validation_error)
    app.add_exception_handler(Exception, _answer_error)


def _answer_error(_request: Request, error: Exception) -> Response:
    told = as_gateway_error(error)
    headers = {name.decode(): value.decode() for name, value in error_headers(told)}
    headers[_REQUEST_ID.decode()] = new_request_id()
    headers["x-content-type-options"] = "nosniff"  # a browser may have asked, for a path with HTML
    return Response(error_body(told), told.status, headers, "application/json")


def answer_http_error(request: Request, error: Exception) -> Response:
    """Starlette's own refusals: no such path, wrong method."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type alone
    path = request.scope["path"][:_PATH_SHOWN]
    if error.status_code == 405:
        told: GatewayError = BadRequest(f"{request.method} is not a method of {path}")
    elif error.status_code == 404:
        told = NotFound(f"there is nothing at {path}; the API is under /v1")
    else:
        told = BadRequest(str(error.detail))
    told.status = error.status_code
    answer = _answer_error(request, told)
    answer.headers.update(error.headers or {})
    if error.status_code == 405:  # the framework names those of one route alone
        answer.headers["allow"] = ", ".join(methods_at(request.scope["path"]))
    return answer


def _answer_validation_error(request: Request, error: Exception) -> Response:
    """FastAPI's refusals of parameters and bodies; only the first is told."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type alone
    first = error.errors()[0]
    if first["type"] == "json_invalid":  # its place is a byte, and no field
        return _answer_error(request, BadRequest("the body is not JSON"))
    path = ".".join(str(step) for step in first["loc"][1:]) or str(first["loc"][0])
    return _answer_error(request, BadRequest(f"{path}: {first['msg']}", param=path))
