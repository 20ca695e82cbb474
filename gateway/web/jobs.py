"""Jobs: what each kind of work costs and takes, how it is set, and what it would cost elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.errors import NotFound
from gateway.jobs.routes import Job, OutputPolicy, TemperaturePolicy
from gateway.ledger.entries import CHARGE
from gateway.ledger.queries import Range
from gateway.ledger.searching import Search, Selection
from gateway.ledger.spending import EVERYTHING, NOTHING, Cube, Spending, Total
from gateway.prices.rates import INPUT_CLASSES, OUTPUT_CLASSES
from gateway.web.alternatives import alternatives
from gateway.web.pages import Html, Page, Visit
from gateway.web.sources import Sources
from gateway.web.spans import Span, month_before, span_of
from gateway.web.trends import by_day

_TIMED = 200
"""The last charges of a job of which the durations are shown."""


@dataclass(frozen=True, slots=True)
class Used:
    """What a job came to in a period."""

    name: str
    total: Total
    before: Total
    job: Job | None
    """As routes.yaml has it now; None when it is not there any more."""
    pace: Pace | None

    @property
    def tokens_in(self) -> int:
        """Input tokens of all classes."""
        return sum(self.total.of(name) for name in INPUT_CLASSES)

    @property
    def tokens_out(self) -> int:
        """Output tokens of all classes, reasoning included."""
        return sum(self.total.of(name) for name in OUTPUT_CLASSES)

    @property
    def cached(self) -> int:
        """Input tokens that came from a cache."""
        return self.total.of("cache_read") + self.total.of("cache_read_audio")


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the last attempts took from their admission to their entry, in microseconds."""

    median: int
    slow: int
    """Nineteen of twenty were quicker."""
    count: int


def jobs_pages(sources: Sources) -> list[Page]:
    """The pages of this room."""
    spending = sources.spending
    search = Search(sources.database, sources.org)

    def used(visit: Visit, span: Span, only: str = "") -> list[Used]:
        where = {} if visit.team is None else {"team": visit.team}
        if only:
            where["job"] = only
        by_job: dict[str, Any] = {"names": ("job",), "sums": EVERYTHING}
        now = spending.cube(span.so_far, where, **by_job).by("job")
        before = spending.cube(span.before, where, **by_job).by("job")
        known = {name: job for name, job in sources.live().jobs.items() if only in ("", name)}
        return [
            Used(
                name,
                now.get(name, NOTHING),
                before.get(name, NOTHING),
                known.get(name),
                pace(search, Selection(span.so_far, {**where, "job": name}))
                if name in now
                else None,
            )
            for name in dict.fromkeys((*now, *known))
        ]

    def listed(visit: Visit) -> Html:
        span = span_of(visit)
        return Html("jobs.html", {"span": span, "jobs": used(visit, span), **_WORDS})

    def one(visit: Visit) -> Html:
        span, name = span_of(visit), visit.path["name"]
        found = next(iter(used(visit, span, name)), None)
        if found is None:
            raise NotFound(f"there is no job {name[:64]!r}, and nothing was spent on it")
        where = {"job": name, **({} if visit.team is None else {"team": visit.team})}
        cube = spending.cube(span.so_far, where, sums=EVERYTHING)
        values = {
            "span": span,
            "used": found,
            "cube": cube,
            "days": _days(visit, span, spending, where),
        }
        return Html(
            "job.html", {**_WORDS, **values, **_elsewhere(visit, sources, found, spending, where)}
        )

    return [Page("GET", "/jobs", listed), Page("GET", "/jobs/{name}", one)]


def pace(search: Search, wanted: Selection) -> Pace | None:
    """How long the last charges of a selection took; None without any."""
    rows = search.page(wanted, None, _TIMED).rows
    took = sorted(row["recorded_at"] - row["admitted_at"] for row in rows if row["kind"] == CHARGE)
    if not took:
        return None
    return Pace(took[len(took) // 2], took[len(took) * 19 // 20], len(took))


def _days(
    visit: Visit, span: Span, spending: Spending, where: dict[str, str]
) -> list[tuple[Any, int]]:
    sums = by_day(spending.hourly(span.so_far, "job", where), visit.say, since=span.whole.start)
    last = visit.say.local(span.so_far.end - 1).date()
    return [(day, sums.get(day, 0)) for day in span.days if day <= last]


def _elsewhere(
    visit: Visit, sources: Sources, found: Used, spending: Spending, where: dict[str, str]
) -> dict[str, Any]:
    """The whole month before the present one, at every target's prices."""
    last = month_before(span_of(visit).month)
    period = Range(*last.bounds(visit.say.zone))
    cube: Cube = spending.cube(period, where, sums=EVERYTHING)
    rows = []
    if found.job is not None and cube.total.tokens:
        rows = alternatives(found.job, sources.live(), cube.total, period.end - 1)
    return {"last_month": last, "last": cube.total, "alternatives": rows}


def temperature(policy: TemperaturePolicy) -> str:
    """A temperature policy in words."""
    default = "as the model has it" if policy.default is None else f"{policy.default:g}"
    if policy.min == policy.max:
        return f"always {policy.min:g}"
    outside = "refused" if policy.outside == "refuse" else "brought inside"
    return f"{default}; {policy.min:g} to {policy.max:g}, others are {outside}"


def temperature_in_short(policy: TemperaturePolicy) -> str:
    """The same for a table: the default, and the bounds."""
    if policy.min == policy.max:
        return f"{policy.min:g}"
    default = "any" if policy.default is None else f"{policy.default:g}"
    return f"{default} ({policy.min:g} to {policy.max:g})"


def output(policy: OutputPolicy) -> str:
    """A policy for the length of answers in words."""
    return f"{policy.default:,} tokens; {policy.max:,} at the most"


_WORDS = {
    "temperature": temperature,
    "temperature_in_short": temperature_in_short,
    "output": output,
}
"""For the templates."""
