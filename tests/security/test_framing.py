"""Request smuggling: no bytes can be read as one request here and as another by a proxy before us.

Every case ends in one of two ways: the whole connection is refused with 400 and closed, or the
request has the one length that everybody sees. What follows a refused request is never answered.
"""

from __future__ import annotations

import pytest

from tests.security.wire import Said, say
from tests.stories.front_door import House

pytestmark = pytest.mark.anyio

POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n"
HIDDEN = b"GET /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n"
"""A good request, whose answer shows that somebody took it for one."""
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"

REFUSED = {
    "CL.TE: a length, and chunks": POST
    + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    "TE.CL: chunks, and a length": CHUNKED + b"Content-Length: 4\r\n\r\n27\r\n",
    "TE.TE: chunks, and a coding that nobody knows": CHUNKED
    + b"Transfer-Encoding: x\r\n\r\n0\r\n\r\n",
    "TE.TE: the same the other way round": POST
    + b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE.TE: chunked twice": CHUNKED + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a coding that only looks like chunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked, but not last": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked behind another coding": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "the coding identity": POST + b"Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n",
    "chunked after a vertical tab": POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "a space before the colon of a coding": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths that differ": POST + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
    "two lengths that agree": POST + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "a list of lengths": POST + b"Content-Length: 0, 0\r\n\r\n",
    "a length with a sign": POST + b"Content-Length: +0\r\n\r\n",
    "a negative length": POST + b"Content-Length: -1\r\n\r\n",
    "a length in hexadecimal": POST + b"Content-Length: 0x0\r\n\r\n",
    "a length beyond 64 bits": POST + b"Content-Length: 18446744073709551616\r\n\r\n",
    "an empty length": POST + b"Content-Length:\r\n\r\n",
    "a space before the colon of a length": POST + b"Content-Length : 0\r\n\r\n",
    "obs-fold: a folded header": POST + b"X-A: b\r\n Content-Length: 5\r\n\r\n",
    "obs-fold: a folded coding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a head with bare line feeds": b"POST / HTTP/1.1\nHost: gateway\nContent-Length: 0\n\n",
    "a header that ends with a bare line feed": POST + b"X-A: b\nContent-Length: 0\r\n\r\n",
    "a header with a bare carriage return": POST + b"X-A: b\rContent-Length: 5\r\n\r\n",
    "a header with a zero byte": POST + b"X-A: b\x00c\r\n\r\n",
    "a header without a colon": POST + b"X-A\r\n\r\n",
    "a chunk's size with a bare line feed": CHUNKED + b"\r\n0\n\r\n",
    "a chunk's extension with a bare line feed": CHUNKED + b"\r\n1;\nx\r\nA\r\n0\r\n\r\n",
    "a chunk that is longer than its size": CHUNKED + b"\r\n1\r\nABC\r\n0\r\n\r\n",
    "a chunk's size with a prefix": CHUNKED + b"\r\n0x1\r\nA\r\n0\r\n\r\n",
    "a chunk's size that is negative": CHUNKED + b"\r\n-1\r\nA\r\n0\r\n\r\n",
    "a chunk's size beyond 64 bits": CHUNKED + b"\r\n10000000000000001\r\nA\r\n0\r\n\r\n",
    "a trailer that names a length": CHUNKED + b"\r\n0\r\nContent-Length: 40\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /healthz HTTP/1.1\r\nHost: gateway\r\nHost: other\r\n\r\n",
    "a version before there were headers": b"GET /healthz\r\n\r\n",
    "a version that is not spoken here": b"GET /healthz HTTP/2.0\r\nHost: gateway\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a space in the path": b"GET /healthz x HTTP/1.1\r\nHost: gateway\r\n\r\n",
    "bytes in the path that are no ASCII": b"GET /health\xc3\xa9 HTTP/1.1\r\nHost: gateway\r\n\r\n",
    "a proxy's CONNECT": b"CONNECT gateway:80 HTTP/1.1\r\nHost: gateway\r\n\r\n",
}


def is_refused(said: Said) -> bool:
    return said.statuses == [400] and said.closed


@pytest.mark.parametrize("attack", REFUSED.values(), ids=REFUSED.keys())
async def test_what_can_be_read_in_two_ways_is_refused_and_nothing_after_it_is_answered(
    attack: bytes, house: House
) -> None:
    assert is_refused(await say(house.gateway.url, attack + HIDDEN))


async def test_two_requests_in_one_write_are_two_requests_in_their_order(house: House) -> None:
    # a refused key is answered without a look at the body, which then is not a request of its own
    first = b"GET /nowhere HTTP/1.1\r\nHost: gateway\r\nContent-Length: 40\r\n\r\n" + HIDDEN[:40]

    said = await say(house.gateway.url, first + HIDDEN)

    assert said.statuses == [404, 200]


@pytest.mark.parametrize("wanted", [b"h2c", b"websocket", b"TLS/1.0"])
async def test_no_other_protocol_can_be_asked_for(wanted: bytes, house: House) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: "

    said = await say(house.gateway.url, head + wanted + b"\r\n\r\n" + HIDDEN)

    assert said.statuses == [200]  # what follows is not HTTP any more to a proxy, nor to us


async def test_what_follows_a_last_request_is_not_answered(house: House) -> None:
    last = HIDDEN.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

    said = await say(house.gateway.url, last + HIDDEN)

    assert (said.statuses, said.closed) == ([200], True)


async def test_the_host_in_an_absolute_address_is_nobody(house: House) -> None:
    request = b"GET http://169.254.169.254/healthz HTTP/1.1\r\nHost: gateway\r\n\r\n"

    said = await say(house.gateway.url, request)

    assert said.statuses == [200]
    assert b'{"status":"ok"}' in said.raw
