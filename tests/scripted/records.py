"""What the provider saw, and its own bill: the second set of books in a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from tests.scripted.http import Request
from tests.scripted.script import Script


@dataclass(slots=True)
class Seen:
    """One request as it arrived, and how far its answer came."""

    order: int
    """Counts from 1, in order of arrival."""
    request: Request
    script: Script | None = None
    """What its answer plays; None when no script was reached."""
    status: int = 0
    chunks_sent: int = 0
    bytes_sent: int = 0
    usage_told: bool = False
    """Whether the true usage was written out, and with the final figures."""
    done: bool = False
    """Whether its answer has ended, however it did."""
    client_gone: bool = False
    """Whether the client left before the answer was written."""

    @property
    def method(self) -> str:
        return self.request.method

    @property
    def path(self) -> str:
        """The path with its query."""
        return self.request.target

    @property
    def headers(self) -> dict[str, str]:
        """By lower-case names, secrets and all."""
        return self.request.headers

    @property
    def raw(self) -> bytes:
        """The body as it came."""
        return self.request.body

    @property
    def body(self) -> Any:
        """The body as JSON, or None if there is none. Raises msgspec.DecodeError."""
        return msgspec.json.decode(self.request.body) if self.request.body else None

    @property
    def request_id(self) -> str | None:
        """The id that the client gave the request, if it gave one."""
        headers = self.request.headers
        return headers.get("x-request-id") or headers.get("x-client-request-id")

    def as_json(self) -> dict[str, Any]:
        """What the control door tells of it."""
        names = ("method", "path", "headers", "request_id", "order", "status", "chunks_sent")
        flags = ("bytes_sent", "usage_told", "done", "client_gone")
        told = {name: getattr(self, name) for name in (*names, *flags)}
        return {**told, "body": self.raw.decode(errors="replace")}


@dataclass(frozen=True, slots=True)
class BillLine:
    """What one answer costs, in tokens. Refusals and hang-ups have no line."""

    order: int
    """The `order` of the request."""
    request_id: str | None
    answer_id: str
    model: str
    usage: dict[str, int]
    """By the names of `gateway.metering.usage.CLASSES`, all of them."""
    complete: bool
    """Whether the answer was written out to the end that its format has."""
    usage_told: bool
    generated_output_tokens: int
    """All output, reasoning included; of a broken stream, what had been generated."""
