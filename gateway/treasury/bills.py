"""A provider's bill held against the ledger, and what differs in price alone put right.

The command and the page do the same here: find out which of our providers a bill is about, read
its files, compare, and post the corrections when somebody says so. Nothing is kept of a comparison
but the corrections that it led to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from fractions import Fraction
from zoneinfo import ZoneInfo

from gateway.callers.changes import By
from gateway.clock import Clock
from gateway.errors import ConfigurationError
from gateway.jobs.problems import nearest
from gateway.jobs.routes import Provider, Routes
from gateway.ledger.booked import booked
from gateway.ledger.provider_exports import YEARS, Export, read_export
from gateway.ledger.reconciliation import (
    EVERY_MODEL,
    PRICE,
    Difference,
    Plan,
    days_between,
    reconcile,
)
from gateway.money import round_half_even
from gateway.store.database import Database
from gateway.treasury.adjusting import Adjustments, Correction
from gateway.treasury.periods import Calendar
from gateway.treasury.reconciling import corrections, shares_of

TOGETHER = 500
"""Corrections in one transaction, so that a running gateway never waits long for the database."""


class Vendor(StrEnum):
    """Whose bill it is."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GOOGLE = "google"
    MISTRAL = "mistral"
    GENERIC = "generic"


@dataclass(frozen=True, slots=True)
class Bill:
    """What a provider says, and how it is held against the ledger."""

    export: Export
    plan: Plan
    days: list[date]
    zone: ZoneInfo
    """Where the provider's days begin."""
    source: str
    """The names of its files; they stand in the corrections."""


def our_providers(rules: Routes, vendor: Vendor, named: Iterable[str]) -> tuple[str, ...]:
    """The providers of routes.yaml that the bill is about: those named, else all of the vendor's.

    Raises ConfigurationError.
    """
    names = list(named)
    for name in names:
        if name not in rules.providers:
            hint = nearest(name, rules.providers)
            raise ConfigurationError([f"routes.yaml has no provider {name!r}{hint}"])
    if not names:
        names = [name for name, p in rules.providers.items() if _is_of(vendor, p)]
    if not names:
        said = f"routes.yaml has no provider of {vendor.value}; name one of yours (--ours)"
        raise ConfigurationError([said])
    return tuple(dict.fromkeys(names))


def _is_of(vendor: Vendor, provider: Provider) -> bool:
    """Whether a vendor bills what is sent to this provider."""
    if vendor is Vendor.GENERIC:
        return True
    if vendor is Vendor.GOOGLE:
        google = provider.wire == "gemini" or provider.flavour == "gemini"
        return google or provider.price_provider.startswith("vertex_ai")
    if vendor is Vendor.ANTHROPIC:
        return provider.wire == "anthropic"
    return provider.flavour == vendor.value


def read_bill(
    files: Sequence[tuple[str, bytes]], vendor: Vendor, zone: ZoneInfo, rate: Decimal | None
) -> Export:
    """All lines of these files, by name and content; `rate` is how many dollars a unit is.

    Raises ConfigurationError.
    """
    export: Export | None = None
    for name, content in files:
        read = read_export(name, content, vendor, zone=zone, usd_per_unit=rate)
        if export is None:
            export = read
        else:
            export.add(read)
    if export is None or not export.lines:
        raise ConfigurationError(["there are no lines about models in these files"])
    return export


def rate_of(text: str, name: str) -> Decimal | None:
    """Dollars for a unit of a bill's currency; None for none. `name` is where it was written.

    Raises ConfigurationError.
    """
    try:
        rate = Decimal(text) if text else None
    except InvalidOperation:
        rate = Decimal(0)
    if rate is not None and not (rate.is_finite() and rate > 0):
        raise ConfigurationError([f"{name}: {text!r} is not a rate"])
    return rate


def days_of(export: Export, first: date | None = None, last: date | None = None) -> list[date]:
    """Every day that is compared: the bill's own, as far as nobody says otherwise.

    Raises ConfigurationError.
    """
    start = first or min(line.day for line in export.lines)
    end = last or max(line.day for line in export.lines)
    if not {start.year, end.year} <= set(YEARS):
        raise ConfigurationError([f"--from {start} --to {end}: there are no bills of such years"])
    if start > end:
        raise ConfigurationError([f"--from {start} is after --to {end}"])
    return days_between(start, end)


def differences(database: Database, org: str, bill: Bill) -> list[Difference]:
    """What the bill says against what is booked; blocks. Raises DatabaseDown."""
    ledger = booked(database, org, bill.plan, bill.days, bill.zone)
    return reconcile(bill.export, ledger, bill.plan, bill.days)


def price_corrections_of(
    database: Database, org: str, bill: Bill, found: Iterable[Difference], author: str
) -> list[Correction]:
    """The entries that would put right what differs in price alone; blocks, writes nothing.

    Raises DatabaseDown.
    """
    wrong = [difference for difference in found if difference.kind == PRICE]
    shares = shares_of(database, org, bill.plan, [d.place for d in wrong], bill.zone)
    return [
        correction
        for difference in wrong
        for correction in corrections(difference, shares[difference.place], bill.source, author)
    ]


def post_in_batches(
    database: Database,
    org: str,
    calendar: Calendar,
    fresh: Sequence[Correction],
    by: By,
    clock: Clock,
) -> None:
    """Post corrections, so many to a transaction; what was posted stays if a later batch fails.

    Raises DatabaseConflict when one of them was posted already, DatabaseDown.
    """
    adjustments = Adjustments(org, database.engine_name, calendar)
    for start in range(0, len(fresh), TOGETHER):
        with database.writing() as cursor:
            adjustments.post(cursor, fresh[start : start + TOGETHER], by, clock.now())


def totals(found: Iterable[Difference]) -> Mapping[str, int | None]:
    """Both sides in nano-dollars, `billed` and `booked`; `billed` is None without any amount.

    What is booked stands in the places of models, and once more in those of whole days where the
    bill has such.
    """
    found = list(found)
    amounts = [d.billed.nanos for d in found if d.billed.nanos is not None]
    of_models = [d for d in found if d.booked.count and d.place.model != EVERY_MODEL]
    ours = sum((d.booked.nanos or Fraction(0) for d in of_models or found), Fraction(0))
    billed = whole(sum(amounts, Fraction(0))) if amounts else None
    return {"billed": billed, "booked": whole(ours)}


def whole(nanos: Fraction) -> int:
    """The nearest whole nano-dollar."""
    return round_half_even(nanos.numerator, nanos.denominator)
