"""Where a recorded request would go by other rules, and at which price.

A request goes to the first target of its job, as long as nothing says that it could not: one that
had been passed on to a fallback passes the same targets over again (they failed, were left alone,
were too dear for a budget, or do not understand the form), and is asked at the first target of
the new chain that is not one of them.

The usage is the recorded one. The model that answered, the service tier and what the provider
itself stated hold as long as the target, or the provider, stays the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import msgspec

from gateway.insight import recorded
from gateway.insight.recorded import What
from gateway.jobs.canary import chain
from gateway.jobs.forms import CHAT
from gateway.jobs.residency import may_reach
from gateway.jobs.routes import Budget, Job, Routes, Target
from gateway.prices.answering import price_of_answer
from gateway.prices.book import PriceBook
from gateway.prices.rates import Price, Rates
from gateway.prices.stated import SOURCE
from gateway.treasury.budgets import Payer, in_scope

TARGET, PRICE, LIMIT, WINDOW = "target changed", "price changed", "output limit", "context window"
PRESUMED, ASIDE, CORRECTION = "presumed amount", "tool or second model", "correction"
"""Why an amount is another, or (the second line) why it is left as it was booked."""
NO_JOB, NO_PRICE, NO_TARGET = "the job is gone", "no price", "every target had failed"
"""Why a request would be refused; so is WINDOW."""
REFUSALS = frozenset({NO_JOB, NO_PRICE, NO_TARGET, WINDOW})
KEPT = frozenset({PRESUMED, ASIDE, CORRECTION})

CONFINED, IN_HOUSE = "confined", "in the house"
"""What a request was that would leave the house: its job had to stay; it just did stay."""

_KEPT_FOR: Mapping[str, str] = {
    recorded.ASIDE: ASIDE,
    recorded.CORRECTED: CORRECTION,
    recorded.GUESSED: PRESUMED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What becomes of all entries that are the same `what`."""

    what: What
    job: Job | None = None
    target: Target | None = None
    why: str
    """Why it costs something else, if it does."""
    kept: bool = False
    """Its amount is what was booked."""
    price: Price | None = None
    """None when nothing is charged, and when it depends on the moment (`dated`)."""
    dated: bool = False
    tier: str | None = None
    window: int | None = None
    """Tokens of the context window, where what fitted before may not fit now."""
    limit: int | None = None
    """Output tokens that an answer may have, where some have had more."""
    old_limit: int | None = None
    """Answers longer than this had several choices, each within the limit."""
    usual: int | None = None
    """Output tokens that a caller who states none may have now, where some had more."""
    passed_on: bool = False
    leaves: str = ""
    """CONFINED or IN_HOUSE when it would, or could, be sent to a cloud."""
    scoped: tuple[tuple[int, str], ...] = ()
    """Numbers of the budgets that it is under, and the subject it counts for in each."""

    @property
    def refused(self) -> bool:
        """Whether there would be no answer at all."""
        return self.why in REFUSALS


@dataclass(frozen=True, slots=True)
class Terms:
    """What a replay goes by: the new rules, and how prices are looked up."""

    routes: Routes
    book: PriceBook
    budgets: tuple[Budget, ...]
    """Those that are watched."""
    prices_at: int | None = None
    """The moment whose prices are used; None: of when each request was admitted."""

    def asked(self, before: Iterable[Routes | None]) -> tuple[str, ...]:
        """Which of app, key_id and tags the budgets ask for, and the canaries of all rules."""
        kinds: set[str] = {budget.scope.kind for budget in self.budgets}
        for routes in (self.routes, *before):
            canaries = () if routes is None else (job.canary for job in routes.jobs.values())
            kinds |= {"tag" if canary.tag else "app" for canary in canaries if canary}
        names = {"app": "app", "key": "key_id", "tag": "tags"}
        return tuple(name for kind, name in names.items() if kind in kinds)


