"""What there is to tell: looks at the books and at this process, and decides. It sends nothing.

Looking is done beside the requests, every few seconds. Each thing has a key that says what it is
and when: the budget, the end of its period, its limit and the threshold; the job or the target and
the hour. `outbox` sees to it that a key is told once by all processes together.

A budget that passes several thresholds between two looks is told of once, of the highest; the
lower ones count as told. When a limit changes, by a raise or by routes.yaml, what is told is told
anew for the new limit. A hard budget that refuses requests with less than a tenth left counts as
used up (100 %): what is left never fits.

Budgets of minutes and hours are rates; what they refuse is told of as refusals.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from gateway.alerts.messages import (
    Message,
    Projection,
    about_audit,
    about_breaker,
    about_budget,
    about_projection,
    about_refusals,
    printable,
)
from gateway.alerts.outbox import KEPT_SECONDS, Alert, Letter
from gateway.alerts.quiet import heard_at
from gateway.clock import MICROS
from gateway.jobs.alert_rules import AlertKind, Destination
from gateway.jobs.residency import may_hear
from gateway.jobs.routes import Routes, Scope
from gateway.ledger.reading import Finding
from gateway.treasury.periods import HOUR, SHORT_PERIODS
from gateway.treasury.standing import Standing

_ALL = 100
_USED_UP = 90
"""Per cent from which on a hard budget that refuses counts as used up."""
_POLICY = "policy"
"""Whose fault a refusal is that is told of."""
_KEPT = timedelta(seconds=KEPT_SECONDS) // timedelta(microseconds=1)

Refusing = Collection[tuple[str, str]]
"""Budgets, by name and subject, that have refused a request for money since they began."""


@dataclass(frozen=True, slots=True)
class Teller:
    """Writes letters by one version of the rules, at one moment (microseconds since 1970)."""

    rules: Routes
    now: int

    def letters(
        self,
        destinations: Iterable[Destination],
        message: Callable[[Destination], Message],
        *,
        urgent: bool = False,
    ) -> list[Letter]:
        """One for each destination, due now or when quiet hours are over."""
        quiet, zone = self.rules.alerts.quiet, self.rules.time_zone
        return [
            Letter(
                one.name,
                message(one),
                urgent,
                heard_at(self.now, quiet, zone) if one.waits and not urgent else self.now,
            )
            for one in destinations
        ]

    def subject(self, standing: Standing, destination: Destination) -> str:
        """For whom a budget is, as a destination may hear it."""
        if not standing.subject:
            return ""
        scope = self._scope(standing)
        if may_hear(scope, self.rules.jobs.values(), destination.residency):
            return printable(standing.subject)
        return f"one {scope.tag}, whose name stays in the house"

    def contact(self, budget: str) -> str:
        """Whom to ask for more; may be empty."""
        return next((b.contact for b in self.rules.budgets if b.name == budget), "")

    def _scope(self, standing: Standing) -> Scope:
        for budget in self.rules.budgets:
            if budget.name == standing.budget:
                return budget.scope
        return Scope("key", standing.subject)


def of_budgets(
    standings: Iterable[Standing], refusing: Refusing, teller: Teller
) -> list[list[Alert]]:
    """What is to be told of budgets: for each the thresholds that it has passed, highest first."""
    found = []
    alerts = teller.rules.alerts
    for standing in standings:
        if standing.period in SHORT_PERIODS:
            continue
        thresholds = alerts.of_budget(standing.budget).thresholds
        refuses = _refuses(standing, refusing)
        passed = [one for one in reversed(thresholds) if _has_passed(standing, one, refuses)]
        destinations = alerts.wanting("budgets", standing.budget)
        if passed and destinations:
            found.append(_of_budget(standing, passed, refuses, destinations, teller))
    return found


def _of_budget(
    standing: Standing,
    passed: Sequence[int],
    refuses: bool,
    destinations: Sequence[Destination],
    teller: Teller,
) -> list[Alert]:
    highest, *lower = passed
    letters = teller.letters(
        destinations,
        lambda one: about_budget(
            standing,
            highest,
            subject=teller.subject(standing, one),
            contact=teller.contact(standing.budget),
            zone=teller.rules.time_zone,
            refuses=refuses,
        ),
        urgent=highest >= _ALL,
    )
    until = standing.ends_at + _KEPT
    return [
        Alert(_key("budget", standing, str(highest)), until, letters),
        *(Alert(_key("budget", standing, str(one)), until) for one in lower),
    ]


def _has_passed(standing: Standing, threshold: int, refuses: bool) -> bool:
    if refuses and threshold == _ALL:
        return True
    return standing.spent > 0 and standing.spent * _ALL >= standing.limit * threshold


def _refuses(standing: Standing, refusing: Refusing) -> bool:
    nearly = standing.spent * _ALL >= standing.limit * _USED_UP
    return standing.hard and nearly and (standing.budget, standing.subject) in refusing


def of_projections(
    standings: Iterable[Standing], projections: Iterable[Projection], teller: Teller
) -> list[Alert]:
    """What is to be told of budgets that are expected to be exceeded.

    With little history that is only told when even the low end of the range is beyond the limit.
    One that is exceeded already has passed its thresholds.
    """
    known = {(one.budget, one.subject): one for one in standings}
    found, alerts = [], teller.rules.alerts
    for projection in projections:
        standing = known.get((projection.budget, projection.subject))
        if standing is None or not alerts.of_budget(projection.budget).projected:
            continue
        expected = projection.p50 if projection.enough else projection.p10
        destinations = alerts.wanting("projections", projection.budget)
        if standing.spent < standing.limit < expected and destinations:
            letters = teller.letters(destinations, _projected(standing, projection, teller))
            found.append(Alert(_key("projected", standing, ""), standing.ends_at + _KEPT, letters))
    return found


def _projected(
    standing: Standing, projection: Projection, teller: Teller
) -> Callable[[Destination], Message]:
    return lambda one: about_projection(
        standing,
        projection,
        subject=teller.subject(standing, one),
        contact=teller.contact(standing.budget),
        zone=teller.rules.time_zone,
    )


def of_breakers(open_targets: Iterable[str], teller: Teller) -> list[Alert]:
    """Targets that are left alone now: each is told of once an hour at the most."""
    destinations = teller.rules.alerts.wanting("breakers")
    found = []
    for target in sorted(open_targets) if destinations else ():
        jobs = [
            job.name
            for job in teller.rules.jobs.values()
            if any(one.name == target for one in job.reachable)
        ]
        message = about_breaker(target, jobs)
        found.append(_hourly("breaker", target, message, destinations, teller))
    return found


def of_audit(findings: Sequence[Finding], entries: int, day: str, teller: Teller) -> list[Alert]:
    """What an audit has found, once for its day; nothing when the books balance."""
    destinations = teller.rules.alerts.wanting("audit")
    if not findings or not destinations:
        return []
    message = about_audit([finding.law for finding in findings], entries)
    letters = teller.letters(destinations, lambda _: message)
    return [Alert(f"audit|{day}", teller.now + _KEPT, letters)]


class RefusalWatch:
    """The share of requests that this process refuses, from its own counters."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, Mapping[tuple[str, ...], float]]] = deque()

    def look(self, totals: Mapping[tuple[str, ...], float], teller: Teller) -> list[Alert]:
        """What is to be told; `totals` are requests so far by job, target, outcome and fault."""
        rate, kind = teller.rules.alerts.refusals, "refusals"
        since = teller.now - rate.minutes * 60 * MICROS
        self._seen.append((teller.now, totals))
        while len(self._seen) > 1 and self._seen[1][0] <= since:
            self._seen.popleft()
        before = self._seen[0][1]
        asked: Counter[str] = Counter()
        refused: dict[str, Counter[str]] = {}
        for labels, total in totals.items():
            job, _target, outcome, fault = labels
            number = round(total - before.get(labels, 0))
            asked[job] += number
            if fault == _POLICY and number:
                refused.setdefault(job, Counter())[outcome] += number
        destinations = teller.rules.alerts.wanting("refusals")
        return [
            _hourly(
                kind,
                job,
                about_refusals(job, by_reason, asked[job], rate.minutes),
                destinations,
                teller,
            )
            for job, by_reason in sorted(refused.items())
            if destinations
            and asked[job] >= rate.requests_at_least
            and by_reason.total() * _ALL >= asked[job] * rate.percent
        ]


def _hourly(
    kind: AlertKind | str,
    name: str,
    message: Message,
    destinations: Sequence[Destination],
    teller: Teller,
) -> Alert:
    """Something that is told once an hour at the most."""
    hour = teller.now // HOUR
    letters = teller.letters(destinations, lambda _: message)
    return Alert(f"{kind}|{name}|{hour}", (hour + 48) * HOUR, letters)


def _key(kind: str, standing: Standing, more: str) -> str:
    parts = (standing.unit, str(standing.ends_at), str(standing.limit), more)
    return "|".join([kind, standing.budget, standing.subject, *parts])
