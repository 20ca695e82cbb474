"""A wire between the gateway and PostgreSQL that breaks when it is told to.

It passes bytes on, both ways. After `cut_at_commit(table)` the next COMMIT of a transaction that
put rows into the table still reaches the server and is done there, but the connection ends before
its answer comes back: nobody on this side can know. Between `fall_silent()` and `speak()` it
swallows nothing and passes nothing on, like a network that has lost its way.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class Wire:
    """Listens on a port of its own; `url` is the database's address through it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname or "", parts.port or 0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = parts._replace(netloc=f"postgres@127.0.0.1:{port}").geturl()
        self._cutting: bytes | None = None
        self._breaks = True
        self.cut = threading.Event()
        """Set when a connection was cut."""
        self._speaking = threading.Event()
        self._speaking.set()
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def cut_at_commit(self, table: str) -> None:
        """Break the connection on which such a COMMIT comes, when the server has done it."""
        self.cut.clear()
        self._cutting = f"INSERT INTO {table} ".encode()

    def fall_silent_at_commit(self, table: str) -> None:
        """The same, but the connection stays, and its answer waits until we speak again."""
        self._breaks = False
        self.cut_at_commit(table)

    def fall_silent(self) -> None:
        """Pass nothing on, either way, and break nothing."""
        self._speaking.clear()

    def speak(self) -> None:
        """Pass on what has come meanwhile, and what comes."""
        self._speaking.set()

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.speak()
        for each in (self._listener, *self._sockets):
            _close(each)
        for thread in self._threads:
            thread.join(timeout=5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._server)
            self._sockets += [client, server]
            doomed = threading.Event()
            for way in (self._requests, self._answers):
                thread = threading.Thread(target=way, args=(client, server, doomed), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _requests(
        self, client: socket.socket, server: socket.socket, doomed: threading.Event
    ) -> None:
        writes = False
        for data in _chunks(client):
            self._speaking.wait()
            if self._cutting is not None:
                writes = writes or self._cutting in data
                if writes and b"COMMIT" in data:
                    self._cutting = None
                    (doomed.set if self._breaks else self._speaking.clear)()
            with suppress(OSError):
                server.sendall(data)
        _close(server)

    def _answers(
        self, client: socket.socket, server: socket.socket, doomed: threading.Event
    ) -> None:
        for data in _chunks(server):
            self._speaking.wait()
            if doomed.is_set():
                break
            with suppress(OSError):
                client.sendall(data)
        _close(client)
        if doomed.is_set():
            self.cut.set()


def _chunks(source: socket.socket) -> Iterator[bytes]:
    with suppress(OSError):
        while data := source.recv(65536):
            yield data


def _close(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
