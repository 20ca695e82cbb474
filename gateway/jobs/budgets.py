"""Budgets as they are configured: whose spending, how much, and in which unit.

What is left of a budget, and whether a request fits, is the treasury's.
"""

from __future__ import annotations

from collections.abc import Collection

from gateway.jobs.document import Path
from gateway.jobs.problems import Problems, nearest
from gateway.jobs.routes import Budget, Scope, ScopeKind, Unit
from gateway.jobs.rules import RoutesFile
from gateway.jobs.schema import BudgetSection, ScopeSection
from gateway.money import parse_dollars

LIMIT_MAX = 10**18
"""Nano-dollars (a thousand million dollars), tokens or requests: what the books can add up."""

NO_ROLLOVER = frozenset({"minute", "hour", "forever"})
"""Periods that carry nothing over: rates, and the one that has no next."""

_EACH: dict[str, ScopeKind] = {
    "organisation": "organisation",
    "each team": "team",
    "each app": "app",
    "each key": "key",
    "each job": "job",
}
_KINDS: tuple[ScopeKind, ...] = ("team", "app", "key", "job", "tag")
_UNITS: dict[str, Unit] = {"USD": "usd", "tokens": "tokens", "requests": "requests"}


def budgets(
    file: RoutesFile, jobs: Collection[str], tags: Collection[str], problems: Problems
) -> tuple[Budget, ...]:
    """Every budget of the file that makes sense; `tags` are those that some job accepts."""
    made = []
    for name, section in file.budgets.items():
        path: Path = ("budgets", name)
        limit, unit = amount(section.limit)
        if limit > LIMIT_MAX:
            problems.add((*path, "limit"), "is more than the books can add up")
        scope = _scope((*path, "scope"), section, problems)
        if scope is None:
            continue
        _check_names((*path, "scope"), scope, jobs, tags, problems)
        if scope.kind == "team" and scope.value and file.teams and scope.value not in file.teams:
            hint = nearest(scope.value, file.teams)
            problems.warn((*path, "scope", "team"), f"no team {scope.value!a} is declared{hint}")
        hard = section.enforce == "hard"
        contact = section.contact or _contact(file, scope)
        most = _rollover_max(path, section, problems)
        made.append(
            Budget(
                name,
                scope,
                limit,
                unit,
                section.period,
                hard,
                contact,
                section.rollover,
                most,
            )
        )
    return tuple(made)


def amount(limit: str) -> tuple[int, Unit]:
    """Nano-dollars, tokens or requests, from a text such as "2000 USD" that fits the schema."""
    number, unit = limit.split(" ")
    return (parse_dollars(number) if unit == "USD" else int(number)), _UNITS[unit]


def _rollover_max(path: Path, section: BudgetSection, problems: Problems) -> int | None:
    """The most that is carried over, in the unit of the limit; None when all is."""
    if section.rollover and section.period in NO_ROLLOVER:
        problems.add((*path, "rollover"), f"the period {section.period} carries nothing over")
    written = section.rollover_max
    if written is None:
        return None
    here = (*path, "rollover_max")
    if not section.rollover:
        problems.add(here, "is for a budget with rollover: true")
    limit, unit = amount(section.limit)
    if written.endswith("%"):
        return limit * int(written[:-1]) // 100
    most, of_unit = amount(written)
    if of_unit != unit:
        problems.add(here, f"must be in the unit of the limit, {section.limit!r}")
    return most


def _scope(path: Path, section: BudgetSection, problems: Problems) -> Scope | None:
    written = section.scope
    if not isinstance(written, ScopeSection):
        return Scope(_EACH[written])
    stated = [kind for kind in _KINDS if getattr(written, kind) is not None]
    if len(stated) != 1:
        problems.add(path, "must name exactly one of team, app, key, job, tag")
        return None
    kind = stated[0]
    if kind == "tag":
        return Scope("tag", written.value, written.tag)
    if written.value is not None:
        problems.add((*path, "value"), f"is for a tag; write {kind}: the name")
        return None
    return Scope(kind, getattr(written, kind))


def _check_names(
    path: Path, scope: Scope, jobs: Collection[str], tags: Collection[str], problems: Problems
) -> None:
    if scope.kind == "job" and scope.value is not None and scope.value not in jobs:
        hint = nearest(scope.value, jobs)
        problems.add((*path, "job"), f"unknown job {scope.value!r}{hint}")
    if scope.kind == "tag" and scope.tag not in tags:
        hint = nearest(scope.tag or "", tags)
        problems.add((*path, "tag"), f"no job accepts the tag {scope.tag!r}{hint}")


def _contact(file: RoutesFile, scope: Scope) -> str:
    """The team's own contact for its budget, else nobody."""
    if scope.kind == "team" and scope.value in file.teams:
        return file.teams[scope.value].contact or ""
    return ""
