"""The last requests that this process answered with an error, for whoever asks why.

A refused request leaves nothing in the books, because nothing was held. What was decided about it
is kept here for a while: in memory alone, so it goes with the process, and another process of the
same organisation does not know it.

Promises: bounded in number and in size; no word of a request is kept. So the sentence that the
caller got is only kept where it is made of our own names and figures; others may quote a prompt.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.clock import Clock
from gateway.errors import (
    BudgetBusy,
    BudgetExhausted,
    Duplicate,
    Forbidden,
    GatewayError,
    RateLimited,
    TooLarge,
    Unavailable,
    UnpricedModel,
)
from gateway.ledger.entries import Decision
from gateway.pipeline.asked import Trace

KEPT_AT_MOST = 2_000
"""Refusals, at some 2 kB each."""
_LENGTH = 1_000
"""Characters of a sentence that are kept."""
_OUR_WORDS = (
    BudgetExhausted,
    BudgetBusy,
    RateLimited,
    UnpricedModel,
    TooLarge,
    Forbidden,
    Duplicate,
    Unavailable,
)
"""Errors whose sentences and figures have nothing of the request in them."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """One answer that was an error; `at` in microseconds since 1970."""

    request_id: str
    at: int
    key_id: str
    team: str
    app: str
    job: str
    """Empty when it was refused before a job was picked."""
    attempts: int
    status: int
    code: str
    message: str
    """Empty when it may quote the request: then the answer alone had it."""
    details: dict[str, Any]
    retry: bool
    decision: Decision


class Refusals:
    """What one process remembers of the requests that it refused."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, Refusal] = {}

    def note(self, error: GatewayError, trace: Trace) -> None:
        """Keep one; not that of somebody whose key was not good, who is nobody."""
        caller = trace.caller
        if caller is None:
            return
        if len(self._kept) >= KEPT_AT_MOST:
            del self._kept[next(iter(self._kept))]
        ours = isinstance(error, _OUR_WORDS)
        self._kept[trace.request_id] = Refusal(
            request_id=trace.request_id,
            at=self._clock.now(),
            key_id=caller.key_id,
            team=caller.team,
            app=caller.app,
            job=trace.job,
            attempts=trace.attempts,
            status=error.status,
            code=error.code,
            message=error.message[:_LENGTH] if ours else "",
            details=error.details if ours else {},
            retry=error.retry,
            decision=trace.decision,
        )

    def all(self) -> list[Refusal]:
        """Everything that is remembered, oldest first; to be asked from any thread."""
        return list(self._kept.values())

    def of(self, request_id: str) -> Refusal | None:
        """What is remembered of a request, if anything."""
        return self._kept.get(request_id)
