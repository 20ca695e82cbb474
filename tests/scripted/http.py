"""HTTP/1.1 on one connection: requests out of bytes, one at a time, and bytes written back.

Keep-alive and pipelining work; bodies may come with a length or in chunks, up to 60 MB.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
import struct
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, cast

BODY_MAX = 60 * 1024 * 1024
HEAD_MAX = 256 * 1024
_END_OF_HEAD = b"\r\n\r\n"
_LINGER_NOT = struct.pack("ii", 1, 0)


class BadRequest(Exception):
    """The bytes are not a request that can be read."""


@dataclass(frozen=True)
class Request:
    """One request; `head` is everything before the empty line."""

    method: str
    target: str
    head: bytes
    body: bytes

    @cached_property
    def headers(self) -> dict[str, str]:
        """Headers by their lower-case names; the last of a name wins."""
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        pairs = (line.partition(":") for line in lines)
        return {name.strip().lower(): value.strip() for name, _, value in pairs}

    @property
    def wants_close(self) -> bool:
        """Whether the client will not use the connection again."""
        lowered = self.head.lower()
        return (
            b"\r\nconnection: close" in lowered or b"http/1.0" in lowered[: lowered.find(b"\r\n")]
        )


class RequestReader:
    """Collects bytes and gives back whole requests."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._head: bytes | None = None
        self._length: int | None = 0
        self._chunks = bytearray()

    def feed(self, data: bytes) -> None:
        """Take in bytes as they come."""
        self._buffer += data

    def next(self) -> Request | None:
        """The next whole request, or None. Raises BadRequest."""
        if self._head is None and not self._take_head():
            return None
        body = self._chunked_body() if self._length is None else self._sized_body(self._length)
        if body is None or self._head is None:
            return None
        head, self._head = self._head, None
        line = head[: head.find(b"\r\n")] if b"\r\n" in head else head
        method, _, rest = line.decode("latin-1").partition(" ")
        return Request(method, rest.rpartition(" ")[0], head, body)

    def _take_head(self) -> bool:
        end = self._buffer.find(_END_OF_HEAD)
        if end < 0:
            if len(self._buffer) > HEAD_MAX:
                raise BadRequest("the head is too long")
            return False
        self._head = head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        lowered = head.lower() + b"\r\n"
        self._length = 0
        if b"\r\ntransfer-encoding:" in lowered:
            self._length = None
        elif (at := lowered.find(b"\r\ncontent-length:")) >= 0:
            self._length = int(lowered[at + 17 : lowered.find(b"\r\n", at + 2)])
            if self._length > BODY_MAX:
                raise BadRequest("the body is too long")
        return True

    def _sized_body(self, length: int) -> bytes | None:
        if len(self._buffer) < length:
            return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return body

    def _chunked_body(self) -> bytes | None:
        while (end := self._buffer.find(b"\r\n")) >= 0:
            size = int(bytes(self._buffer[:end]).partition(b";")[0], 16)
            if len(self._chunks) + size > BODY_MAX:
                raise BadRequest("the body is too long")
            after = end + 2 + size + 2
            if len(self._buffer) < after:
                return None
            self._chunks += self._buffer[end + 2 : after - 2]
            del self._buffer[:after]
            if size == 0:
                body, self._chunks = bytes(self._chunks), bytearray()
                return body
        return None


Serve = Callable[["Connection", Request], Coroutine[Any, Any, None] | None]


class Connection(asyncio.Protocol):
    """One client. `serve` answers a request at once (None) or returns what will answer it."""

    def __init__(self, serve: Serve, open_ones: set[Connection]) -> None:
        self._serve = serve
        self._open_ones = open_ones
        self._reader = RequestReader()
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.transport: asyncio.Transport
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self._open_ones.add(self)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        if self._task is None:
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._open_ones.discard(self)
        if self._task is None:
            return
        if inspect.getcoroutinestate(self._task.get_coro()) == inspect.CORO_CREATED:
            # once it has begun: a task that never ran could not say how its answer ended
            asyncio.get_running_loop().call_soon(self._task.cancel)
        else:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    @property
    def is_gone(self) -> bool:
        """Whether the client has left, noticed by us or not yet."""
        return self.lost or self.transport.is_closing()

    @property
    def is_full(self) -> bool:
        """Whether the client reads more slowly than is written."""
        return not self._writable.is_set()

    async def drained(self) -> None:
        """Wait until the client has read enough to write more."""
        await self._writable.wait()

    async def reset(self) -> None:
        """Deliver what was written, then end the connection with a TCP reset."""
        while self.transport.get_write_buffer_size():
            await asyncio.sleep(0.001)
        theirs = self.transport.get_extra_info("socket")
        with socket.fromfd(theirs.fileno(), theirs.family, theirs.type) as ours:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self.transport.abort()

    async def ended(self) -> None:
        """Abort, and wait for the answer in progress to notice."""
        task = self._task
        self.transport.abort()
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _next(self) -> None:
        """Answer requests that have arrived, until one takes time."""
        while self._task is None and not self.transport.is_closing():
            try:
                request = self._reader.next()
            except (BadRequest, ValueError) as wrong:
                body = str(wrong).encode()
                head = b"HTTP/1.1 400 Bad Request\r\ncontent-length: %d\r\n\r\n" % len(body)
                self.transport.write(head + body)
                self.transport.close()
                return
            if request is None:
                return
            slow = self._serve(self, request)
            if slow is not None:
                self._task = asyncio.get_running_loop().create_task(slow)
                self._task.add_done_callback(partial(self._done, request))
            elif request.wants_close:
                self.transport.close()

    def _done(self, request: Request, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and task.exception() is not None:
            self.transport.abort()
        elif request.wants_close:
            self.transport.close()
        elif not self.lost:
            self._next()
