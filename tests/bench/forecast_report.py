"""How good the forecasts are: `make forecast-report`, or `python -m tests.bench.forecast_report`.

Makes the two years of the synthetic company for several seeds, foretells the end of every month
from every third morning in it, for the whole and for each team and job, and prints how far P50
was off, how far the simplest forecast was (each day as a week before), and how often the month
ended within P10 to P90. Ends with status 1 unless the forecast is better and the range holds
80 % of the months, give or take 5. Nothing is refused here: it is demand that is foretold.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

from gateway.insight.backtest import BackTest, Trial, summed, trials
from gateway.insight.rhythm import Days, Rhythm
from gateway.insight.synthetic import Company
from gateway.jobs.loading import load
from gateway.jobs.routes import Routes
from gateway.prices.book import PriceBook

ORIGIN = date(2024, 11, 1)
DAYS = 730
MONTHS = 24
WANTED, APART = 0.80, 0.05


def years_of(routes: Routes, seed: int, scale: float = 1.0) -> dict[tuple[str, str], Days]:
    """Nano-dollars a day of the company, of each team and of each job."""
    company = Company(routes, ORIGIN, seed=seed, scale=scale)
    amounts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0] * DAYS)
    for number in range(DAYS):
        for attempt in company.day(ORIGIN + timedelta(days=number)):
            for key in (("whole", ""), ("team", attempt.draft.team), ("job", attempt.draft.job)):
                amounts[key][number] += attempt.ending.amount_nanos
    return {key: Days(ORIGIN, series) for key, series in sorted(amounts.items())}


def lines_of(found: dict[str, list[Trial]]) -> Iterator[str]:
    """The table."""
    yield f"{'':<16}{'forecasts':>10}{'P50 off':>9}{'naive':>8}{'in range':>10}{'P90-P10':>9}"
    for name, several in found.items():
        told = summed(several)
        if told is not None:
            yield (
                f"{name:<16}{told.forecasts:>10,}{told.error:>9.1%}{told.naive_error:>8.1%}"
                f"{told.coverage:>10.1%}{told.width:>9.1%}"
            )


def is_good(told: BackTest) -> bool:
    """Better than the simplest forecast, and as often in range as it says."""
    return told.error < told.naive_error and abs(told.coverage - WANTED) <= APART


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--scale", type=float, default=1.0)
    given = parser.parse_args()
    routes = load(Path("routes.yaml"), book=PriceBook.bundled(), environment=os.environ)
    found: dict[str, list[Trial]] = {"whole": [], "team": [], "job": []}
    everything: list[Trial] = []
    for seed in range(given.first, given.first + given.seeds):
        print(f"seed {seed} of {given.first} to {given.first + given.seeds - 1}", file=sys.stderr)
        for (kind, _name), days in years_of(routes, seed, given.scale).items():
            tried = trials(Rhythm(days), MONTHS)
            found[kind] += tried
            found.setdefault(f"seed {seed}", []).extend(tried)
            everything += tried
    found["all"] = everything
    print("\n".join(lines_of(found)))
    told = summed(everything)
    if told is None or not is_good(told):
        sys.exit("the forecasts are not good enough")


if __name__ == "__main__":
    main()
