"""What the sections of routes.yaml mean together: from the file as written to `Routes`.

Every name is looked up, every target gets its price, limits and parameter rules, and residency is
proved for every path that the file allows. What cannot be is a problem; what can be but will
surprise somebody (no price, a temperature that the model drops) is a warning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import msgspec

from gateway.clock import to_datetime, to_micros
from gateway.errors import ConfigurationError
from gateway.jobs.alert_resolving import alert_rules
from gateway.jobs.budgets import budgets
from gateway.jobs.canary import canary_of
from gateway.jobs.capabilities import ParameterRules, flavour_of, rules_for
from gateway.jobs.document import Path
from gateway.jobs.policy_resolving import effort, limits, output, surprises, temperature
from gateway.jobs.problems import Problems, nearest
from gateway.jobs.providers import overrides_of_nobody, provider
from gateway.jobs.residency import is_forwarded, may_reach, way_out
from gateway.jobs.routes import Canary, Job, Provider, Routes, Target, Timeouts
from gateway.jobs.rules import RoutesFile
from gateway.jobs.schema import (
    CapabilitiesSection,
    JobSection,
    ModelSection,
    TimeoutsSection,
)
from gateway.prices.book import PriceBook
from gateway.prices.checking import check_against_book
from gateway.prices.rates import Price
from gateway.prices.stated import StatedPrice, to_price

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_STATED_NOTHING = ModelSection()


@dataclass(frozen=True, slots=True)
class Known:
    """Names that the file writes down, also those whose section is wrong.

    `set_aside` has the targets, as written, of the jobs that are not in the file as read.
    """

    providers: frozenset[str]
    jobs: frozenset[str]
    tags: frozenset[str]
    budgets: frozenset[str]
    set_aside: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Work:
    """What every step of the resolving needs to see."""

    file: RoutesFile
    known: Known
    problems: Problems
    book: PriceBook
    providers: Mapping[str, Provider]
    zone: ZoneInfo


def resolve(
    file: RoutesFile,
    known: Known,
    problems: Problems,
    book: PriceBook,
    environment: Mapping[str, str],
    text: str,
) -> Routes:
    """The routes that the file means; complete only if `problems` has found nothing at the end."""
    providers = {
        name: made
        for name, section in file.providers.items()
        if (made := provider(name, section, environment, problems)) is not None
    }
    overrides_of_nobody(known.providers, environment, problems)
    zone = _time_zone(file.organisation.time_zone, problems)
    work = _Work(file, known, problems, book, providers, zone)
    for name in file.models:
        _known_provider(work, ("models", name), name.partition("/")[0])
    for name, targets in known.set_aside.items():
        for index, target in enumerate(targets):
            if "/" in target:
                path: Path = ("jobs", name, "targets", index)
                _known_provider(work, path, target.partition("/")[0])
    jobs = {name: _job(work, name, section) for name, section in file.jobs.items()}
    aliases = _aliases(work)
    named = {**jobs, **{alias: jobs[name] for alias, name in aliases.items() if name in jobs}}
    return Routes(
        organisation=file.organisation.name,
        time_zone=zone,
        week_starts=_DAYS.index(file.organisation.week_starts),
        fiscal_year_starts=file.organisation.fiscal_year_starts,
        providers=MappingProxyType(providers),
        jobs=MappingProxyType(jobs),
        aliases=MappingProxyType(aliases),
        named=MappingProxyType(named),
        budgets=budgets(file, known.jobs, known.tags, problems),
        team_contacts=MappingProxyType(
            {name: team.contact for name, team in file.teams.items() if team.contact}
        ),
        alerts=alert_rules(file, known.budgets, environment, problems),
        warnings=problems.warnings(),
        version=hashlib.sha256(text.encode(errors="replace")).hexdigest(),
        text=text,
    )


def _time_zone(name: str, problems: Problems) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        hint = nearest(name, available_timezones())
        problems.add(("organisation", "time_zone"), f"unknown time zone {name[:40]!a}{hint}")
        return ZoneInfo("UTC")


def _aliases(work: _Work) -> dict[str, str]:
    """The aliases that lead to a job and hide none."""
    good = {}
    for alias, job in work.file.aliases.items():
        path: Path = ("aliases", alias)
        if alias in work.known.jobs:
            work.problems.add(path, "hides the job of the same name; choose another name")
        elif job in work.known.jobs:
            good[alias] = job
        elif job in work.file.aliases:
            work.problems.add(path, f"{job!a} is an alias too; an alias must name a job")
        else:
            hint = nearest(job, work.known.jobs)
            work.problems.add(path, f"unknown job {job[:64]!a}{hint}")
    return good


def _job(work: _Work, name: str, section: JobSection) -> Job:
    path: Path = ("jobs", name)
    targets = _chain(work, (*path, "targets"), section.targets, section)
    output_policy = output(section, path, work.problems)
    job = Job(
        name=name,
        purpose=section.purpose,
        owner=section.owner,
        targets=tuple(targets),
        temperature=temperature(section, path, work.problems),
        output=output_policy,
        reasoning_effort=effort(section),
        system=section.system if isinstance(section.system, str) else None,
        tags=frozenset(section.tags),
        residency=section.residency,
        on_disconnect=section.on_disconnect,
        retries=section.retries,
        wait_for_room=section.wait_for_room,
        max_input_bytes=section.max_input_bytes,
        when_short=section.when_short,
        shorten_to_at_least=_at_least(work, path, section, output_policy.max),
        limits=limits(section, path, work.problems),
    )
    job = replace(job, canary=_canary(work, path, section, job.targets))
    _surprises(work, job, (*path, "targets"), section.targets, job.targets)
    if section.canary is not None and job.canary is not None:
        there = (*path, "canary", "targets")
        _surprises(work, job, there, section.canary.targets, job.canary.own)
    return job


def _chain(work: _Work, path: Path, names: Sequence[str], section: JobSection) -> list[Target]:
    """The targets of one chain, each of them proved to be within the job's reach."""
    targets = []
    for index, name in enumerate(names):
        here: Path = (*path, index)
        if name in names[:index]:
            work.problems.add(here, f"{name!r} is in the chain already")
        elif (target := _target(work, here, name, section)) is not None:
            _residency(work, here, target, section)
            targets.append(target)
    return targets


