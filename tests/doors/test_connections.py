"""How answers leave: what belongs together in one piece, and nothing too late."""

from __future__ import annotations

import asyncio

import pytest

from gateway.doors.connections import Gathering

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"


class Wire(asyncio.Transport):
    """The operating system's end: keeps what is sent, call by call."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.sent.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


async def round_of_the_loop() -> None:
    """Everything that is due now has been done after it."""
    done = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(done.set_result, None)
    await done


async def test_a_head_and_its_body_leave_together() -> None:
    wire = Wire()
    answer = Gathering(wire, asyncio.get_running_loop())
    answer.write(HEAD)
    answer.write(b"body")
    await round_of_the_loop()
    assert wire.sent == [HEAD + b"body"]


async def test_a_head_waits_no_longer_than_the_round_of_the_loop() -> None:
    wire = Wire()
    answer = Gathering(wire, asyncio.get_running_loop())
    answer.write(HEAD)
    assert wire.sent == []
    await round_of_the_loop()
    assert wire.sent == [HEAD]


async def test_the_last_events_of_a_stream_leave_with_its_end() -> None:
    wire = Wire()
    answer = Gathering(wire, asyncio.get_running_loop())
    answer.write(HEAD)
    await round_of_the_loop()
    answer.write(b"6\r\nevents\r\n")
    answer.write(b"0\r\n\r\n")
    await round_of_the_loop()
    assert wire.sent == [HEAD, b"6\r\nevents\r\n0\r\n\r\n"]


async def test_nothing_is_sent_to_a_caller_who_is_gone() -> None:
    wire = Wire()
    answer = Gathering(wire, asyncio.get_running_loop())
    answer.write(HEAD)
    wire.close()
    await round_of_the_loop()
    assert wire.sent == []


async def test_a_body_that_looks_like_a_head_is_sent_all_the_same_and_in_order() -> None:
    wire = Wire()
    answer = Gathering(wire, asyncio.get_running_loop())
    for part in (HEAD, b"HTTP/1.1 is old", b"HTTP/1.1 again", b"end", b"HTTP/1.1 last"):
        answer.write(part)
    await round_of_the_loop()
    assert b"".join(wire.sent) == HEAD + b"HTTP/1.1 is oldHTTP/1.1 againendHTTP/1.1 last"


async def test_a_head_is_sent_before_the_connection_is_closed() -> None:
    wire = Wire()
    answer = Gathering(wire, asyncio.get_running_loop())
    answer.write(HEAD)
    answer.close()
    await round_of_the_loop()
    assert wire.sent == [HEAD]
    assert wire.closed
    assert answer.is_closing()
