"""The bare pass-through that the gateway is measured against: ASGI and aiohttp, nothing else.

It reads the body, posts it to the provider with the same client library that the gateway uses,
and hands the answer back, streams chunk by chunk. No keys, no parsing, no accounting.
"""

from __future__ import annotations

import sys
from typing import Any

import aiohttp
import uvicorn


class Bare:
    """The ASGI app."""

    def __init__(self, upstream: str) -> None:
        self._url = f"{upstream}/openai/v1/chat/completions"
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=2048))
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {"content-type": "application/json", "authorization": "Bearer x"}
        async with self._session.post(self._url, data=body, headers=headers) as response:
            kind = response.headers["content-type"].encode()
            start = {"type": "http.response.start", "status": response.status}
            if b"stream" in kind:
                await send({**start, "headers": [(b"content-type", kind)]})
                async for chunk in response.content.iter_any():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
                return
            answer = await response.read()
        length = (b"content-length", b"%d" % len(answer))
        await send({**start, "headers": [(b"content-type", kind), length]})
        await send({"type": "http.response.body", "body": answer})


if __name__ == "__main__":
    uvicorn.run(
        Bare(sys.argv[1]),
        host="127.0.0.1",
        port=int(sys.argv[2]),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        ws="none",
        access_log=False,
        log_config=None,
    )
