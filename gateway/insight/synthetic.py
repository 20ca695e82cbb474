"""Two years of requests that nobody made: the company of `company`, day by day.

The same seed and beginning give the same days, each independent of the others, so a history can
be continued where it stopped. Sizes, counts and hours are drawn; prices and ceilings are those of
routes.yaml, worked out as for any request. What is made here is told to be synthetic in the name
of its team and in each entry.

This room makes attempts up. It does not write them: whoever has the books does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import accumulate
from random import Random

import msgspec

from gateway.clock import MICROS, midnight
from gateway.insight import company
from gateway.insight.company import Burst, Workload
from gateway.jobs.routes import Job, Routes, Target
from gateway.ledger.entries import COUNTED, LAPSE, PRESUMED, REPORTED, Draft, Ending
from gateway.metering.usage import Usage
from gateway.prices.rates import Price, Rates, bound, charge
from gateway.treasury.budgets import Amounts
from gateway.treasury.finished import Finished
from gateway.treasury.periods import SHORT_PERIODS

_DAYS_A_MONTH = 365.25 / 12
_RAMP_DAYS = 14
"""After which a new app is as busy as it is going to be."""
_FAILS, _LEAVES, _LAPSES = 0.005, 0.015, 0.0008
"""Shares of attempts that fail, of streams whose callers leave, of holds that nobody ends."""
_TOKENS_A_SECOND = 75
_WEIGHTS: Mapping[str, Sequence[float]] = {
    "office": (
        *(0, 0, 0, 0, 0, 0.2, 0.6, 2, 6, 10, 11, 10),
        *(6, 8, 10, 10, 8, 5, 2, 1, 0.6, 0.4, 0.2, 0.1),
    ),
    "night": (9, 10, 10, 9, 6, 2, *[0.3] * 14, 1, 2, 4, 7),
    "always": (2, 1, 1, 1, 1, 2, 3, 5, 8, 9, 9, 8, 7, 8, 8, 8, 8, 7, 6, 6, 5, 5, 4, 3),
}  # fmt: skip
"""How the requests of a day are spread over its hours."""
_HOURS = {name: list(accumulate(weights)) for name, weights in _WEIGHTS.items()}


@dataclass(frozen=True, slots=True)
class _Kind:
    """Where one workload's requests go, and what is the same in all of them on a day."""

    workload: Workload
    job: Job
    target: Target
    price: Price
    fallback: tuple[Target, Price]
    key_id: str


