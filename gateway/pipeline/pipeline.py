"""One request, from a good key to the books: pick, bound, admit, send, meter, settle.

Every attempt at a provider has a hold of its own and ends in exactly one entry, whatever ends
it. A plain answer is settled before it is returned; a stream carries its hold with it and is
settled when it is closed.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.clock import Clock
from gateway.errors import (
    BadRequest,
    BudgetBusy,
    BudgetExhausted,
    GatewayError,
    TooLarge,
    Unavailable,
    UnpricedModel,
    UpstreamBusy,
    UpstreamFailed,
    UpstreamRefused,
)
from gateway.jobs.canary import chain
from gateway.jobs.forms import CHAT, speaks, targets_for
from gateway.jobs.parameters import Effective
from gateway.jobs.remembering import Parameters
from gateway.jobs.residency import may_reach, way_out
from gateway.jobs.routes import Job, Routes, Target
from gateway.ledger.entries import DEFAULT, HEADER, MODEL, NO_SUCH_FORM, Decision, Draft
from gateway.metering.counting import TokenCounter
from gateway.metrics import Metrics
from gateway.pipeline.admitting import Admitting, Offer, Remake, Run, Short
from gateway.pipeline.asked import Asked, Trace, accepted_tags
from gateway.pipeline.beside import OtherPrices
from gateway.pipeline.endings import Attempt, Endings
from gateway.pipeline.presence import Presence, while_present
from gateway.pipeline.streams import MeteredStream
from gateway.treasury.holds import Hold
from gateway.treasury.treasury import Treasury
from gateway.upstreams.breaker import Breaker
from gateway.upstreams.protocol import Call, PlainReply, Prepared, Upstream
from gateway.wire.request_body import read_metadata, without_metadata

_BACKOFF_SECONDS = 0.2
_BACKOFF_MOST_SECONDS = 2.0
_RETRY_AFTER_AT_MOST_SECONDS = 3.0
_MAY_DO_ELSEWHERE = (BadRequest, BudgetBusy, BudgetExhausted, TooLarge, UnpricedModel)
"""Refusals of a target on trial that the job's own targets may not share."""


@dataclass(frozen=True)
class Parts:
    """What the pipeline works with; made in the composition root."""

    treasury: Treasury
    upstreams: Mapping[str, Upstream]
    credentials: Callable[[str], str | None]
    """The API key of a provider, by its name; raises Unavailable when it should have one."""
    breakers: Mapping[str, Breaker]
    counter: TokenCounter
    endings: Endings
    metrics: Metrics
    clock: Clock
    others: OtherPrices