class Placing:
    """Places entries that were made in one era, while `then` was live (None: nobody knows)."""

    def __init__(self, terms: Terms, then: Routes | None) -> None:
        self._terms, self._then = terms, then

    def place(self, what: What) -> Placement:
        """Where these entries go."""
        job = self._terms.routes.named.get(what.alias or what.job)
        scoped = () if job is None else self._scoped(what, job)
        if what.mark in _KEPT_FOR:
            return Placement(what=what, job=job, why=_KEPT_FOR[what.mark], kept=True, scoped=scoped)
        if job is None:
            return Placement(what=what, why=NO_JOB)
        before = self._before(what)
        passed = _passed_over(what, before)
        target = next((t for t in _chain(what, job) if t.name not in passed), None)
        if target is None:
            return Placement(what=what, job=job, why=NO_TARGET, passed_on=True)
        placed = self._priced(what, job, target, before)
        leaves = _leaves(what, job, target)
        return replace(placed, passed_on=bool(passed), leaves=leaves, scoped=scoped)

    def price_at(self, placement: Placement, moment: int) -> Price | None:
        """The price of one whose price depends on the moment."""
        target = placement.target
        assert target is not None  # noqa: S101 - for mypy: only what has a target is dated
        return self._price(placement.what, target, moment)

    def _priced(
        self, what: What, job: Job, target: Target, before: tuple[Job, Target] | None
    ) -> Placement:
        same = target.name == what.target
        why = PRICE if same else TARGET
        tier = what.tier or None if target.provider.name == _provider(what.target) else None
        if what.mark == recorded.REPRICED:  # part of what the entry was booked at
            return Placement(what=what, job=job, target=target, why=PRICE)
        if same and what.mark in (recorded.STATED, recorded.FREE):
            return Placement(what=what, job=job, target=target, why=why, kept=True)
        if target.price is None and not target.dated:
            return Placement(what=what, job=job, target=target, why=NO_PRICE)
        dated = bool(target.dated) and self._terms.prices_at is None
        price = None if dated else self._price(what, target, self._terms.prices_at)
        window = target.context_window
        if same and before is not None and before[1].context_window == window:
            window = None
        limit, old_limit = _limit(job, target), None if before is None else _limit(*before)
        if old_limit is not None and limit >= old_limit:
            limit = _NO_LIMIT
        limits_less = before is not None and _usual(job, target) < _usual(*before)
        return Placement(
            what=what,
            job=job,
            target=target,
            why=why,
            price=price,
            dated=dated,
            tier=tier,
            window=window,
            limit=None if limit == _NO_LIMIT else limit,
            old_limit=old_limit,
            usual=_usual(job, target) if limits_less else None,
        )

    def _price(self, what: What, target: Target, moment: int | None) -> Price | None:
        """As it is for whoever asks this target; before the first price began, that one."""
        own = target.price if moment is None else target.price_at(moment)
        own = own or (target.dated[-1] if target.dated else None)
        model = what.target.partition("/")[2]
        if own is None or target.name != what.target or what.served in ("", model):
            return own
        return price_of_answer(own, self._terms.book, target.provider.price_provider, what.served)

    def _before(self, what: What) -> tuple[Job, Target] | None:
        """The job and the target by the rules of then; None when they do not know them."""
        job = None if self._then is None else self._then.jobs.get(what.job)
        found = () if job is None else (t for t in _chain(what, job) if t.name == what.target)
        target = next(iter(found), None)
        return None if job is None or target is None else (job, target)

    def _scoped(self, what: What, job: Job) -> tuple[tuple[int, str], ...]:
        payer = Payer(what.team, what.app, what.key_id, job.name, _tags(what))
        budgets = self._terms.budgets
        places = {id(budget): number for number, budget in enumerate(budgets)}
        return tuple((places[id(budget)], subject) for budget, subject in in_scope(budgets, payer))


_NO_LIMIT = 2**62


def kept_rates(placement: Placement, price: Price, said: str | None) -> Rates | None:
    """The rates that an entry was booked at, if they are still among those of its price.

    An answer that was made in rounds has the rates of its rounds, which its size does not tell.
    Only the book's prices are sure to have the same sizes as before.
    """
    same = placement.target is not None and placement.target.name == placement.what.target
    if said is None or not said or not same or SOURCE in price.source:
        return None
    rates = msgspec.json.decode(said, type=Rates)
    known = [price.rates, *(tier.rates for tier in price.tiers)]
    for schedule in price.service_tiers.values():
        known += [schedule.rates, *(tier.rates for tier in schedule.tiers)]
    return rates if rates in known else None


def _chain(what: What, job: Job) -> tuple[Target, ...]:
    """The targets of a job for such a request, which may be in its canary; as for chat, because
    what form a request had is not recorded."""
    return chain(job, CHAT, what.app, _tags(what))


def _tags(what: What) -> Mapping[str, str]:
    return msgspec.json.decode(what.tags, type=dict[str, str]) if what.tags else {}


def _passed_over(what: What, before: tuple[Job, Target] | None) -> frozenset[str]:
    """The targets that were preferred to the one that answered, and could not be had."""
    if before is None:
        return frozenset()
    job, target = before
    names = [each.name for each in _chain(what, job)]
    return frozenset(names[: names.index(target.name)])


def _leaves(what: What, job: Job, target: Target) -> str:
    """What a request is that would leave the house, or could by some path of its job (law 11)."""
    if what.confined and not all(
        may_reach("on_prem", each.provider.residency) for each in job.reachable
    ):
        return CONFINED
    if what.residency == "on_prem" and not may_reach("on_prem", target.provider.residency):
        return IN_HOUSE
    return ""


def _limit(job: Job, target: Target) -> int:
    """Output tokens of one answer, at the most."""
    return min(job.output.max, target.output_limit or _NO_LIMIT)


def _usual(job: Job, target: Target) -> int:
    """Output tokens of one answer, when its caller states none."""
    return min(job.output.default, target.output_limit or _NO_LIMIT)


def _provider(target: str) -> str:
    return target.partition("/")[0]