class Company:
    """The made-up company under some routing rules."""

    def __init__(
        self,
        routes: Routes,
        origin: date,
        *,
        seed: int = 1,
        scale: float = 1.0,
        keys: Mapping[str, str] | None = None,
    ) -> None:
        """Its story begins on the day `origin`. `scale` multiplies its requests; `keys` are the
        ids of its apps' keys, their names when there are none.

        Raises ValueError when routes.yaml has none of its jobs.
        """
        self._routes, self._origin = routes, origin
        self._seed, self._scale = seed, scale
        self._keys = keys or {}
        self.workloads = tuple(w for w in company.WORKLOADS if w.job in routes.jobs)
        if not self.workloads:
            named = ", ".join(sorted({w.job for w in company.WORKLOADS}))
            raise ValueError(f"the synthetic company needs one of the jobs {named}")

    @property
    def apps(self) -> dict[str, str]:
        """Its apps, and the team of each."""
        return {w.app: w.team for w in self.workloads}

    def day(self, day: date) -> list[Finished]:
        """Every attempt of a day, in the organisation's zone and in order of admission."""
        zone = self._routes.time_zone
        bounds = midnight(day, zone), midnight(day + timedelta(days=1), zone)
        made: list[Finished] = []
        for index, workload in enumerate(self.workloads):
            rng = Random(f"{self._seed}/{index}/{workload.app}/{day}")  # noqa: S311 - not a secret
            kind = self._kind(workload, day)
            for burst, count in self._counts(workload, day, rng):
                for number in range(count):
                    tags = self._tags(kind, burst, day, number, rng)
                    made += self._attempts(kind, bounds, tags, day, rng)
        return sorted(made, key=lambda attempt: (attempt.admitted_at, attempt.id))

    def _month(self, day: date) -> float:
        """Months of the story that are over at the beginning of a day."""
        return (day - self._origin).days / _DAYS_A_MONTH

    def _counts(
        self, workload: Workload, day: date, rng: Random
    ) -> Iterator[tuple[Burst | None, int]]:
        """How many requests a workload has on a day: the usual ones, and those of a burst."""
        usual = self._usual(workload, day)
        noisy = usual * self._mood(workload, day) * rng.lognormvariate(0.0, 0.09) * self._scale
        yield None, max(0, round(noisy + math.sqrt(noisy) * rng.gauss(0.0, 1.0)))
        for burst in company.BURSTS:
            if (burst.app, burst.job) == (workload.app, workload.job) and self._bursts(burst, day):
                yield burst, round(noisy * (burst.times - 1))

    def _usual(self, workload: Workload, day: date) -> float:
        month = self._month(day)
        if workload.ends is not None and month >= workload.ends:
            return 0.0
        busy = workload.requests_a_day * company.season(day)
        busy *= math.pow(1 + workload.growth, month / 12)
        if workload.begins is not None:
            since = (month - workload.begins) * _DAYS_A_MONTH
            busy *= min(1.0, max(0.0, (since + 1) / _RAMP_DAYS))
        if day.weekday() >= 5 or day in company.holidays(day.year):
            busy *= workload.weekend
        elif day.weekday() == 4:
            busy *= 0.88
        tomorrow = day + timedelta(days=1)
        last = (tomorrow + timedelta(days=1)).month != day.month
        return busy * (workload.month_end if last or day.day == 1 else 1.0)

    def _mood(self, workload: Workload, day: date) -> float:
        """What a month and a week have in common, and nobody knows the reason of."""
        mood = 1.0
        year, week, _weekday = day.isocalendar()
        for what, spread in ((f"{day:%Y-%m}", 0.06), (f"{year}-w{week}", 0.08)):
            same = Random(f"{self._seed}/{workload.app}/{what}")  # noqa: S311 - not a secret
            mood *= same.lognormvariate(0.0, spread)
        return mood

    def _bursts(self, burst: Burst, day: date) -> bool:
        begins = self._origin + timedelta(days=round(burst.month * _DAYS_A_MONTH))
        if burst.weekday is not None:
            begins += timedelta(days=(burst.weekday - begins.weekday()) % 7)
        if burst.monthly:
            begins = (begins.replace(day=1) + timedelta(days=31)).replace(day=1)
        return begins <= day < begins + timedelta(days=burst.days)

    def _kind(self, workload: Workload, day: date) -> _Kind:
        job = self._routes.jobs[workload.job]
        first, second = job.targets[0], job.targets[min(1, len(job.targets) - 1)]
        return _Kind(
            workload=workload,
            job=job,
            target=first,
            price=self._price(first, day),
            fallback=(second, self._price(second, day)),
            key_id=self._keys.get(workload.app, workload.app),
        )

    def _price(self, target: Target, day: date) -> Price:
        """The price of that day. The book knows today's alone, so earlier days had the same one,
        but for the company's own price cut."""
        price = target.price_at(midnight(day, self._routes.time_zone)) or target.price
        if price is None:
            raise ValueError(f"{target.name} has no price")
        for cut in company.PRICE_CUTS:
            if cut.provider == target.provider.name and self._month(day) < cut.month:
                price = _dearer(price, cut.times)
        return price

    def _tags(
        self, kind: _Kind, burst: Burst | None, day: date, number: int, rng: Random
    ) -> dict[str, str]:
        workload = kind.workload
        tags = {}
        if workload.stages:
            tags["stage"] = rng.choice(workload.stages)
        if workload.campaign:
            tags["campaign"] = f"{company.CAMPAIGNS[(day.month - 1) // 3]}-{day.year}"
        if burst is not None and burst.run:
            tags["run"] = f"{burst.run}-{day}"
        elif workload.runs_a_day and burst is None:
            runs = max(1, round(workload.runs_a_day * self._scale))
            tags["run"] = f"{day}-{number % runs + 1}"
        return {name: value for name, value in tags.items() if name in kind.job.tags}

    def _attempts(
        self,
        kind: _Kind,
        bounds: tuple[int, int],
        tags: dict[str, str],
        day: date,
        rng: Random,
    ) -> Iterator[Finished]:
        """One request: its only attempt, or one that failed and the next."""
        workload = kind.workload
        hour = rng.choices(range(24), cum_weights=_HOURS[workload.hours])[0] + rng.random()
        start, end = bounds
        admitted_at = start + int((end - start) * hour / 24)
        request_id = f"req_{admitted_at:014x}{rng.getrandbits(40):010x}"
        read = max(20, round(workload.input_tokens * rng.lognormvariate(0.0, 0.55)))
        written = round(workload.output_tokens * rng.lognormvariate(0.0, 0.5))
        written = min(kind.job.output.default, max(4, written))
        cached = round(read * workload.cached * rng.random() * 1.6)
        usage = Usage(input=read - min(read, cached), cache_read=min(read, cached), output=written)
        attempt = _Attempt(kind, request_id, tags, usage, admitted_at)
        down = any(
            outage.provider == kind.target.provider.name
            and self._origin + timedelta(days=round(outage.month * _DAYS_A_MONTH)) == day
            and outage.hours[0] <= hour < outage.hours[1]
            for outage in company.OUTAGES
        )
        if down or rng.random() < _FAILS:
            yield attempt.finished(_FAILED, rng.randint(200_000, 4_000_000))
            attempt = attempt.after_failure()
        yield attempt.ended(rng)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One attempt of one request, before it is known how it ends."""

    kind: _Kind
    request_id: str
    tags: dict[str, str]
    usage: Usage
    admitted_at: int
    number: int = 1

    @property
    def target(self) -> Target:
        return self.kind.target if self.number == 1 else self.kind.fallback[0]

    @property
    def price(self) -> Price:
        return self.kind.price if self.number == 1 else self.kind.fallback[1]

    def after_failure(self) -> _Attempt:
        """The next one, a few seconds later."""
        return replace(self, number=2, admitted_at=self.admitted_at + 5 * MICROS)

    def ended(self, rng: Random) -> Finished:
        """With an answer, with half of one because its caller left, or never."""
        chance, usage = rng.random(), self.usage
        if chance < _LAPSES:
            ceiling = self._ceiling()
            lapse = msgspec.structs.replace(
                _LAPSED, amount_nanos=ceiling.nanos, tokens=ceiling.tokens
            )
            return self.finished(lapse, round(self.target.timeouts.total * MICROS))
        cut = self.kind.workload.stream and chance < _LAPSES + _LEAVES
        if cut:
            usage = msgspec.structs.replace(usage, output=max(1, usage.output // 2))
        cost = charge(self.price, usage, None)
        ending = Ending(
            outcome="caller_left" if cut else "ok",
            quality=COUNTED if cut else REPORTED,
            usage=usage,
            amount_nanos=cost.amount_nanos,
            tokens=usage.total,
            rates=cost.rates,
            model_served=self.target.model,
            upstream_id=company.MARK,
        )
        return self.finished(ending, 300_000 + usage.output * MICROS // _TOKENS_A_SECOND)

    def finished(self, ending: Ending, took: int) -> Finished:
        """As it is posted; `took` is in microseconds."""
        kind, target = self.kind, self.target
        draft = Draft(
            request_id=self.request_id,
            attempt=self.number,
            key_id=kind.key_id,
            team=kind.workload.team,
            app=kind.workload.app,
            job=kind.job.name,
            target=target.name,
            provider=target.provider.name,
            residency=target.provider.residency,
            confined=kind.job.residency == "on_prem",
            model=target.model,
            stream=kind.workload.stream,
            tags=self.tags,
            rates=self.price.rates,
        )
        return Finished(
            id=f"{self.request_id}.{self.number}",
            draft=draft,
            ending=ending,
            admitted_at=self.admitted_at,
            recorded_at=self.admitted_at + took,
            ceiling=self._ceiling(),
        )

    def _ceiling(self) -> Amounts:
        """As the cheap bound would have it: more input than is counted, and the longest answer."""
        read, write = self.usage.input_total * 3 // 2 + 200, self.kind.job.output.default
        most = bound(self.price, input_tokens=read, output_tokens=write, service_tier=None)
        return Amounts(most, read + write, 1 if self.number == 1 else 0)


def scaled(routes: Routes, scale: float) -> Routes:
    """The rules of a company so many times as large: its limits grow with its requests.

    What limits one run, or how fast requests come, stays as it is.
    """
    budgets = tuple(
        b
        if b.scope.kind == "tag" or b.period in SHORT_PERIODS
        else replace(b, limit=round(b.limit * scale))
        for b in routes.budgets
    )
    return replace(routes, budgets=budgets)


_FAILED = Ending(
    outcome="upstream_failed",
    quality=REPORTED,
    upstream_id=company.MARK,
    reason="the provider answered 503",
)
_LAPSED = Ending(
    kind=LAPSE,
    outcome="lapsed",
    quality=PRESUMED,
    upstream_id=company.MARK,
    reason="nobody came back",
    author="gateway",
)


def _dearer(price: Price, times: tuple[int, int]) -> Price:
    """Every rate multiplied by a fraction, to the whole nano-dollar."""
    up, down = times

    def more(rates: Rates) -> Rates:
        changed = {
            name: value * up // down for name, value in msgspec.structs.asdict(rates).items()
        }
        return Rates(**changed)

    return msgspec.structs.replace(
        price,
        rates=more(price.rates),
        tiers=tuple(msgspec.structs.replace(t, rates=more(t.rates)) for t in price.tiers),
        service_tiers={},
        source=company.MARK,
    )