class Pipeline:
    """Takes requests through the order of things, by one version of the rules; shared by all that
    begin while it is in force."""

    def __init__(self, routes: Routes, parts: Parts) -> None:
        self.routes = routes
        self._parts = parts
        self._endings = parts.endings
        self._parameters = Parameters()
        self._admitting = Admitting(parts.treasury, parts.counter, parts.clock, parts.others)
        self._under_way = 0
        self._when_idle: Callable[[], None] | None = None

    async def run(
        self, asked: Asked, trace: Trace, presence: Presence
    ) -> PlainReply | MeteredStream:
        """The answer, or a stream that has begun and has to be closed.

        Raises GatewayError: then nothing is held any more. `trace` tells how far it came. A
        caller who leaves while the request waits for money stops it; one who leaves after the
        provider was asked stops it only if the job says `cancel`.
        """
        self._under_way += 1
        try:
            reply = await self._take(asked, trace, presence)
        except BaseException:
            self._over()
            raise
        if isinstance(reply, PlainReply):
            self._over()
        else:
            reply.when_over(self._over)
        return reply

    def when_idle(self, told: Callable[[], None]) -> None:
        """Say so once no request is under way; for one that no further request comes to."""
        self._when_idle = told
        if not self._under_way:
            told()

    def _over(self) -> None:
        self._under_way -= 1
        if not self._under_way and self._when_idle is not None:
            self._when_idle()

    def _take(
        self, asked: Asked, trace: Trace, presence: Presence
    ) -> Coroutine[Any, Any, PlainReply | MeteredStream]:
        """What remains to be done once the request's job and tags are known."""
        job = self._pick(asked, trace)
        trace.job = job.name
        if asked.chat.size > job.max_input_bytes:
            raise TooLarge(
                f"the body has {asked.chat.size:,} bytes; job {job.name!r} takes"
                f" {job.max_input_bytes:,}"
            )
        metadata = read_metadata(asked.chat.fields)
        tags = accepted_tags(asked, job, metadata)
        if ours := job.tags.intersection(metadata):  # they are for us, and no provider's business
            asked = msgspec.structs.replace(asked, chat=without_metadata(asked.chat, ours))
        run = Run(asked, job, tags, trace, presence)
        if job.on_disconnect == "drain":
            return self._answer(run)
        return while_present(presence, self._answer(run))

    async def _answer(self, run: Run) -> PlainReply | MeteredStream:
        """Try the targets in order, each as often as the job says."""
        job = run.job
        failure: GatewayError | None = None
        for target in self._targets(run):
            for retry in range(1 + job.retries):
                try:
                    attempt = await self._open(run, target)
                except _Passed as passed:
                    failure = failure or passed.error
                    budget = str(passed.error.details.get("budget", ""))
                    run.trace.pass_over(target.name, passed.error.code, budget)
                    break
                except _MAY_DO_ELSEWHERE as refusal:
                    if not target.on_trial:
                        raise
                    failure = failure or refusal
                    run.trace.pass_over(target.name, refusal.code)
                    break
                try:
                    return await self._send(attempt, run.trace)
                except UpstreamRefused as error:
                    if not target.on_trial:
                        raise
                    failure = error
                    break
                except UpstreamFailed as error:
                    failure = error
                    if not _worth_another_try(error) or retry == job.retries:
                        break
                    await asyncio.sleep(_pause(retry, error))
        raise failure or Unavailable(f"job {job.name!r} has no target that can be asked")

    # ---- pick

    def _pick(self, asked: Asked, trace: Trace) -> Job:
        caller, by = asked.caller, HEADER if asked.job_header else MODEL
        name = asked.job_header or asked.chat.model
        if name in ("", "default") and caller.default_job:
            name, by = caller.default_job, DEFAULT
        job = self.routes.pick(name, caller.jobs)
        if by is not MODEL or name != job.name:
            trace.decision = Decision(by, name if name != job.name else "")
        caller.may_use(job)
        return job

    def _targets(self, run: Run) -> tuple[Target, ...]:
        """The job's targets that understand the request's form. Raises BadRequest."""
        asked, job, form = run.asked, run.job, run.asked.chat.form
        found = chain(job, form, asked.caller.app, run.tags)
        for target in () if form == CHAT else job.targets:
            if not speaks(target.provider, form):
                run.trace.pass_over(target.name, NO_SUCH_FORM)
        if found:
            return found
        usable = [self.routes.jobs[name] for name in sorted(self.routes.jobs)]
        can = [j.name for j in usable if asked.caller.uses(j) and targets_for(j, form)]
        raise BadRequest(
            f"no target of job {job.name!r} understands {form} requests; jobs of this key that do:"
            f" {', '.join(can) or 'none'}",
            param="model",
            details={"jobs": can},
        )

    # ---- bound and admit

    async def _open(self, run: Run, target: Target) -> Attempt:
        """Fix the parameters, work out the ceiling and hold it.

        Raises _Passed when this target cannot be asked but the next may be.
        """
        if not may_reach(run.job.residency, target.provider.residency):
            raise Unavailable(way_out(run.job.name, "target", target))
        chat = run.asked.chat
        effective = self._parameters.effective(run.job, target, chat.form, chat.fields)
        credential = self._credential(target)
        breaker = self._parts.breakers[target.name]
        if breaker.shut:
            raise _Passed(_left_alone(target, breaker))

        def remake(parameters: Effective) -> Offer:
            return self._offer(run, target, parameters, credential)

        offer, hold = await self._admit(run, target, remake(effective), remake)
        run.trace.attempts = offer.draft.attempt
        run.trace.target = target.name
        run.trace.changed = list(offer.draft.changed)
        attempt = Attempt(run.asked, run.job, target, offer.effective, hold, offer.prepared)
        if not breaker.allows():  # it opened, or somebody tries it, while this one got its money
            error = _left_alone(target, breaker)
            await self._endings.failed(attempt, run.trace, error)
            raise _Passed(error)
        return attempt

    def _offer(
        self, run: Run, target: Target, effective: Effective, credential: str | None
    ) -> Offer:
        """The attempt as it would be made."""
        asked = run.asked
        call = Call(
            request_id=run.trace.request_id,
            form=asked.chat.form,
            target=target,
            credential=credential,
            fields=_fields(asked, effective),
            output_limit=effective.output_limit,
            stream=asked.chat.stream,
            caller_wants_usage=asked.chat.wants_usage,
        )
        prepared = self._prepare(call)
        changes = (
            *((target.note,) if target.note else ()),
            *run.told(target),
            *effective.changes,
            *(prepared.dropped and _without(prepared.dropped, target)),
        )
        return Offer(effective, prepared, self._draft(run, target, changes))

    async def _admit(
        self, run: Run, target: Target, offer: Offer, remake: Remake
    ) -> tuple[Offer, Hold]:
        """Hold the ceiling. Raises _Passed when a cheaper target may do."""
        try:
            return await self._admitting.admit(run, target, offer, remake)
        except Short as short:
            if not run.downgrades(short.shortage):
                raise short.error from None
            run.go_on(short, target)
            raise _Passed(short.error) from None
        except (TooLarge, UnpricedModel) as error:
            if run.short is None:
                raise
            raise _Passed(error) from None  # the caller is told what was short at the first

    def _prepare(self, call: Call) -> Prepared:
        """The call in the provider's format. Raises BadRequest for what cannot be said in it."""
        try:
            return self._parts.upstreams[call.target.provider.name].prepare(call)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise BadRequest(f"the body cannot be translated: {error}") from None

    def _credential(self, target: Target) -> str | None:
        try:
            return self._parts.credentials(target.provider.name)
        except Unavailable as error:
            raise _Passed(error) from None

    def _draft(self, run: Run, target: Target, changes: tuple[str, ...]) -> Draft:
        asked, job, trace = run.asked, run.job, run.trace
        caller = asked.caller
        price = target.price_at(self._parts.clock.now())
        return Draft(
            request_id=trace.request_id,
            attempt=trace.attempts + 1,
            key_id=caller.key_id,
            team=caller.team,
            app=caller.app,
            job=job.name,
            target=target.name,
            provider=target.provider.name,
            residency=target.provider.residency,
            confined=job.residency == "on_prem",
            model=target.model,
            stream=asked.chat.stream,
            tags=run.tags,
            rates=None if price is None else price.rates,
            changed=changes,
            decision=trace.decision,
        )

    # ---- send, meter, settle

    async def _send(self, attempt: Attempt, trace: Trace) -> PlainReply | MeteredStream:
        """Ask the provider. When it raises, the attempt's hold has been ended."""
        parts, target = self._parts, attempt.target
        breaker = parts.breakers[target.name]
        provider = target.provider
        parts.metrics.count(
            parts.metrics.egress, (attempt.job.name, provider.name, provider.residency)
        )
        began = attempt.began = time.perf_counter()
        try:
            reply = await parts.upstreams[provider.name].send(attempt.prepared)
        except UpstreamRefused as error:
            breaker.succeeded()
            await self._endings.failed(attempt, trace, error)
            raise
        except UpstreamFailed as error:
            breaker.failed()
            await self._endings.failed(attempt, trace, error)
            raise
        except BaseException:  # cancellation: nobody waits any more, but the hold must end
            self._endings.abandoned(attempt)
            raise
        if isinstance(reply, PlainReply):
            breaker.succeeded()
            trace.upstream_seconds += time.perf_counter() - began
            await self._endings.answered(attempt, reply, trace)
            return reply
        stream = MeteredStream(self._endings, attempt, reply, trace, breaker)
        try:
            await stream.begin()
        finally:
            took = time.perf_counter() - began
            trace.upstream_seconds += took
        breaker.succeeded()
        parts.metrics.observe(parts.metrics.first_token, (attempt.job.name, target.name), took)
        return stream


