"""A load client that costs little: raw HTTP/1.1 over keep-alive connections on uvloop.

It runs as a process of its own and prints one JSON line: requests, seconds, latencies in
milliseconds (p50, p99), the time to the first byte of a body, and how many were not a 200.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import cast

import uvloop


class Connection(asyncio.Protocol):
    """Sends the same request again and again, one at a time."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._buffer = b""
        self._began = 0.0
        self._first = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer = self._buffer + data if self._buffer else data
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = buffer[:end].lower()
        if not self._first and len(buffer) > end + 4:
            self._first = time.perf_counter()
        at = head.find(b"content-length: ")
        if at >= 0:
            length = int(head[at + 16 :].split(b"\r\n", 1)[0])
            if len(buffer) < end + 4 + length:
                return
        elif not buffer.endswith(b"0\r\n\r\n"):
            return
        self._run.done(head.startswith(b"http/1.1 200"), self._began, self._first)
        self._buffer = b""
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        self._run.lost()

    def _next(self) -> None:
        if not self._run.take():
            self._transport.close()
            return
        self._first = 0.0
        self._began = time.perf_counter()
        self._transport.write(self._run.request)


class Run:
    """One bounded run of requests."""

    def __init__(self, request: bytes, count: int, connections: int) -> None:
        self.request = request
        self._left, self._open = count, connections
        self._bad = 0
        self._times: list[float] = []
        self._firsts: list[float] = []
        self.over = asyncio.get_running_loop().create_future()
        self._began = time.perf_counter()

    def take(self) -> bool:
        self._left -= 1
        return self._left >= 0

    def done(self, good: bool, began: float, first: float) -> None:
        now = time.perf_counter()
        self._times.append(now - began)
        self._firsts.append((first or now) - began)
        self._bad += not good

    def lost(self) -> None:
        self._open -= 1
        if not self._open and not self.over.done():
            self.over.set_result(time.perf_counter() - self._began)

    def report(self, seconds: float) -> dict[str, float]:
        times, firsts = sorted(self._times), sorted(self._firsts)
        return {
            "requests": len(times),
            "seconds": seconds,
            "per_second": len(times) / seconds,
            "p50_ms": times[len(times) // 2] * 1e3,
            "p99_ms": times[len(times) * 99 // 100] * 1e3,
            "first_byte_p50_ms": firsts[len(firsts) // 2] * 1e3,
            "bad": self._bad,
        }


async def load(arguments: argparse.Namespace) -> dict[str, float]:
    """Run it."""
    body = json.dumps(
        {
            "model": arguments.model,
            "messages": [{"role": "user", "content": arguments.prompt}],
            "max_tokens": 100,
            **({"stream": True} if arguments.stream else {}),
        }
    )
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{arguments.port}\r\n"
        f"Authorization: Bearer {arguments.key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    run = Run((head + body).encode(), arguments.count, arguments.connections)
    loop = asyncio.get_running_loop()
    for _ in range(arguments.connections):
        await loop.create_connection(lambda: Connection(run), "127.0.0.1", arguments.port)
    return run.report(await run.over)


def main() -> None:
    """Read the options and print the report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", default="x")
    parser.add_argument("--model", default="extraction")
    parser.add_argument("--prompt", default="Tell me in two words what to do today. " * 5)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--stream", action="store_true")
    print(json.dumps(uvloop.run(load(parser.parse_args()))))


if __name__ == "__main__":
    main()
