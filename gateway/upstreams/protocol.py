"""What a provider is to us: something that takes a call and gives a reply.

Whatever the provider speaks, what comes out of a reply is OpenAI's shape; what it used stands in
the reply's meter in our own classes. A reply is closed exactly once by whoever got it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import Protocol

import msgspec

from gateway.jobs.routes import Target
from gateway.metering.usage import Extra, Usage


class Call(msgspec.Struct, frozen=True):
    """One request as it leaves us: the job's choices are already made."""

    request_id: str
    form: str
    """chat, embeddings, responses or messages (`jobs.forms`)."""
    target: Target
    credential: str | None
    fields: Mapping[str, msgspec.Raw]
    """The fields of the body in the shape of its form, each still JSON."""
    output_limit: int
    """Output tokens for each choice."""
    stream: bool
    caller_wants_usage: bool
    """Whether the caller asked for usage in the stream."""


class Prepared(msgspec.Struct, frozen=True):
    """A call as its provider will get it."""

    call: Call
    body: bytes
    dropped: tuple[str, ...] = ()
    """Fields that have no place in the provider's format."""


class Meter(msgspec.Struct):
    """What a reply has told of itself so far."""

    usage: Usage | None = None
    """None: the provider has not told, which is not the same as nothing."""
    model: str = ""
    upstream_id: str = ""
    service_tier: str | None = None
    stated_cost: Decimal | None = None
    """The charge in USD, when the provider states it itself."""
    extras: tuple[Extra, ...] = ()
    """What was used beside `usage`, at prices of its own."""
    rounds: tuple[Usage, ...] = ()
    """The parts that `usage` is the sum of, if size tiers go by them; empty for most."""
    unbilled: bool = False
    """The provider told usage, and says that it does not bill it."""


class PlainReply(msgspec.Struct):
    """A whole answer."""

    body: bytes
    meter: Meter
    text: str | None = None
    """Its text, for counting; None for a chat completion, which is asked only when needed."""


class StreamReply(Protocol):
    """An answer that is still arriving, as events of its form without those that end it."""

    meter: Meter

    @property
    def complete(self) -> bool:
        """True when the provider has said that the answer is whole."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Whole events as they arrive. Raises UpstreamFailed when the stream breaks."""
        ...

    def last_events(self) -> bytes:
        """What ends the stream, held back until the entry is committed."""
        ...

    def delivered_text(self) -> str:
        """All text that has arrived, tool calls included, for counting."""
        ...

    async def aclose(self) -> None:
        """Let go of the connection, upstream cancelled if it is not at its end; idempotent."""
        ...


class Upstream(Protocol):
    """One provider."""

    def prepare(self, call: Call) -> Prepared:
        """Put the call into the provider's format; raises BadRequest for what it cannot say."""
        ...

    async def send(self, prepared: Prepared) -> PlainReply | StreamReply:
        """Ask; raises UpstreamFailed. A stream is returned when its first byte has come."""
        ...

    async def aclose(self) -> None:
        """Close the pool."""
        ...
