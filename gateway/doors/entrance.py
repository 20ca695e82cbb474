"""What every /v1 door does first: read the headers, prove the key, read the body.

Plain ASGI, because on this way every microsecond is paid by every request.
"""

from __future__ import annotations

import asyncio

import msgspec
from starlette.types import Receive, Scope

from gateway.callers.callers import REFRESH_SECONDS, Caller, KeyRing, UnknownKey
from gateway.callers.throttle import Throttle
from gateway.errors import BadRequest, CallerLeft, NotAuthenticated, TooLarge
from gateway.metrics import Metrics


class Knock(msgspec.Struct, frozen=True):
    """The headers that we look at, as text."""

    authorization: str | None
    job: str | None
    tags: str | None
    repeat_key: str | None
    """The Idempotency-Key."""
    encoded: bool
    length: int | None


class Entrance:
    """Lets callers in."""

    def __init__(self, keys: KeyRing, metrics: Metrics, body_bytes_at_most: int) -> None:
        self._keys, self._metrics = keys, metrics
        self._throttle = Throttle()
        self._most = body_bytes_at_most

    async def caller(self, scope: Scope, knock: Knock) -> Caller:
        """Who calls. An address that guesses is slowed down first.

        Raises NotAuthenticated, and Forbidden where the key may not be used from the address.
        """
        address = peer_of(scope)
        if delay := self._throttle.delay(address):
            await asyncio.sleep(delay)
        try:
            try:
                caller = self._keys.authenticate(knock.authorization)
            except UnknownKey:
                caller = await self._look_again(knock.authorization)
        except NotAuthenticated:
            self._throttle.failed(address)
            self._metrics.refused_keys.inc()
            raise
        self._throttle.succeeded(address)
        if caller.networks:
            caller.may_come_from(address)
        return caller

    async def _look_again(self, authorization: str | None) -> Caller:
        """A key that was made a moment ago is not in memory yet, so an unknown one is looked at
        twice. Nothing is asked of the database, and whoever guesses waits for each guess."""
        await asyncio.sleep(1.5 * REFRESH_SECONDS)
        return self._keys.authenticate(authorization)

    async def body(self, receive: Receive, knock: Knock) -> bytes:
        """The whole body. Raises TooLarge before more than is allowed is kept in memory."""
        if knock.encoded:
            raise BadRequest("compressed bodies are not taken; send the body as it is")
        if knock.length is not None and knock.length > self._most:
            raise self._too_large()
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise CallerLeft("the caller left before the body was complete")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._most:
                raise self._too_large()
            more = message.get("more_body", False)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is larger than {self._most:,} bytes")


def peer_of(scope: Scope) -> str:
    """The address at the other end of the connection; no header has a say in it."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def read_headers(scope: Scope) -> Knock:
    """The headers that we look at."""
    told: dict[bytes, bytes] = dict(scope["headers"])  # of one that stands twice, the last
    authorization, length = told.get(b"authorization"), told.get(b"content-length", b"")
    if authorization is None and b"x-api-key" in told:  # where Anthropic's clients put it
        authorization = b"Bearer " + told[b"x-api-key"]
    encoding = told.get(b"content-encoding")
    job = _text(told.get(b"x-jobgate-job"))
    return Knock(
        authorization=None if authorization is None else authorization.decode("latin-1"),
        job=None if job is None else job.strip() or None,
        tags=_text(told.get(b"x-jobgate-tags")),
        repeat_key=_text(told.get(b"idempotency-key")),
        encoded=encoding is not None and encoding.strip().lower() not in (b"", b"identity"),
        length=int(length) if length.isdigit() else None,
    )


def _text(value: bytes | None) -> str | None:
    """Clients send UTF-8; what is not is read as the HTTP standard reads headers."""
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
