"""One HTTP exchange: aiohttp's pooled connections, TLS and parser, without its session.

A session looks at cookies, redirects, proxies, netrc files, auth and middleware for each request,
none of which a provider is asked with here; that, and a task to send the body, were a fifth of a
plain answer's processor time. So the head is written here, once for many requests, and sent with
the body in one piece; what comes back is read by the library.

Promises: no host but the one of the head is talked to, no redirect is followed, and no value can
add a line to a head. A connection goes back to the pool only when request and answer are both
at their end.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

import aiohttp
import msgspec
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

_OURS = {"Accept-Encoding": "identity", "User-Agent": "jobgate"}
_FRAMING = ("Content-Length", "Transfer-Encoding")
_BREAK = re.compile(r"[\r\n\0]")
_CONNECTIONS = 2048
_IDLE_CONNECTION_SECONDS = 15
_REMEMBERED = 256
"""Addresses whose way is kept in memory; beyond it the memory starts anew."""
_SWITCHING_PROTOCOLS = 101


class Head(msgspec.Struct, frozen=True, eq=False):
    """What begins a request: all of it but the length of its body and the body."""

    url: URL
    text: bytes


class Exchange(msgspec.Struct, frozen=True):
    """What is sent where."""

    head: Head
    body: bytes


def head_of(url: str | URL, headers: Mapping[str, str], method: str = "POST") -> Head:
    """The head of requests to this URL. Raises ValueError where a header would be two."""
    url = URL(url)
    merged = CIMultiDict({"Host": url.host_port_subcomponent or "", **_OURS})
    for name, value in headers.items():
        merged[name] = value
    for name in _FRAMING:
        merged.popall(name, None)
    for name, value in merged.items():
        if _BREAK.search(name) or _BREAK.search(value):  # the value may be a secret
            raise ValueError(f"the header {name!r} has a line break in it")
    first = f"{method} {url.raw_path_qs} HTTP/1.1"
    lines = [first, *(f"{name}: {value}" for name, value in merged.items()), "Content-Length: "]
    return Head(url, "\r\n".join(lines).encode())


class Answer:
    """An answer whose head has come. It has to be released, or closed, once it is done with."""

    __slots__ = ("_connection", "content", "headers", "status")

    def __init__(
        self,
        connection: Connection,
        status: int,
        headers: CIMultiDictProxy[str],
        content: aiohttp.StreamReader,
    ) -> None:
        self._connection = connection
        self.status, self.headers, self.content = status, headers, content

    def release(self) -> None:
        """Give the connection back; it is closed where the request or the answer goes on."""
        transport = self._connection.transport
        if transport is not None and transport.get_write_buffer_size():
            self._connection.close()
        else:
            self._connection.release()

    def close(self) -> None:
        """Close the connection; whoever reads of it is told so."""
        if not self.content.is_eof() and self.content.exception() is None:
            self.content.set_exception(aiohttp.ClientConnectionError("the connection was closed"))
        self._connection.close()


class Connections:
    """Connections to one provider. To be made, used and closed on one event loop."""

    def __init__(self, connect_seconds: float) -> None:
        """`connect_seconds` bound the making of a connection, TLS included."""
        self._connector = aiohttp.TCPConnector(
            limit=_CONNECTIONS, keepalive_timeout=_IDLE_CONNECTION_SECONDS
        )
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds)
        self._ways: dict[URL, aiohttp.ClientRequest] = {}
        """By the URL, the request that a connection is made for; never sent itself."""

    async def send(self, exchange: Exchange) -> Answer:
        """Send, and wait for the head of the answer, whatever its status.

        Raises what aiohttp raises: ClientError, of which ClientConnectorError and
        ConnectionTimeoutError mean that nothing was sent.
        """
        try:
            connection = await self._connector.connect(
                self._way(exchange.head.url), traces=[], timeout=self._timeout
            )
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError("no connection in time") from error
        try:
            return await _exchange(connection, exchange)
        except BaseException:
            connection.close()
            raise

    async def aclose(self) -> None:
        """Close all connections."""
        await self._connector.close()

    def _way(self, url: URL) -> aiohttp.ClientRequest:
        way = self._ways.get(url)
        if way is None:
            if len(self._ways) >= _REMEMBERED:
                self._ways.clear()
            loop = asyncio.get_running_loop()
            way = self._ways[url] = aiohttp.ClientRequest("POST", url, loop=loop)
        return way


async def _exchange(connection: Connection, exchange: Exchange) -> Answer:
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None:
        raise aiohttp.ServerDisconnectedError
    protocol.set_response_params(read_until_eof=True)
    head, body = exchange.head.text, exchange.body
    transport.writelines((head, b"%d\r\n\r\n" % len(body), body))
    return await _head_of_answer(connection, protocol)


async def _head_of_answer(connection: Connection, protocol: ResponseHandler) -> Answer:
    try:
        message, content = await protocol.read()
        while message.code < 200 and message.code != _SWITCHING_PROTOCOLS:
            message, content = await protocol.read()
    except HttpProcessingError as error:
        raise aiohttp.ClientPayloadError(f"{error.code}, {error.message}") from error
    return Answer(connection, message.code, message.headers, content)
