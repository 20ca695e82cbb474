"""How an attempt ends: what it comes to, and that its hold is settled exactly once.

The way from "the reply is here" to "the ending is queued" has no point at which a cancellation
could get between when the provider told its usage. Where tokens have to be counted first, it
runs as a task of its own that nobody's leaving can stop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any

import msgspec

from gateway.errors import GatewayError, UpstreamFailed, UpstreamTimedOut
from gateway.jobs.parameters import Effective
from gateway.jobs.routes import Job, Target
from gateway.ledger.entries import Ending
from gateway.metering.counting import TokenCounter
from gateway.metering.prompts import text_of_choices
from gateway.metrics import Metrics
from gateway.pipeline.asked import Asked, Trace
from gateway.pipeline.bounding import count_input, count_text
from gateway.pipeline.costing import Costing, failed, presumed
from gateway.treasury.holds import Hold
from gateway.treasury.treasury import Treasury
from gateway.upstreams.failures import BrokenOff, ToldFailure
from gateway.upstreams.protocol import Meter, PlainReply, Prepared, StreamReply

log = logging.getLogger(__name__)

IN_FLIGHT_TOKENS = 16
"""Output that a provider may have made, and bills, beyond the last of it that was read: what was on
its way when a connection broke, or what came before it noticed that we had hung up. A fifth of a
second of a quick model; a stream that the provider ended itself, however badly, has none."""


class Attempt(msgspec.Struct, eq=False):
    """One attempt at one target, its hold open."""

    asked: Asked
    job: Job
    target: Target
    effective: Effective
    hold: Hold
    prepared: Prepared
    began: float = msgspec.field(default_factory=time.perf_counter)


class Endings:
    """Ends attempts; remembers those that end behind their callers' backs."""

    def __init__(
        self, treasury: Treasury, counter: TokenCounter, costing: Costing, metrics: Metrics
    ) -> None:
        self._treasury, self._counter = treasury, counter
        self._costing, self._metrics = costing, metrics
        self._background: set[asyncio.Task[None]] = set()

    async def answered(self, attempt: Attempt, reply: PlainReply, trace: Trace) -> None:
        """A whole answer came."""
        if reply.meter.usage is not None:
            ending = self._costing.reported(
                attempt.target, reply.meter, "ok", attempt.hold.admitted_at
            )
            await self._settle(attempt, trace, ending)
        else:
            work = self._count_and_settle(attempt, reply.meter, _text_of(reply), trace, "ok")
            await self._uncancelled(work)

    async def failed(self, attempt: Attempt, trace: Trace, error: UpstreamFailed) -> None:
        """The provider did not deliver."""
        trace.upstream_seconds += time.perf_counter() - attempt.began
        await self._settle(attempt, trace, failed(attempt.hold, error, outcome_of(error)))

    async def streamed(
        self,
        attempt: Attempt,
        reply: StreamReply,
        trace: Trace,
        outcome: str,
        failure: UpstreamFailed | None = None,
    ) -> None:
        """A stream is over, by a failure or otherwise; a cut one is booked by what it told and
        what was delivered, and at its ceiling when nothing could be read of it at all."""
        if reply.complete and reply.meter.usage is not None:
            ending = self._costing.reported(
                attempt.target, reply.meter, outcome, attempt.hold.admitted_at
            )
            await self._settle(attempt, trace, ending)
            return
        meter, text = reply.meter, reply.delivered_text()
        cut = outcome == "provider_cut" and not isinstance(failure, ToldFailure)
        if cut and not (text or meter.model or meter.usage):
            # Bytes came, and nothing in them was of an answer: it may have been made all the same.
            reason = "nothing could be read of what the provider sent"
            work = self._settle(attempt, trace, presumed(attempt.hold, outcome, reason))
        else:
            lost = outcome != "provider_cut" or isinstance(failure, UpstreamTimedOut | BrokenOff)
            under_way = IN_FLIGHT_TOKENS if lost and not reply.complete else 0
            work = self._count_and_settle(attempt, meter, text, trace, outcome, under_way)
        await self._uncancelled(work)

    def abandoned(self, attempt: Attempt) -> None:
        """Nobody waits any more and nothing had come: the caller left and the job says to stop,
        or this process is about to end.

        A stream that has not begun may have cost its prompt. A plain answer may have been made
        in full without a word, so its ceiling is presumed.
        """
        trace = Trace(attempt.hold.draft.request_id)
        outcome = "caller_left" if attempt.job.on_disconnect == "cancel" else "shutting_down"
        if attempt.asked.chat.stream:
            work = self._count_and_settle(attempt, Meter(), "", trace, outcome, IN_FLIGHT_TOKENS)
        else:
            reason = "nobody waited for the answer any more"
            work = self._settle(attempt, trace, presumed(attempt.hold, outcome, reason))
        self._in_background(work)

    async def drain(self) -> None:
        """Wait for the endings that are under way."""
        while self._background:
            await asyncio.wait(tuple(self._background))

    async def _count_and_settle(
        self,
        attempt: Attempt,
        meter: Meter,
        text: str,
        trace: Trace,
        outcome: str,
        under_way: int = 0,
    ) -> None:
        """Book by our own count. `under_way` are output tokens beyond what has arrived, but not
        beyond what was asked for."""
        target, effective = attempt.target, attempt.effective
        counted_input = 0
        if meter.usage is None:
            counted_input = await count_input(self._counter, attempt.asked.chat, target, effective)
        counted_output = await count_text(self._counter, text, target.model)
        most = max(counted_output, effective.n * effective.output_limit)
        counted_output = min(counted_output + under_way, most)
        counts = (counted_input, counted_output)
        ending = self._costing.counted(target, meter, counts, outcome, attempt.hold.admitted_at)
        await self._settle(attempt, trace, ending)

    async def _settle(self, attempt: Attempt, trace: Trace, ending: Ending) -> None:
        """Queue the ending at once, then wait for its commit. Raises Unavailable."""
        metrics, place = self._metrics, (attempt.job.name, attempt.target.name)
        metrics.count(metrics.attempts, (attempt.target.name, ending.outcome))
        metrics.observe(metrics.upstream, place, time.perf_counter() - attempt.began)
        trace.cost_nanos += ending.total_nanos
        await self._treasury.settle(attempt.hold, ending)

    async def _uncancelled(self, work: Coroutine[Any, Any, None]) -> None:
        await asyncio.shield(self._in_background(work))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an ending is not written yet: %s", error)


