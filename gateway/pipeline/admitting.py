"""Getting money for an attempt, and what a job does when there is not enough.

    refuse      the caller is told which budget is short
    shorten     the output limit is lowered until the counted ceiling fits what is left, but not
                under the job's minimum
    downgrade   the next target of the chain is asked, if it costs less

The cheap bound is tried first, without waiting; when it does not fit, tokens are counted, and the
counted ceiling may wait for money that others hold. Whoever was cut down is told so in a header.
A request waits once: after that it takes what is free, or leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.clock import MICROS, Clock
from gateway.errors import GatewayError
from gateway.jobs.parameters import Effective, shortened
from gateway.jobs.routes import Job, Target
from gateway.ledger.entries import Draft
from gateway.metering.counting import TokenCounter
from gateway.pipeline.asked import Asked, Trace
from gateway.pipeline.beside import OtherPrices
from gateway.pipeline.bounding import Bounding, Ceiling, context_by_name, prices_of
from gateway.pipeline.presence import Presence, while_present
from gateway.pipeline.streams import DRAIN_SECONDS
from gateway.treasury.budgets import Payer
from gateway.treasury.decisions import Shortage
from gateway.treasury.holds import Hold
from gateway.treasury.treasury import Request, Treasury
from gateway.upstreams.protocol import Prepared

SHORTENED_AT_MOST = 4
"""How often one attempt is shortened: each time another budget, or less money, was found."""
_LAPSE_MARGIN_SECONDS = 60.0


class Run(msgspec.Struct, eq=False):
    """One request on its way through the chain of its job."""

    asked: Asked
    job: Job
    tags: dict[str, str]
    trace: Trace
    presence: Presence
    waited: bool = False
    """It has waited for money; it will not wait again."""
    short: Shortage | None = None
    """What was short at the target before, when the job says to downgrade."""
    preferred: str = ""
    """The target whose place another one takes because it costs less."""

    @property
    def patience(self) -> float:
        """Seconds that it may wait for money."""
        return 0.0 if self.waited else self.job.wait_for_room

    def downgrades(self, shortage: Shortage) -> bool:
        """Whether a cheaper target might do: only dollars differ between targets."""
        return self.job.when_short == "downgrade" and shortage.line.budget.unit == "usd"

    def go_on(self, short: Short, target: Target) -> None:
        """Look for a target that costs less than this one."""
        self.preferred = self.preferred or target.name
        self.short = short.shortage

    def told(self, target: Target) -> tuple[str, ...]:
        """What a header says of a target that is asked because it costs less."""
        if self.short is None:
            return ()
        return (f"{self.preferred}->{target.name} (budget {self.short.line.budget.name})",)


class Offer(msgspec.Struct, frozen=True):
    """An attempt as it would be made, if there is money for it."""

    effective: Effective
    prepared: Prepared
    draft: Draft


Remake = Callable[[Effective], Offer]
"""The same attempt with other parameters."""


class Short(Exception):
    """There is no money for an attempt; `error` is what a caller is told about it."""

    def __init__(self, shortage: Shortage, error: GatewayError) -> None:
        super().__init__(str(error))
        self.shortage, self.error = shortage, error


@dataclass(frozen=True)
class Admitting:
    """Asks the treasury for attempts."""

    treasury: Treasury
    counter: TokenCounter
    clock: Clock
    others: OtherPrices

    async def admit(
        self, run: Run, target: Target, offer: Offer, remake: Remake
    ) -> tuple[Offer, Hold]:
        """The hold of an attempt, and the attempt as it has to be made.

        Raises Short when there is no money for it, TooLarge when it does not fit the context
        window, UnpricedModel, CallerLeft while it waits, Unavailable.
        """
        bounding = self._bounding(run, target, offer)
        ceiling = bounding.cheap()
        if run.short is None and not bounding.too_large(ceiling):
            answer = await self._ask(run, target, offer.draft, ceiling, 0.0)
            if isinstance(answer, Hold):
                return offer, answer
        ceiling = await bounding.exact(self.counter)
        if bounding.too_large(ceiling):
            raise bounding.refuse_size(ceiling)
        if run.short is not None and ceiling.amounts.nanos >= run.short.line.amount:
            raise self._short(run, run.short)
        chances = SHORTENED_AT_MOST
        while True:
            asking = self._ask(run, target, offer.draft, ceiling, run.patience)
            answer = await while_present(run.presence, asking)
            if isinstance(answer, Hold):
                return offer, answer
            run.waited = run.waited or not answer.for_good
            shorter = _shorter(run.job, bounding, ceiling, answer)
            if shorter is None or not chances:
                raise self._short(run, answer)
            chances -= 1
            offer = remake(shorter)
            bounding = msgspec.structs.replace(bounding, effective=shorter)
            ceiling = bounding.ceiling(ceiling.input_tokens)

    def _bounding(self, run: Run, target: Target, offer: Offer) -> Bounding:
        now, job, effective = self.clock.now(), run.job, offer.effective
        return Bounding(
            chat=run.asked.chat,
            target=target,
            effective=effective,
            system_bytes=_added_bytes(job, effective),
            first_attempt=offer.draft.attempt == 1,
            brought=context_by_name(run.asked.chat, target),
            prices=prices_of(target, now, now + round(job.wait_for_room * MICROS)),
            beside=self.others.wanted(run.asked.chat, target, now),
        )

    def _ask(
        self, run: Run, target: Target, draft: Draft, ceiling: Ceiling, wait: float
    ) -> Coroutine[Any, Any, Hold | Shortage]:
        caller = run.asked.caller
        return self.treasury.admit(
            Request(
                hold_id=f"{draft.request_id}.{draft.attempt}",
                draft=draft,
                payer=Payer(caller.team, caller.app, caller.key_id, run.job.name, draft.tags),
                ceiling=ceiling.amounts,
                own_budgets=caller.budgets,
                wait_seconds=wait,
                open_seconds=target.timeouts.total + DRAIN_SECONDS + _LAPSE_MARGIN_SECONDS,
            )
        )

    def _short(self, run: Run, shortage: Shortage) -> Short:
        return Short(shortage, self.treasury.refusal(shortage, run.job.wait_for_room))


def _added_bytes(job: Job, effective: Effective) -> int:
    """Bytes that the job's own prompt and answer format add to the request, at the most."""
    system = len(job.system or "") * 6 if effective.system_first else 0
    return system if job.limits is None else system + job.limits.added_bytes


def _shorter(
    job: Job, bounding: Bounding, ceiling: Ceiling, shortage: Shortage
) -> Effective | None:
    """The longest answer that fits what is left of the budget; None when none does.

    What is left is all that is not spent as long as others may give back what they hold; who has
    waited for that in vain takes what is free.
    """
    budget = shortage.line.budget
    room = shortage.limit - shortage.spent - (0 if shortage.for_good else shortage.held)
    if job.when_short != "shorten" or ceiling.amounts.of(budget.unit) <= room:
        return None  # as the job says; or others who came earlier wait for the same money
    limit = bounding.longest(ceiling.input_tokens, budget.unit, room)
    if limit < job.shorten_to_at_least:
        return None
    return shortened(bounding.effective, limit, f"budget {budget.name}")
