"""The resolved routing rules: what a request meets after routes.yaml was read and checked.

Everything here is complete and immutable: names are looked up, prices are attached, timeouts are
filled in, environment overrides are applied. A `Routes` is replaced as a whole, never changed, so
a request that holds one is never served by a mixture of two versions.

This room's promise to the rest: `pick` is a dictionary look-up. How the file is written, and what
was wrong with it, is known to `schema`, `loading` and `resolving`, not here.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal
from zoneinfo import ZoneInfo

from gateway.errors import UnknownJob
from gateway.jobs.alert_rules import NO_ALERTS, AlertRules
from gateway.jobs.capabilities import ParameterRules
from gateway.jobs.policies import Limits, NumberPolicy, Outside
from gateway.prices.rates import Price

Residency = Literal["cloud", "on_prem"]
ScopeKind = Literal["organisation", "team", "app", "key", "job", "tag"]
Unit = Literal["usd", "tokens", "requests"]
Period = Literal[
    "minute",
    "hour",
    "day",
    "week",
    "month",
    "quarter",
    "year",
    "fiscal_year",
    "forever",
]
Wire = Literal["openai", "anthropic", "gemini", "litellm"]
WhenShort = Literal["refuse", "shorten", "downgrade"]

_NAME_SHOWN = 64
"""Characters of an unknown job's name that are repeated to the caller."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait for each part of one attempt; `total` bounds the attempt as a whole."""

    connect: float = 5.0
    first_byte: float = 60.0
    idle: float = 60.0
    total: float = 600.0


@dataclass(frozen=True, slots=True)
class Provider:
    """A place where models run, and how to reach it.

    `base_url` has no slash at its end and is None only for LiteLLM's own addresses. The API key
    itself is never here: only the name of the variable, or the path of the file, that holds it.
    """

    name: str
    wire: Wire
    flavour: str
    base_url: str | None
    api_key_env: str | None
    api_key_file: str | None
    residency: Residency
    headers: Mapping[str, str]
    litellm_provider: str | None
    price_provider: str
    timeouts: Timeouts


@dataclass(frozen=True, slots=True)
class Target:
    """One model at one provider, as one job uses it.

    `price` is the newest one; None when nobody stated any: requests are then refused (law 10).
    What a request costs is asked with `price_at`, because prices can change on a day: `dated` has
    them then, the newest first. `context_window` and `output_limit` are in tokens, None when
    unknown. `timeouts` are the effective ones: the job's where it states them, else the
    provider's.
    """

    name: str
    provider: Provider
    model: str
    price: Price | None
    context_window: int | None
    output_limit: int | None
    rules: ParameterRules
    timeouts: Timeouts
    note: str = ""
    """Told in a header with every answer: that this target stands in for another."""
    dated: tuple[Price, ...] = ()
    """Empty when there is one price, which always held."""
    on_trial: bool = False
    """It belongs to a canary: what it does not do, the job's own targets are asked for."""

    def price_at(self, moment: int) -> Price | None:
        """The price valid at a moment (microseconds since 1970): the last that has begun."""
        if not self.dated:
            return self.price
        for price in self.dated:
            if price.valid_from is None or price.valid_from <= moment:
                return price
        return None

    def prices_between(self, start: int, end: int) -> tuple[Price, ...]:
        """Every price that is valid at some moment from `start` to `end`, both included."""
        first = self.price_at(start)
        if not self.dated:
            return () if first is None else (first,)
        later = (p for p in self.dated if p.valid_from is not None and start < p.valid_from <= end)
        return (*later, *(() if first is None else (first,)))


@dataclass(frozen=True, slots=True)
class TemperaturePolicy(NumberPolicy):
    """What a job does with temperature; a `default` of None leaves it to the model."""

    max: float = 2.0


@dataclass(frozen=True, slots=True)
class OutputPolicy:
    """Output tokens for one choice: what is set when the caller says nothing, and the most.

    `pinned`: the most is what every request gets, and a lower limit is outside too.
    """

    default: int
    max: int
    outside: Outside = "clamp"
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Canary:
    """Other targets for a part of a job's requests, and how that part is chosen (see `canary`).

    `own` are on trial; `others` are the job's, asked when none of those can answer. `share` is
    of 2**64, which is `percent`. `tag` is the name of the tag that decides, None for the app.
    """

    own: tuple[Target, ...]
    others: tuple[Target, ...]
    percent: float
    share: int
    tag: str | None