def _canary(
    work: _Work, path: Path, section: JobSection, usual: tuple[Target, ...]
) -> Canary | None:
    """The targets on trial, and who is sent to them."""
    written = section.canary
    if written is None:
        return None
    here: Path = (*path, "canary")
    own = _chain(work, (*here, "targets"), written.targets, section)
    if written.targets == section.targets:
        work.problems.add((*here, "targets"), "are the job's own: there is nothing to try")
    tag = None if isinstance(written.sticky, str) else written.sticky.tag
    if tag is not None and tag not in section.tags:
        hint = nearest(tag, section.tags)
        said = f"the job has no tag {tag}, so nobody would be in its canary{hint}"
        work.problems.add((*here, "sticky", "tag"), said)
    return canary_of(tuple(own), usual, float(written.percent), tag)


def _surprises(
    work: _Work, job: Job, path: Path, names: Sequence[str], targets: tuple[Target, ...]
) -> None:
    """Warn of what the models will not do although the job says it."""
    for target in targets:
        for said in surprises(job, target):
            work.problems.warn((*path, names.index(target.name)), said)


def _at_least(work: _Work, path: Path, section: JobSection, most: int) -> int:
    """Output tokens that are left of an answer that is shortened for want of money."""
    least, here = section.shorten_to_at_least, (*path, "shorten_to_at_least")
    if section.when_short == "shorten" and least is None:
        said = "shorten needs shorten_to_at_least: how many tokens an answer keeps"
        work.problems.add((*path, "when_short"), said)
    elif section.when_short != "shorten" and least is not None:
        work.problems.add(here, "is for a job with when_short: shorten")
    elif least is not None and least > most:
        work.problems.add(here, f"{least} is more than max {most}")
    if section.when_short == "downgrade" and len(section.targets) == 1:
        work.problems.warn((*path, "when_short"), "there is one target: nothing to downgrade to")
    return least or 1


def _residency(work: _Work, path: Path, target: Target, section: JobSection) -> None:
    """Refuse a way out of the house, showing it."""
    if not may_reach(section.residency, target.provider.residency):
        short = " or downgrade" if section.when_short == "downgrade" else ""
        way = f"fallback{short}" if path[-1] else "target"
        way = "canary" if path[2] == "canary" else way
        work.problems.add(path, way_out(str(path[1]), way, target))


def _known_provider(work: _Work, path: Path, name: str) -> Provider | None:
    """The provider of that name; None, with a problem unless its own section has one, if not."""
    if name not in work.known.providers:
        hint = nearest(name, work.known.providers)
        work.problems.add(path, f"unknown provider {name[:64]!a}{hint}")
    return work.providers.get(name)


