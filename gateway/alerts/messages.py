"""What an alert says, to people and to programs: pure, and the same for every way it goes.

A message is made of names of ours and of figures from the books. There is no word of a request in
it: the value of a tag, which a caller wrote, is named only where `subject` may be heard (see
`jobs.residency.may_hear`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from gateway.clock import to_datetime, to_text
from gateway.money import quantity
from gateway.treasury.periods import FOREVER
from gateway.treasury.standing import Standing

Kind = Literal["budget", "projection", "refusals", "breaker", "audit", "digest", "test"]
Severity = Literal["info", "warning", "critical"]
_SHOWN = 120
"""Characters of a name that are repeated."""
_FULL = 100


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message. `facts` are for programs: whole numbers, money in nano-dollars."""

    kind: Kind
    severity: Severity
    title: str
    text: str
    facts: dict[str, Any]
    budget: str = ""
    subject: str = ""
    html: str = ""
    """A report as a page of its own; only digests have one."""


class Projection(msgspec.Struct, frozen=True, kw_only=True):
    """Where the period of a budget is expected to end; amounts in its unit."""

    budget: str
    subject: str
    p10: int
    p50: int
    p90: int
    enough: bool
    """Whether there is enough history to believe the middle of the range."""
    note: str
    exhausted: str
    """The day on which the limit is expected to be reached, such as 2026-11-20; or empty."""


def about_budget(
    standing: Standing, threshold: int, *, subject: str, contact: str, zone: ZoneInfo, refuses: bool
) -> Message:
    """That so many per cent of a budget are spent; `subject` is for whom, as it may be told.

    `refuses`: it has refused requests, so it is used up although not all of it is spent.
    """
    share = standing.spent * 100 // standing.limit if standing.limit > 0 else _FULL
    name = _named(standing.budget, subject)
    if refuses and share < _FULL:
        title = f"{name} is used up: {share} % is spent and requests are refused"
    else:
        title = f"{name}: {max(share, threshold)} % is spent"
    return Message(
        kind="budget",
        severity="critical" if threshold >= _FULL else "warning",
        title=title,
        text=" ".join([*_how_it_stands(standing, zone), *_whom_to_ask(contact)]),
        facts={
            **_facts(standing, subject, contact),
            "threshold_percent": threshold,
            "percent": share,
            "refuses": refuses,
        },
        budget=standing.budget,
        subject=subject,
    )


def about_projection(
    standing: Standing, projection: Projection, *, subject: str, contact: str, zone: ZoneInfo
) -> Message:
    """That a budget is expected to be exceeded."""
    low, middle, high = (
        quantity(amount, standing.unit)
        for amount in (projection.p10, projection.p50, projection.p90)
    )
    limit = quantity(standing.limit, standing.unit)
    told = [f"Eight times in ten it ends between {low} and {high}, if nothing is refused."]
    if projection.exhausted:
        told.append(f"The limit is expected to be reached on {projection.exhausted}.")
    if projection.note:
        told.append(f"There is {projection.note}.")
    return Message(
        kind="projection",
        severity="warning",
        title=f"{_named(standing.budget, subject)} is expected to end at {middle} of {limit}",
        text=" ".join([*told, *_how_it_stands(standing, zone), *_whom_to_ask(contact)]),
        facts={
            **_facts(standing, subject, contact),
            "p10": projection.p10,
            "p50": projection.p50,
            "p90": projection.p90,
            "expected_on": projection.exhausted or None,
        },
        budget=standing.budget,
        subject=subject,
    )


def about_refusals(job: str, refused: Mapping[str, int], requests: int, minutes: int) -> Message:
    """That many requests of a job are refused; `refused` counts them by the reason."""
    total = sum(refused.values())
    reasons = ", ".join(
        f"{reason.replace('_', ' ')} {number}" for reason, number in sorted(refused.items())
    )
    named = f"Job {job}" if job else "Requests without a job"
    return Message(
        kind="refusals",
        severity="warning",
        title=f"{named}: {total * 100 // requests} % of requests are refused",
        text=f"{total} of {requests} requests in {minutes} minutes at one gateway: {reasons}.",
        facts={"job": job, "refused": dict(refused), "requests": requests, "minutes": minutes},
    )


def about_breaker(target: str, jobs: Sequence[str]) -> Message:
    """That a target does not answer, so it is left alone for a while."""
    return Message(
        kind="breaker",
        severity="critical",
        title=f"{target} does not answer: its breaker is open",
        text=f"It failed several times in a row. Jobs that use it: {', '.join(jobs) or 'none'}.",
        facts={"target": target, "jobs": list(jobs)},
    )


def about_audit(findings: Sequence[str], entries: int) -> Message:
    """That the books do not balance; `findings` are the laws that are broken, one for each."""
    laws = sorted(set(findings))
    number = len(findings)
    return Message(
        kind="audit",
        severity="critical",
        title=f"The audit found {number} {'thing' if number == 1 else 'things'}",
        text=f"Among {entries:,} entries law {', '.join(laws)} is broken."
        " Run `jobgate audit` for the list.",
        facts={"findings": number, "laws": laws, "entries": entries},
    )


def about_nothing(destination: str, organisation: str) -> Message:
    """A test, which says that it is one."""
    return Message(
        kind="test",
        severity="info",
        title=f"A test from Jobgate of {printable(organisation)}",
        text=f"This is how alerts for {destination} arrive. Nothing has happened.",
        facts={"destination": destination},
    )


def printable(text: str) -> str:
    """One line that can be shown anywhere, not too long."""
    shown = "".join(c if c.isprintable() else "?" for c in text)
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."


def moment_in(moment: int, zone: ZoneInfo) -> str:
    """A moment as people of the organisation read it, to the minute."""
    return to_datetime(moment).astimezone(zone).strftime("%Y-%m-%d %H:%M")


def _named(budget: str, subject: str) -> str:
    named = printable(budget)
    said = named if named.startswith("key ") else f"Budget {named}"
    return f"{said} of {subject}" if subject and not named.startswith("key ") else said


def _how_it_stands(standing: Standing, zone: ZoneInfo) -> list[str]:
    unit = standing.unit
    spent, limit, left = (
        quantity(amount, unit) for amount in (standing.spent, standing.limit, standing.left)
    )
    held = f", {quantity(standing.held, unit)} is held" if standing.held else ""
    told = [f"{spent} of {limit} is spent{held}, {left} is left."]
    if standing.ends_at < FOREVER[1]:
        told.append(f"It resets at {moment_in(standing.ends_at, zone)} ({zone.key}).")
    told.append(
        "What does not fit is refused." if standing.hard else "It warns, and refuses nothing."
    )
    return told


def _whom_to_ask(contact: str) -> list[str]:
    return [f"Ask {contact} for more."] if contact else []


def _facts(standing: Standing, subject: str, contact: str) -> dict[str, Any]:
    forever = standing.ends_at >= FOREVER[1]
    return {
        "budget": standing.budget,
        "subject": subject,
        "scope": standing.scope,
        "unit": "nano_usd" if standing.unit == "usd" else standing.unit,
        "period": standing.period,
        "limit": standing.limit,
        "spent": standing.spent,
        "held": standing.held,
        "left": standing.left,
        "hard": standing.hard,
        "resets_at": None if forever else to_text(standing.ends_at),
        "contact": contact,
    }