@dataclass(frozen=True, slots=True)
class Job:
    """A named kind of work. `targets` is the fallback chain, the preferred one first.

    `retries` are further attempts on each target. `wait_for_room` is how many seconds an
    admission may wait for money that others hold. `max_input_bytes` bounds the request body.
    `when_short` is what happens when no budget has room: an answer is shortened to what fits, but
    not to fewer than `shorten_to_at_least` tokens, or a cheaper target of the chain is asked.
    """

    name: str
    purpose: str
    owner: str
    targets: tuple[Target, ...]
    temperature: TemperaturePolicy
    output: OutputPolicy
    reasoning_effort: str | None
    system: str | None
    tags: frozenset[str]
    residency: Literal["any", "on_prem"]
    on_disconnect: Literal["drain", "cancel"]
    retries: int
    wait_for_room: float
    max_input_bytes: int
    when_short: WhenShort = "refuse"
    shorten_to_at_least: int = 1
    limits: Limits | None = None
    """Policies for further parameters; None, for most jobs, leaves them to the caller."""
    canary: Canary | None = None

    @property
    def reachable(self) -> tuple[Target, ...]:
        """Every target that a request for this job can come to, whatever happens."""
        if self.canary is None:
            return self.targets
        return (*self.targets, *self.canary.own, *self.canary.others)


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose spending a budget limits.

    `value` None means each value for itself (each team, each run); the organisation has none.
    `tag` is the tag's name when `kind` is "tag".
    """

    kind: ScopeKind
    value: str | None = None
    tag: str | None = None

    def __str__(self) -> str:
        """As people say it: "organisation", "team brand", "each app", "each run", "run nightly"."""
        if self.kind == "organisation":
            return "organisation"
        noun = self.tag or self.kind
        return f"each {noun}" if self.value is None else f"{noun} {self.value}"


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit on a scope in a period, in nano-dollars, tokens or requests (see `unit`).

    A budget that is not `hard` only warns. `contact` is whom to ask for more; may be empty. With
    `rollover` what a period leaves is added to the next one, at most `rollover_max` (None: all).
    """

    name: str
    scope: Scope
    limit: int
    unit: Unit
    period: Period
    hard: bool
    contact: str
    rollover: bool = False
    rollover_max: int | None = None


@dataclass(frozen=True, slots=True)
class Routes:
    """One complete, checked version of the routing rules.

    `week_starts` counts from Monday = 0; `fiscal_year_starts` is a month, January = 1. `version`
    is the SHA-256 of all `files`: the texts they were read from, by name; the first of them is
    routes.yaml (`text`). `owners` are those of the included ones. `named` maps every name a caller
    may use, aliases too, to its job.
    """

    organisation: str
    time_zone: ZoneInfo
    week_starts: int
    fiscal_year_starts: int
    providers: Mapping[str, Provider]
    jobs: Mapping[str, Job]
    aliases: Mapping[str, str]
    named: Mapping[str, Job]
    budgets: tuple[Budget, ...]
    team_contacts: Mapping[str, str]
    warnings: tuple[str, ...]
    version: str
    text: str
    files: Mapping[str, str] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)
    alerts: AlertRules = NO_ALERTS

    def pick(self, name: str, allowed: Collection[str] | None = None) -> Job:
        """The job of that name or alias.

        Raises UnknownJob, naming the nearest name and all names among `allowed` (None: all);
        whether the caller may use the job that was found is for others to decide.
        """
        job = self.named.get(name)
        if job is not None:
            return job
        usable = self.names_for(allowed)
        nearest = difflib.get_close_matches(name[:_NAME_SHOWN], usable, n=1)
        shown = ascii(name if len(name) <= _NAME_SHOWN else name[:_NAME_SHOWN] + "...")
        hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
        whose = "Jobs" if allowed is None else "Jobs for this key"
        listed = f" {whose}: {', '.join(usable)}." if usable else ""
        said = f"there is no job {shown}{hint}" if name else "no job is named."
        raise UnknownJob(
            f"{said}{listed}",
            param="model",
            details={"jobs": list(usable)},
        )

    def names_for(self, allowed: Collection[str] | None) -> tuple[str, ...]:
        """Jobs among `allowed` (None: every job) and the aliases that lead to them, sorted."""
        return tuple(
            sorted(
                name for name, job in self.named.items() if allowed is None or job.name in allowed
            )
        )