def _target(work: _Work, path: Path, name: str, section: JobSection) -> Target | None:
    provider_name, _, model = name.partition("/")
    at = _known_provider(work, path, provider_name)
    if at is None:
        return None
    if at.residency == "on_prem" and is_forwarded(model):
        said = f"{model} is run by a cloud that {at.name} forwards to, so it is not on-prem"
        work.problems.add(path, said)
    stated = work.file.models.get(name, _STATED_NOTHING)
    facts = work.book.find(at.price_provider, model)
    window, limit = stated.context_window, stated.output_limit
    if facts is not None:
        window, limit = window or facts.context_window, limit or facts.output_limit
    flavour = flavour_of(at.wire, at.flavour)
    prices, dated = _prices(work, path, name, at)
    return Target(
        name=name,
        provider=at,
        model=model,
        price=prices[0] if prices else None,
        context_window=window,
        output_limit=limit,
        rules=rules_for(flavour, model, _stated_rules(stated.capabilities)),
        timeouts=effective(section.timeouts, at.timeouts),
        dated=prices if dated else (),
    )


def _prices(work: _Work, path: Path, name: str, at: Provider) -> tuple[tuple[Price, ...], bool]:
    """The prices of a target, the newest first, and whether it depends on the day which holds.

    What the file states, else what the book has; on-prem models have only what is stated.
    """
    model = name.partition("/")[2]
    stated = work.file.models.get(name, _STATED_NOTHING).price
    facts = work.book.find(at.price_provider, model)
    listed = None if facts is None or at.residency == "on_prem" else facts.price
    if stated is None:
        if listed is not None:
            return (listed,), False
        close = [] if at.residency == "on_prem" else work.book.nearest(model, at.price_provider)
        hint = f"; the price book has {close[0]}" if close else ""
        work.problems.warn(
            path,
            f"{name} has no price, so its requests are refused with 402; state one under models, "
            f"or `price: free`{hint}",
        )
        return (), False
    here: Path = ("models", name, "price")
    several = stated if isinstance(stated, list) else [stated]
    found: dict[int | None, Price] = {}
    for index, one in enumerate(several):
        place: Path = (*here, index) if isinstance(stated, list) else here
        price = _stated(work, place, one, listed)
        if price is None:
            continue
        if price.valid_from in found:
            work.problems.add(place, "another price begins at the same time; leave one of them out")
        found[price.valid_from] = price
        odd = check_against_book(at.price_provider, model, price, work.book)
        if odd is not None and one.may_be_a_slip:
            said = f"{odd}; if it is meant, write `confirmed: true` beside it"
            work.problems.add(place, said)
    dated = any(begins is not None for begins in found)
    if dated and None not in found:
        _before_the_first(work, here, found, listed)
    newest_first = sorted(found, key=lambda begins: -1 if begins is None else begins, reverse=True)
    return tuple(found[begins] for begins in newest_first), dated


def _stated(work: _Work, path: Path, stated: StatedPrice, listed: Price | None) -> Price | None:
    """One price as it is meant, with the moment it begins; None when it cannot be understood."""
    try:
        price = to_price(stated, listed)
    except ConfigurationError as error:
        for said in error.problems:
            work.problems.add(path, said)
        return None
    begins: datetime | None = stated.begins
    if begins is None:
        return msgspec.structs.replace(price, valid_from=None)
    if begins.tzinfo is None:
        begins = begins.replace(tzinfo=work.zone)
    return msgspec.structs.replace(price, valid_from=to_micros(begins))


def _before_the_first(
    work: _Work, path: Path, found: dict[int | None, Price], listed: Price | None
) -> None:
    """Until the first stated price begins the book's holds; without one, nothing is served."""
    if listed is not None:
        found[None] = msgspec.structs.replace(listed, valid_from=None)
        return
    first = min(begins for begins in found if begins is not None)
    since = to_datetime(first).astimezone(work.zone).isoformat()
    work.problems.warn(path, f"there is no price before {since}; requests until then get a 402")


def effective(stated: TimeoutsSection, otherwise: Timeouts) -> Timeouts:
    """The timeouts that are stated, and the others where nothing is."""
    return replace(otherwise, **stated.model_dump(exclude_none=True))


def _stated_rules(section: CapabilitiesSection) -> dict[str, Any]:
    """The fields of ParameterRules that the file states."""
    stated = section.model_dump(exclude_none=True)
    if "output_field" in stated:
        stated["output_fields"] = (stated.pop("output_field"),)
    for name in ("refused", "efforts"):
        if name in stated:
            stated[name] = frozenset(stated[name])
    return {item.name: stated[item.name] for item in fields(ParameterRules) if item.name in stated}
