"""Asking for money and settling it: what the pipeline sees of the treasury.

Promises: at the moment of admission spent + held is within every hard budget in scope; an
ending, once begun, is not undone by the caller's cancellation; every refusal says which budget,
how much is left, when it resets and whom to ask.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from gateway.clock import MICROS, Clock, to_datetime
from gateway.errors import BudgetBusy, BudgetExhausted, GatewayError, RateLimited
from gateway.jobs.routes import Budget
from gateway.ledger.entries import Draft, Ending, Entry
from gateway.money import quantity
from gateway.treasury.budgets import Amounts, Payer, in_scope, lines
from gateway.treasury.committer import ABANDONED, Committer
from gateway.treasury.decisions import Line, Shortage
from gateway.treasury.groups import Admission, Closing
from gateway.treasury.holds import Hold
from gateway.treasury.periods import SHORT_PERIODS, Calendar, every
from gateway.treasury.raises import Raises

_REMEMBERED = 20_000
"""Callers whose budgets are kept in memory; beyond it the memory starts anew."""

_Scoped = Sequence[tuple[Budget, str]]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt that needs money: who pays, the ceiling, and how long it may take."""

    hold_id: str
    draft: Draft
    payer: Payer
    ceiling: Amounts
    own_budgets: Sequence[Budget]
    """Budgets that came with the key, beside those of routes.yaml."""
    wait_seconds: float
    open_seconds: float


class Treasury:
    """The money of one organisation."""

    def __init__(
        self,
        committer: Committer,
        budgets: Sequence[Budget],
        calendar: Calendar,
        clock: Clock,
        raises: Callable[[], Raises],
    ) -> None:
        self._committer, self._clock, self._raises = committer, clock, raises
        self._budgets, self._calendar = tuple(budgets), calendar
        self._scoped: dict[tuple[str, ...], _Scoped] = {}
        """The budgets in scope of those who ask without tags, who are few and ask often."""

    async def admit(self, request: Request) -> Hold | Shortage:
        """Set the ceiling aside in every budget in scope, or say which of them is short.

        It is short when the ceiling cannot fit, or would but others hold the room for too long;
        `refusal` is the error for it. Raises Unavailable when the books are out of reach.
        """
        ceiling, now = request.ceiling, time.monotonic()
        scoped = self._in_scope(request.payer)
        if request.own_budgets:
            scoped = [*scoped, *in_scope(request.own_budgets, request.payer)]
        admission = Admission(
            id=request.hold_id,
            draft=request.draft,
            lines=lambda at: lines(scoped, ceiling, self._calendar, at, self._raises()),
            ceiling_nanos=ceiling.nanos,
            ceiling_tokens=ceiling.tokens,
            request_count=ceiling.requests,
            open_micros=round(request.open_seconds * MICROS),
            wait_until=now + request.wait_seconds,
            future=asyncio.get_running_loop().create_future(),
        )
        self._committer.admit(admission)
        try:
            answer: Hold | Shortage = await admission.future
        except asyncio.CancelledError:
            self._give_back(admission.future)
            raise
        return answer

    def _in_scope(self, payer: Payer) -> _Scoped:
        if payer.tags:
            return in_scope(self._budgets, payer)
        who = (payer.team, payer.app, payer.key_id, payer.job)
        found = self._scoped.get(who)
        if found is None:
            if len(self._scoped) >= _REMEMBERED:
                self._scoped.clear()
            found = self._scoped[who] = in_scope(self._budgets, payer)
        return found

    def refusal(self, shortage: Shortage, waited: float) -> GatewayError:
        """The error for a caller who gets no money now and has waited so many seconds."""
        return refusal(shortage, self._clock.now(), waited)

    def _give_back(self, future: asyncio.Future[Hold | Shortage]) -> None:
        """The caller was cancelled at the very moment its hold arrived."""
        if future.done() and not future.cancelled() and future.exception() is None:
            answer = future.result()
            if isinstance(answer, Hold):
                self._committer.close(Closing(answer, ABANDONED))

    def settle(self, hold: Hold, ending: Ending) -> Awaitable[Entry]:
        """End the hold and write its entry; queued at once, so no cancellation can undo it.

        What is returned raises Unavailable when the books cannot be written in time: the ending
        is kept and written later, or the hold lapses.
        """
        future: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        self._committer.close(Closing(hold, ending, future))
        return future


def refusal(shortage: Shortage, now: int, waited: float) -> GatewayError:
    """The error that tells a caller why there is no money for this request."""
    line = shortage.line
    budget = line.budget
    name = f"budget {budget.name!r}" + (f" of {line.subject!r}" if line.subject else "")
    left = shortage.limit - shortage.spent
    wanted = f"this request may need {quantity(line.amount, budget.unit)}"
    ask = f" Ask {budget.contact} for more." if budget.contact else ""
    details = _details(shortage, now)
    resets = to_datetime(line.ends_at).isoformat() if budget.period != "forever" else "never"
    seconds_left = max(1.0, (line.ends_at - now) / MICROS)
    if not shortage.for_good:
        return BudgetBusy(
            f"{name} has {quantity(left, budget.unit)} left, but open requests hold"
            f" {quantity(shortage.held, budget.unit)} of it; {wanted}."
            f" It was waited {waited:g} s for room; try again.",
            retry_after=max(1.0, min(waited, seconds_left)),
            details=details,
        )
    if budget.period in SHORT_PERIODS and line.amount <= shortage.limit:
        return RateLimited(
            f"{name} allows {quantity(shortage.limit, budget.unit)} {every(budget.period)} and has"
            f" {quantity(max(0, left), budget.unit)} left; {wanted}. It resets at {resets}.",
            retry_after=seconds_left,
            details=details,
        )
    return BudgetExhausted(
        f"{name} has {quantity(max(0, left), budget.unit)} left of"
        f" {quantity(shortage.limit, budget.unit)} {every(budget.period)};"
        f" {wanted}. It resets at {resets}.{ask}",
        details=details,
    )


def _details(shortage: Shortage, now: int) -> dict[str, object]:
    line: Line = shortage.line
    return {
        "budget": line.budget.name,
        "subject": line.subject,
        "unit": line.budget.unit,
        "limit": shortage.limit,
        "spent": shortage.spent,
        "held": shortage.held,
        "wanted": line.amount,
        "resets_in_seconds": None
        if line.budget.period == "forever"
        else max(0, line.ends_at - now) // MICROS,
        "contact": line.budget.contact,
    }
