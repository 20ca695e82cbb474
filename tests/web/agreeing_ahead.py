"""What is reckoned from the books, figure by figure: forecasts, durations, and what a month would
have cost elsewhere. Everything is worked out from the entries again, nothing from the roll-ups."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from gateway.clock import to_datetime, to_micros
from gateway.insight.forecast import Forecast, Period, forecast
from gateway.insight.rhythm import Days
from gateway.ledger.entries import HOUR
from gateway.ledger.months import parse_month
from gateway.metering.usage import CLASSES
from gateway.web.spans import month_before
from tests.gateways import RunningGateway
from tests.treasury.booking import rows
from tests.web.truth import Truth
from tests.web.visiting import Visitor

_ALMOST = 1_000
"""Nano-dollars by which two ways to add floats may differ."""
_PAGE = 200


async def check_ahead(visitor: Visitor, gateway: RunningGateway, team: str) -> None:
    """Where the month will end: of all that the visitor sees, and of each team and job."""
    page = (await visitor.get("/parts/so-far")).page
    [last] = page.tables["Spent so far, at the end of each day"][-1:]
    told = [*last.figures[-3:]]
    names = ("team",) if team else ()
    expected = foretold(gateway, names, (team,) if team else ())
    if expected.p90 or not team:
        assert _alike(told, expected)
    ends = (await visitor.get("/parts/ends")).page.by.get("ends", [])
    for row in ends:
        if row.figures:
            name, kind = row.cells[0].split(maxsplit=1)
            assert not team or (kind.partition(";")[0], name) == ("team", team)
            [p50] = row.figures
            expected = foretold(gateway, (kind.partition(";")[0],), (name,))
            assert abs(p50 - expected.p50) <= _ALMOST


def foretold(gateway: RunningGateway, names: Sequence[str], of: tuple[str, ...]) -> Forecast:
    """The forecast of the month, from the days that the entries add up to."""
    inside = gateway.gateway
    zone, now = inside.routes.time_zone, inside.clock.now()
    today = to_datetime(now).astimezone(zone).date()
    columns = ", ".join((f"admitted_at / {HOUR}", *names))
    amounts = rows(
        inside.database, f"SELECT {columns}, SUM(amount_nanos) FROM entries GROUP BY {columns}"
    )
    days: dict[date, int] = {}
    by_hour = [Fraction(0)] * 24
    for hour, *key, amount in amounts:
        begins = to_datetime(int(hour) * HOUR).astimezone(zone)
        if tuple(key) == of:
            days[begins.date()] = days.get(begins.date(), 0) + int(amount)
        if today - timedelta(days=28) <= begins.date() < today:
            by_hour[begins.hour] += max(0, int(amount))
    midnight = to_micros(datetime(today.year, today.month, today.day, tzinfo=zone))
    gone = Fraction(now - midnight, HOUR)
    total = sum(by_hour)
    left = sum(by_hour[n] * min(1, max(0, n + 1 - gone)) for n in range(24))
    share = float(left / total) if total else max(0.0, float(1 - gone / 24))
    first = min((day for day, amount in days.items() if amount), default=today)
    length = max(0, (today - first).days)
    series = Days(first, [days.get(first + timedelta(days=n), 0) for n in range(length)])
    begins_at, ends_at = parse_month(f"{today:%Y-%m}").bounds(zone)
    spent = sum(amount for day, amount in days.items() if day >= _day(begins_at, zone))
    return forecast(series, Period(today, _day(ends_at, zone), spent, share))


def _day(moment: int, zone: Any) -> date:
    return to_datetime(moment).astimezone(zone).date()


def _alike(told: Sequence[int], expected: Forecast) -> bool:
    figures = (expected.p10, expected.p50, expected.p90)
    return all(abs(a - b) <= _ALMOST for a, b in zip(told, figures, strict=True))


async def check_reckoned(visitor: Visitor, truth: Truth, month: str) -> None:
    """Of each job: how long its last attempts took, and what the month before would have cost."""
    for job in truth.by("job"):
        seen = await visitor.get(f"/jobs/{job}?month={month}")
        assert _durations(truth, job) in seen.text
        told = {
            row.name: row.figures[-1]
            for caption, table in seen.page.tables.items()
            if caption.startswith("The tokens of")
            for row in table
            if row.figures
        }
        assert told == _elsewhere(truth, month, job)


def _durations(truth: Truth, job: str) -> str:
    """The median, as the page writes it; of the charges among the last entries."""
    found = rows(
        truth.database,
        "SELECT kind, recorded_at - admitted_at FROM entries"
        f" WHERE {truth.where} AND admitted_at < :now AND job = :job"
        f" ORDER BY admitted_at DESC, id DESC LIMIT {_PAGE}",
        **truth.values,
        now=truth.gateway.gateway.clock.now() // HOUR * HOUR + HOUR,
        job=job,
    )
    took = sorted(int(micros) for kind, micros in found if kind == "charge")
    if not took:
        return "<dt>Median duration</dt><dd>\N{EN DASH}"
    return f"<dt>Median duration</dt><dd>{Decimal(took[len(took) // 2]) / 1_000_000:,.2f} s"


def _elsewhere(truth: Truth, month: str, job: str) -> dict[str, int]:
    """The month before, whole, at the list prices of each target that the job could have."""
    routes = truth.gateway.gateway.routes
    bounds = month_before(parse_month(month)).bounds(routes.time_zone)
    also = f" AND team = '{truth.team}'" if truth.team else ""
    [used] = rows(
        truth.database,
        f"SELECT {', '.join(f'SUM({name})' for name in CLASSES)}, SUM(tokens) FROM entries"
        f" WHERE admitted_at >= :start AND admitted_at < :end AND job = :job{also}",
        start=bounds[0],
        end=bounds[1],
        job=job,
    )
    if job not in routes.jobs or not used[-1]:
        return {}
    found = {}
    for target in (target for one in routes.jobs.values() for target in one.targets):
        price = target.price_at(bounds[1] - 1)
        inside = target.provider.residency == "on_prem"
        if price is None or (routes.jobs[job].residency == "on_prem" and not inside):
            continue
        exact = sum(
            Fraction(int(count) * getattr(price.rates, name), 1_000_000)
            for name, count in zip(CLASSES, used, strict=False)
        )
        found[target.name] = round(exact)  # half to even, as the books
    return found
