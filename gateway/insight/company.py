"""A made-up company: who works there with which jobs, and what happens to it in two years.

Everything here is data. The company uses the jobs of the shipped routes.yaml. Its teams are named
`synthetic-…`, so that no page, statement or export can show its spending as anybody's own.

The story is told in months since its beginning and ends, with the history, at month 24: a shorter
history is the last part of it. Before the beginning, and after the end, days are ordinary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

PREFIX = "synthetic-"
"""What the name of every team of the company begins with."""
MARK = "synthetic"
"""What stands in the place of the provider's own id in every entry of it."""
STORY_MONTHS = 24

Hours = Literal["office", "night", "always"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What one app asks of one job."""

    team: str
    app: str
    job: str
    requests_a_day: float
    """On an ordinary working day at the story's beginning."""
    weekend: float = 0.08
    """The share of that on a Saturday, a Sunday or a holiday."""
    growth: float = 0.25
    """Of requests, in a year."""
    month_end: float = 1.0
    """How many times as much on the last two days of a month, and the first."""
    input_tokens: int = 800
    """The median; sizes are spread around it as real ones are, with a long tail."""
    output_tokens: int = 200
    cached: float = 0.0
    """The share of the input that the provider reads from its cache."""
    stream: bool = False
    hours: Hours = "office"
    stages: tuple[str, ...] = ()
    campaign: bool = False
    runs_a_day: int = 0
    """Runs of an agent, whose requests carry the run as a tag."""
    begins: float | None = None
    """Month of the story in which it is launched; None: it was always there."""
    ends: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """Some days on which an app asks many times as much as usual."""

    app: str
    job: str
    month: float
    """Of the story, in which it begins."""
    days: int
    times: float
    run: str = ""
    """The run that its requests say they belong to; empty: as usual."""
    weekday: int | None = None
    """It begins on the next such weekday (Monday is 0)."""
    monthly: bool = False
    """It begins with the next month."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceCut:
    """A provider lowers its prices: before, they were `times` what they are now."""

    provider: str
    month: float
    times: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A provider answers nothing for some hours of a day; the next target takes over."""

    provider: str
    month: float
    hours: tuple[int, int]


WORKLOADS: Sequence[Workload] = (
    Workload(
        team=PREFIX + "brand", app="narrative-studio", job="strategic-narrative",
        requests_a_day=62, growth=0.15, month_end=1.15, input_tokens=7200, output_tokens=4200,
        cached=0.35, stream=True, stages=("outline", "draft", "review"), campaign=True,
    ),
    Workload(
        team=PREFIX + "brand", app="keynote-writer", job="strategic-narrative",
        requests_a_day=11, weekend=0.25, growth=0.1, input_tokens=9600, output_tokens=4400,
        stream=True, stages=("outline", "draft"),
    ),
    Workload(
        team=PREFIX + "data", app="invoice-reader", job="extraction",
        requests_a_day=110, weekend=0.03, growth=0.3, month_end=1.9, input_tokens=15000,
        output_tokens=2100, cached=0.5, stages=("read", "check"),
    ),
    Workload(
        team=PREFIX + "data", app="catalogue-agent", job="extraction",
        requests_a_day=80, weekend=0.9, growth=0.2, input_tokens=36000, output_tokens=1500,
        cached=0.6, hours="night", runs_a_day=4,
    ),
    Workload(
        team=PREFIX + "data", app="ticket-tagger", job="high-volume",
        requests_a_day=110, weekend=0.45, growth=0.3, input_tokens=900, output_tokens=60,
        hours="always", stages=("tag", "route"),
    ),
    Workload(
        team=PREFIX + "marketing", app="ads-assistant", job="workspace",
        requests_a_day=85, weekend=0.06, growth=0.2, month_end=1.6, input_tokens=46000,
        output_tokens=2200, cached=0.2, stream=True, campaign=True,
    ),
    Workload(
        team=PREFIX + "marketing", app="campaign-drafts", job="high-volume",
        requests_a_day=70, growth=0.2, input_tokens=1100, output_tokens=350, campaign=True,
        stages=("draft", "review"),
    ),
    Workload(
        team=PREFIX + "marketing", app="translation-trial", job="workspace",
        requests_a_day=40, growth=0.0, input_tokens=6200, output_tokens=4800, ends=14.0,
    ),
    Workload(
        team=PREFIX + "legal", app="contract-review", job="private",
        requests_a_day=34, weekend=0.02, growth=0.15, month_end=1.4, input_tokens=9000,
        output_tokens=700,
    ),
    Workload(
        team=PREFIX + "support", app="help-centre", job="high-volume",
        requests_a_day=130, weekend=0.6, growth=0.4, input_tokens=2400, output_tokens=280,
        cached=0.4, stream=True, hours="always", stages=("answer", "summary"), begins=9.0,
    ),
    Workload(
        team=PREFIX + "support", app="help-centre", job="extraction",
        requests_a_day=60, weekend=0.5, growth=0.4, input_tokens=9000, output_tokens=900,
        cached=0.4, hours="always", begins=9.0,
    ),
)  # fmt: skip

BURSTS: Sequence[Burst] = (
    # An agent in a loop that nobody looks at before Monday; it belongs to no run.
    Burst(app="catalogue-agent", job="extraction", month=7.2, days=2, times=9.0, weekday=5),
    # The autumn campaign: writing is over its budget, and the organisation's own is used up.
    Burst(
        app="narrative-studio", job="strategic-narrative", month=18.7, days=27, times=3.0,
        monthly=True,
    ),
    Burst(app="ads-assistant", job="workspace", month=18.7, days=27, times=3.2, monthly=True),
    # The next agent in a loop has a run, and is stopped by the budget of one run.
    Burst(
        app="catalogue-agent", job="extraction", month=22.4, days=1, times=9.0, weekday=2,
        run="nightly-in-a-loop",
    ),
)  # fmt: skip

PRICE_CUTS: Sequence[PriceCut] = (PriceCut(provider="openai", month=12.0, times=(7, 5)),)

OUTAGES: Sequence[Outage] = (Outage(provider="openai", month=16.3, hours=(10, 13)),)

CAMPAIGNS = ("spring", "summer", "back-to-work", "winter")
"""By quarter of the year."""


def holidays(year: int) -> frozenset[date]:
    """Days off: fixed ones, and those around Easter."""
    easter = _easter(year)
    fixed = ((1, 1), (5, 1), (12, 24), (12, 25), (12, 26), (12, 31))
    return frozenset(
        [*(date(year, month, day) for month, day in fixed)]
        + [easter + timedelta(days=days) for days in (-2, 1, 39, 50)]
    )


def season(day: date) -> float:
    """How busy the company is at this time of the year."""
    if (day.month, day.day) >= (12, 20) or (day.month, day.day) <= (1, 5):
        return 0.6
    return 0.82 if day.month == 8 else 1.0


def _easter(year: int) -> date:
    """Easter Sunday, by Gauss's rule for the years 1900 to 2099."""
    moon = (19 * (year % 19) + 24) % 30
    sunday = (2 * (year % 4) + 4 * (year % 7) + 6 * moon + 5) % 7
    late = moon + sunday
    if (moon, sunday) == (29, 6) or (moon == 28 and sunday == 6 and year % 19 > 10):
        late -= 7
    return date(year, 3, 22) + timedelta(days=late)
