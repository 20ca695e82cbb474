"""Bytes to a gateway as nobody's HTTP client would send them, and what comes back."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
QUIET_SECONDS = 0.4
"""Without a byte for so long, a gateway that has nothing to look up has said all."""


@dataclass(frozen=True)
class Said:
    """All that came back on one connection."""

    raw: bytes
    closed: bool

    @property
    def statuses(self) -> list[int]:
        """The status of each answer, in order."""
        return [int(status) for status in _STATUS.findall(self.raw)]


class Line:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, url: str) -> Line:
        """A connection to the gateway at this address."""
        host, _, port = url.removeprefix("http://").rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    async def send(self, raw: bytes) -> None:
        """Send bytes; nothing happens when the other side has hung up."""
        try:
            self.writer.write(raw)
            await self.writer.drain()
        except ConnectionError:
            return

    async def hear(self, seconds: float = QUIET_SECONDS) -> Said:
        """All that comes until it is quiet for so long, or over."""
        heard = bytearray()
        try:
            while part := await asyncio.wait_for(self.reader.read(65536), seconds):
                heard += part
        except TimeoutError:
            return Said(bytes(heard), closed=False)
        except ConnectionError:
            pass
        return Said(bytes(heard), closed=True)

    async def close(self) -> None:
        """Hang up."""
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            return


async def say(url: str, raw: bytes, seconds: float = QUIET_SECONDS) -> Said:
    """What a gateway answers to these bytes."""
    line = await Line.to(url)
    try:
        await line.send(raw)
        return await line.hear(seconds)
    finally:
        await line.close()
