"""One connection of a caller, before any request of it is anybody's: bytes, time and framing.

The server reads HTTP strictly by itself: two lengths, a length beside chunks, folded lines or a
bare line feed are refused. Here stands what it leaves open: how long a request may take to
arrive, how large its head may be, how long an answer may wait to be taken, and the few framings
that a proxy before us might read in another way than we do.

Promises: a connection that does nothing, or nearly nothing, ends; what it costs until then is
bounded; none of this needs a key, and none of it is said to an application.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 15.0
"""For so long may a head, its first line and headers, be under way; also the very first one."""
REQUEST_SECONDS = 300.0
"""For so long may a whole request be under way."""
UNTAKEN_SECONDS = 60.0
"""For so long may an answer stand in a full buffer while its caller takes less than that."""
HEAD_BYTES_AT_MOST = 64 * 1024
"""Bytes of a head that has not come to its end; one read from the socket may bring more."""
_LOOK_SECONDS = 5.0
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 26\r\nconnection: close\r\n\r\n"
    b"The headers are too large."
)
_CHUNKED = b"chunked"
_VERSIONS = ("1.1", "1.0")


class BadFraming(Exception):
    """A request that somebody else might read as another one; the server answers 400 and closes."""


class Gathering:
    """A transport that sends what one round of the event loop brings in one piece: a head with
    its body, the last events of a stream with its end. One packet, one call of the operating
    system."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self.is_closing = transport.is_closing
        self._waiting: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send at the end of this round."""
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(data)

    def close(self) -> None:
        """Send what waits, and close."""
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _flush(self) -> None:
        data, self._waiting = self._waiting, []
        if data and not self.is_closing():  # the caller may be gone
            self._transport.write(b"".join(data))


class Connection(HttpToolsProtocol):
    """The server's protocol, with limits."""

    look_seconds = _LOOK_SECONDS
    head_seconds = HEAD_SECONDS
    request_seconds = REQUEST_SECONDS
    untaken_seconds = UNTAKEN_SECONDS

    _looks = 0
    """How often this connection was looked at: its clock, because a real one costs more."""
    _head_since: int | None = None
    """The look before the head began that has not ended yet; None while none is under way."""
    _request_since: int | None = None
    _untaken_since: int | None = None
    _head_bytes = 0
    """Of the head that is under way; negative until the read is over in which it began."""
    _looking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody has connected, and has to say something soon."""
        super().connection_made(Gathering(transport, self.loop))  # type: ignore[arg-type]
        self._head_since = 0
        self._looking = self.loop.call_later(self.look_seconds, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        super().connection_lost(exc)
        if self._looking is not None:
            self._looking.cancel()

    def data_received(self, data: bytes) -> None:
        """Some bytes of requests."""
        super().data_received(data)
        if self._head_since is not None:
            self._head_bytes = self._head_bytes + len(data) if self._head_bytes >= 0 else 0
            if self._head_bytes > HEAD_BYTES_AT_MOST and not self.transport.is_closing():
                self.logger.warning("A head of over %d bytes was refused.", HEAD_BYTES_AT_MOST)
                self.transport.write(_TOO_LARGE)
                self.transport.close()
        elif self._request_since is None and (self.cycle is None or self.cycle.response_complete):
            # Nothing is under way, but the server has stopped to count how long nothing is.
            self._head_since = self._looks

    def on_message_begin(self) -> None:
        """The first bytes of a request."""
        super().on_message_begin()
        self._head_since = self._request_since = self._looks
        self._head_bytes = -1

    def on_headers_complete(self) -> None:
        """The head is whole. Raises BadFraming."""
        self._head_since = None
        self._refuse_ambiguity()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._request_since = None
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The caller takes less than it is sent."""
        self._untaken_since = self._looks
        super().pause_writing()

    def resume_writing(self) -> None:
        """The caller has taken what there was."""
        self._untaken_since = None
        super().resume_writing()

    def _unsupported_upgrade_warning(self) -> None:
        """Another protocol is not spoken; that somebody asked for one is no news."""

    def _refuse_ambiguity(self) -> None:
        version = self.parser.get_http_version()
        if version not in _VERSIONS:
            raise BadFraming("HTTP of this version is not spoken here")
        names = [name for name, _ in self.headers]
        hosts = names.count(b"host")
        if hosts > 1 or (not hosts and version == "1.1"):
            raise BadFraming("one host, and no other")
        if b"transfer-encoding" in names:
            codings = [value for name, value in self.headers if name == b"transfer-encoding"]
            if version != "1.1" or [coding.strip().lower() for coding in codings] != [_CHUNKED]:
                raise BadFraming("a coding of the body that is not understood")

    def _look(self) -> None:
        """Now and then: whether this connection has waited for its caller for too long."""
        self._looks = now = self._looks + 1
        if self.flow.read_paused:  # then it is we who do not read on
            self._head_since = None if self._head_since is None else now
            self._request_since = None if self._request_since is None else now
        for since, seconds in (
            (self._head_since, self.head_seconds),
            (self._request_since, self.request_seconds),
            (self._untaken_since, self.untaken_seconds),
        ):
            if since is not None and (now - since) * self.look_seconds > seconds:
                self.transport.abort()
                return
        self._looking = self.loop.call_later(self.look_seconds, self._look)


def with_limits(**seconds: float) -> type[Connection]:
    """A kind of connection with other limits than the usual ones, such as head_seconds=0.2."""
    made: dict[str, Any] = dict(seconds)
    return type("LimitedConnection", (Connection,), made)
