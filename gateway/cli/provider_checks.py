"""Providers as they answer now: by one call each that costs nothing, all at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median_low

from gateway.cli.diagnosis import Diagnosis, ok, problem, warning
from gateway.clock import MICROS
from gateway.jobs.routes import Provider, Routes
from gateway.upstreams.credentials import Credentials
from gateway.upstreams.free_call import Reached, ask_for_nothing, can_be_asked

CLOCK_WARNING_MICROS, CLOCK_PROBLEM_MICROS = 5 * MICROS, 60 * MICROS
_NAMES_ARE_NOT_MODELS = frozenset({"azure", "openrouter"})
"""Flavours whose answer does not list what a target can name."""
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of one provider."""

    diagnosis: Diagnosis
    usable: bool
    clock_off: int | None = None


async def look_at_providers(
    routes: Routes, environment: Mapping[str, str], seconds: float
) -> dict[str, Seen]:
    """Ask every provider once, unless it lacks its key. Raises ConfigurationError for a key file
    that cannot be read."""
    credentials = Credentials(routes.providers, environment)

    async def look(provider: Provider) -> Seen:
        if missing := credentials.missing(provider.name):
            return _without_key(provider, missing)
        if not can_be_asked(provider):
            said = f"{provider.name}: not asked; no call to it is known to be free"
            return Seen(ok("providers", said), usable=True)
        reached = await ask_for_nothing(provider, credentials.of(provider.name), seconds)
        return _seen(provider, reached, _models(routes, provider))

    names = list(routes.providers)
    found = await asyncio.gather(*(look(routes.providers[name]) for name in names))
    return dict(zip(names, found, strict=True))


def check_jobs(routes: Routes, seen: Mapping[str, Seen]) -> Iterator[Diagnosis]:
    """Jobs none of whose targets can be asked now."""
    lost = 0
    for job in routes.jobs.values():
        if any(seen[target.provider.name].usable for target in job.targets):
            continue
        lost += 1
        names = ", ".join(dict.fromkeys(target.provider.name for target in job.targets))
        yield problem(
            "jobs",
            f"{job.name}: none of its targets can be asked (providers: {names})",
            "its requests are refused",
            "see what is said of these providers",
        )
    if not lost:
        yield ok("jobs", f"all {len(routes.jobs)} have a target that can be asked")


def check_clock(of_database: int | None, seen: Mapping[str, Seen]) -> Diagnosis:
    """Our clock against the database's, and against the middle one of the providers'."""
    of_providers = [each.clock_off for each in seen.values() if each.clock_off is not None]
    compared = {
        "the database's": of_database,
        f"those of {len(of_providers)} providers": (
            median_low(of_providers) if of_providers else None
        ),
    }
    told = {name: off for name, off in compared.items() if off is not None}
    if not told:
        return ok("clock", "there is nothing to compare it with")
    said = "; ".join(f"{-off / MICROS:+.1f} s against {name}" for name, off in told.items())
    furthest = max(abs(off) for off in told.values())
    means = "budgets reset at the wrong moment, and prices change at it"
    todo = "set the clock, and keep it set (NTP)"
    if furthest > CLOCK_PROBLEM_MICROS:
        return problem("clock", said, means, todo)
    if furthest > CLOCK_WARNING_MICROS:
        return warning("clock", said, means, todo)
    return ok("clock", said)


def _without_key(provider: Provider, missing: str) -> Seen:
    return Seen(
        warning(
            "providers",
            f"{provider.name}: it has no API key",
            "its targets are passed over",
            f"set {missing} and restart, or take it out of routes.yaml",
        ),
        usable=False,
    )


def _seen(provider: Provider, reached: Reached, models: frozenset[str]) -> Seen:
    """What an answer means."""
    name, status, off = provider.name, reached.status, reached.clock_off_micros
    key = provider.api_key_env or provider.api_key_file or "its key"
    if reached.error:
        said = f"{name}: {provider.base_url} cannot be reached: {reached.error}"
        means, todo = "its targets fail", "see that it runs, and what stands between"
        return Seen(warning("providers", said, means, todo), usable=False)
    if status in (401, 403):
        said = f"{name}: it refuses our key (status {status})"
        means, todo = "its targets fail", f"put a good key in {key} and restart"
        return Seen(problem("providers", said, means, todo), usable=False, clock_off=off)
    if 300 <= status < 400:
        said = f"{name}: {provider.base_url} sends us elsewhere (status {status})"
        means, todo = "its targets fail: redirects are not followed", "correct base_url"
        return Seen(problem("providers", said, means, todo), usable=False, clock_off=off)
    if status != 200:
        said = f"{name}: it is there, and answers the free call with status {status}"
        means = "it has trouble, or no such call: the key was not tried"
        todo = "try a request: `jobgate doctor` makes none that costs"
        return Seen(warning("providers", said, means, todo), usable=True, clock_off=off)
    listed = reached.models
    unknown = sorted(m for m in models if not {m, f"{m}:latest"} & listed) if listed else []
    if unknown and provider.wire == "openai" and provider.flavour not in _NAMES_ARE_NOT_MODELS:
        said = f"{name}: its list of models lacks {', '.join(unknown[:_SHOWN])}"
        means, todo = "requests for them may fail", "correct the target, or load the model there"
        return Seen(warning("providers", said, means, todo), usable=True, clock_off=off)
    how = "takes our key" if provider.api_key_env or provider.api_key_file else "needs no key"
    said = f"{name}: it answers in {reached.seconds:.1f} s and {how}"
    return Seen(ok("providers", said), usable=True, clock_off=off)


def _models(routes: Routes, provider: Provider) -> frozenset[str]:
    """The models of a provider that any job may ask."""
    return frozenset(
        target.model
        for job in routes.jobs.values()
        for target in job.reachable
        if target.provider.name == provider.name
    )