def outcome_of(error: GatewayError) -> str:
    """The word of the outcome vocabulary for an error."""
    return _OUTCOMES.get(error.code, "other")


_OUTCOMES = {
    "invalid_request": "bad_request",
    "invalid_api_key": "not_authenticated",
    "budget_exhausted": "budget_exhausted",
    "unpriced_model": "unpriced",
    "forbidden": "forbidden",
    "unknown_job": "unknown_job",
    "not_found": "bad_request",
    "duplicate_request": "duplicate",
    "conflict": "bad_request",
    "request_too_large": "too_large",
    "rate_limited": "rate_limited",
    "budget_busy": "budget_busy",
    "unavailable": "books_down",
    "no_credential": "no_credential",
    "shutting_down": "shutting_down",
    "caller_left": "caller_left",
    "upstream_refused": "provider_refused",
    "upstream_failed": "provider_broken",
    "upstream_busy": "provider_busy",
    "upstream_timed_out": "provider_timed_out",
}


class _Choices(msgspec.Struct):
    choices: msgspec.Raw


def _text_of(reply: PlainReply) -> str:
    """The text of a plain answer, which is needed only when it tells no usage."""
    if reply.meter.usage is not None:
        return ""
    if reply.text is not None:
        return reply.text
    choices = msgspec.json.decode(reply.body, type=_Choices).choices
    return text_of_choices([bytes(choices)])