class _Passed(Exception):
    """This target cannot be asked; the next one may be."""

    def __init__(self, error: GatewayError) -> None:
        super().__init__(str(error))
        self.error = error


def _left_alone(target: Target, breaker: Breaker) -> UpstreamBusy:
    """The error for a target that is not asked because its breaker is open."""
    seconds = breaker.seconds_left
    return UpstreamBusy(
        f"{target.name} failed several times in a row; it is left alone for {seconds:.0f} s more",
        target=target.name,
        retry_after=seconds,
    )


def _worth_another_try(error: UpstreamFailed) -> bool:
    """Whether the same target may be asked again: only when the failure cost nothing."""
    if error.may_have_cost:
        return False
    if error.provider_status in (401, 403, 404):
        return False
    return error.retry_after is None or error.retry_after <= _RETRY_AFTER_AT_MOST_SECONDS


def _pause(retry: int, error: UpstreamFailed) -> float:
    """Seconds before the next try: the provider's word, else doubling, with jitter."""
    if error.retry_after is not None:
        return error.retry_after
    pause = min(_BACKOFF_MOST_SECONDS, _BACKOFF_SECONDS * 2.0**retry)
    return pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret


def _without(dropped: tuple[str, ...], target: Target) -> tuple[str, ...]:
    """What is told of fields that the provider has no place for."""
    return tuple(f"{name} dropped ({target.provider.name} has no such field)" for name in dropped)


def _fields(asked: Asked, effective: Effective) -> dict[str, msgspec.Raw]:
    fields = dict(asked.chat.fields)
    for name in effective.remove:
        fields.pop(name, None)
    for name, value in effective.set.items():
        fields[name] = msgspec.Raw(value)
    return fields
