"""The cost export: what was charged, as rows of the FOCUS 1.2 cost and usage dataset.

A row is one hour x team x app x job x target x token class, and also by unit price, quality and
kind of entry, because a row has one of each. The organisation is the billing account, a team is
a sub account, an app is the resource that used something, and a month in the organisation's time
zone is a billing period, whose invoice is the team's statement. The price of a row is the one
that its entries were computed with, for list price and contract alike: the books keep one price.
Regions and commitments are always null: the books know none.

  BilledCost, EffectiveCost   what is booked, in whole nano-dollars; `shares` says how an entry's
                              amount is shared among its classes
  ListCost, ContractedCost    unit price x quantity, not rounded, as the specification wants it

so the first two add up to the ledger to the nano, and the other two differ by what was rounded.
Where an amount does not follow from prices (stated by the provider, presumed, or a correction of
money alone), the quantity is the amount itself, in USD at 1 USD. Corrections of an earlier month
have ChargeClass Correction; within the month they are ordinary rows, as the specification says.

Entries are read in the order of their admission and an hour is let go when the next one begins,
so the memory is that of one hour's rows, however long the period.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import bindparam, select

from gateway.clock import to_datetime
from gateway.ledger.entries import ADJUST, HOUR
from gateway.ledger.months import month_of
from gateway.ledger.paging import entries_of_one_moment
from gateway.ledger.queries import Range
from gateway.ledger.shares import Share, shares
from gateway.metering.usage import CLASSES
from gateway.prices.rates import Rates
from gateway.store.database import Cursor, Database
from gateway.store.statements import ListStatement
from gateway.store.tables import EntryRow

Value = Decimal | datetime | str | None
Row = dict[str, Value]

FOCUS_COLUMNS = (
    *("BilledCost", "BillingAccountId", "BillingAccountName", "BillingAccountType"),
    *("BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory"),
    *("ChargeClass", "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd"),
    *(
        "ChargePeriodStart",
        "CommitmentDiscountStatus",
        "ConsumedQuantity",
        "ConsumedUnit",
        "ContractedCost",
    ),
    *("ContractedUnitPrice", "EffectiveCost", "InvoiceId", "InvoiceIssuerName", "ListCost"),
    *("ListUnitPrice", "PricingCategory", "PricingCurrency"),
    *("PricingCurrencyContractedUnitPrice", "PricingCurrencyEffectiveCost"),
    *("PricingCurrencyListUnitPrice", "PricingQuantity", "PricingUnit", "ProviderName"),
    *("PublisherName", "RegionId", "RegionName", "ResourceId", "ResourceName"),
    *("ResourceType", "ServiceCategory", "ServiceName", "ServiceSubcategory", "SkuId"),
    *("SkuMeter", "SkuPriceDetails", "SkuPriceId", "SubAccountId", "SubAccountName"),
    *("SubAccountType", "Tags"),
)
OWN_COLUMNS = ("x_App", "x_EntryKind", "x_Job", "x_Quality", "x_Target", "x_TokenClass")
HEADING = (*FOCUS_COLUMNS, *OWN_COLUMNS)
"""The columns of the export, in their order."""

_READ = (
    *("kind", "team", "app", "job", "target", "provider", "residency", "model", "model_served"),
    *("quality", "prices", "amount_nanos", "tokens", "corrects", "reason", *CLASSES),
)
_ENTRIES = EntryRow.__table__  # type: ignore[attr-defined]
_ONE = Decimal(1)
_FEES = "requests"
"""The class that counts calls with a fee of their own; all others count tokens."""
_prices = msgspec.json.Decoder(Rates)
_METERS = {name: f"{name.replace('_', ' ').title()} Tokens" for name in CLASSES}
_METERS |= {_FEES: "Requests with a fee", "": "Charge without a class"}


@dataclass(frozen=True, slots=True)
class Account:
    """Whose costs they are: the key of the organisation, its name, and its time zone."""

    org: str
    name: str
    zone: ZoneInfo


class _Key(NamedTuple):
    """What the rows of one hour differ in; sorts in the order in which they are written."""

    team: str
    app: str
    job: str
    target: str
    provider: str
    residency: str
    model: str
    token_class: str
    rate: int
    """Nano-dollars for a million; -1 when the amount does not follow from prices."""
    quality: str
    kind: str
    category: str
    earlier: bool
    """Whether it corrects an earlier billing period."""
    reason: str
    """Why, for corrections; empty for the rest."""


@dataclass(slots=True)
class _Sums:
    number: int = 0
    exact: int = 0
    nanos: int = 0


@dataclass(slots=True)
class _Hour:
    """One hour of one billing period: its bounds in microseconds, and its sums so far."""

    start: int
    end: int
    month: str
    billing: tuple[int, int]
    sums: dict[_Key, _Sums] = field(default_factory=dict)


def focus_rows(database: Database, period: Range, account: Account) -> Iterator[Row]:
    """The rows of a period, one moment of the books; raises DatabaseDown.

    Hours are hours of UTC, cut where the period or a billing period begins or ends within one.
    """
    engine = database.engine_name
    with database.reading() as cursor:
        corrected = _Corrected(engine, account.org)
        hour: _Hour | None = None
        pages = entries_of_one_moment(cursor, engine, account.org, period, _READ)
        for page in pages:
            corrected.read(cursor, page)
            for entry in page:
                if hour is None or entry["admitted_at"] >= hour.end:
                    if hour is not None:
                        yield from _rows(hour, account)
                    hour = _hour_of(entry["admitted_at"], period, account.zone)
                _add(hour, entry, corrected.moments)
        if hour is not None:
            yield from _rows(hour, account)


class _Corrected:
    """When the entries were admitted that the corrections of a page correct."""

    def __init__(self, engine: str, org: str) -> None:
        self.moments: dict[str, int] = {}
        self._org = org
        self._find = ListStatement(
            lambda items: select(_ENTRIES.c.id, _ENTRIES.c.admitted_at).where(
                _ENTRIES.c.org == bindparam("org"), _ENTRIES.c.id.in_(items)
            ),
            engine,
        )

    def read(self, cursor: Cursor, page: Iterable[dict[str, Any]]) -> None:
        """Look up those of the next page; those of the last one are forgotten."""
        wanted = sorted({entry["corrects"] for entry in page if entry["corrects"]})
        self.moments = {}
        for text, values in self._find.batches(wanted, org=self._org) if wanted else ():
            self.moments.update(cursor.rows(text, values))


def _hour_of(moment: int, period: Range, zone: ZoneInfo) -> _Hour:
    month = month_of(moment, zone)
    billing = month.bounds(zone)
    hour = moment // HOUR * HOUR
    start = max(hour, billing[0], period.start)
    return _Hour(start, min(hour + HOUR, billing[1], period.end), str(month), billing)


def _add(hour: _Hour, entry: dict[str, Any], corrected: dict[str, int]) -> None:
    rates = _prices.decode(entry["prices"]) if entry["prices"] else None
    parts = shares(entry, rates, entry["amount_nanos"])
    if not parts and (entry["amount_nanos"] or entry["tokens"]):
        parts = [Share("", entry["tokens"], entry["amount_nanos"], None)]
    adjusts = entry["kind"] == ADJUST
    earlier = adjusts and corrected.get(entry["corrects"], hour.start) < hour.billing[0]
    for share in parts:
        key = _Key(
            entry["team"],
            entry["app"],
            entry["job"],
            entry["target"],
            entry["provider"],
            entry["residency"],
            entry["model_served"] or entry["model"],
            share.token_class,
            -1 if share.rate is None else share.rate,
            entry["quality"],
            entry["kind"],
            "Usage" if share.number or not adjusts else "Adjustment",
            earlier,
            entry["reason"] if adjusts else "",
        )
        sums = hour.sums.get(key)
        if sums is None:
            sums = hour.sums[key] = _Sums()
        sums.number += share.number
        sums.exact += share.exact
        sums.nanos += share.nanos


def _rows(hour: _Hour, account: Account) -> Iterator[Row]:
    for key in sorted(hour.sums):
        row: Row = dict.fromkeys(HEADING)
        row |= _whose(key, hour, account)
        row |= _what(key)
        row |= _how_much(key, hour.sums[key])
        yield row


def _whose(key: _Key, hour: _Hour, account: Account) -> Row:
    """Accounts and periods."""
    tags = {"jobgate/app": key.app, "jobgate/job": key.job}
    house = key.residency == "on_prem"
    seller = account.name if house else key.provider
    return {
        "BillingAccountId": account.org,
        "BillingAccountName": account.name,
        "BillingAccountType": "Organisation",
        "BillingCurrency": "USD",
        "PricingCurrency": "USD",
        "BillingPeriodStart": to_datetime(hour.billing[0]),
        "BillingPeriodEnd": to_datetime(hour.billing[1]),
        "ChargePeriodStart": to_datetime(hour.start),
        "ChargePeriodEnd": to_datetime(hour.end),
        "InvoiceId": f"{account.org}/{key.team}/{hour.month}",
        "InvoiceIssuerName": seller,
        "ProviderName": seller,
        "PublisherName": seller,
        "ResourceId": f"{account.org}/{key.team}/{key.app}",
        "ResourceName": key.app,
        "ResourceType": "App",
        "SubAccountId": key.team,
        "SubAccountName": key.team,
        "SubAccountType": "Team",
        "Tags": msgspec.json.encode(tags).decode(),
        "x_App": key.app,
        "x_EntryKind": key.kind,
        "x_Job": key.job,
        "x_Quality": key.quality,
        "x_Target": key.target,
        "x_TokenClass": key.token_class or None,
    }


def _what(key: _Key) -> Row:
    """The service, the SKU, and what kind of charge it is."""
    sku = f"{key.provider}/{key.model}:{key.token_class or 'charge'}"
    meter = _METERS[key.token_class]
    described = f"{meter} of {key.target} for job {key.job}"
    details = {"x_Model": key.model, "x_TokenClass": key.token_class or None}
    return {
        "ChargeCategory": key.category,
        "ChargeClass": "Correction" if key.earlier else None,
        "ChargeDescription": f"{described}: {key.reason}" if key.reason else described,
        "ChargeFrequency": "Usage-Based" if key.category == "Usage" else "One-Time",
        "PricingCategory": "Standard" if key.rate >= 0 else "Other",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": f"Models of {key.provider}",
        "ServiceSubcategory": "Generative AI",
        "SkuId": sku,
        "SkuMeter": meter,
        "SkuPriceDetails": msgspec.json.encode(details).decode(),
        "SkuPriceId": f"{sku}@{key.rate if key.rate >= 0 else 'amount'}",
    }


def _how_much(key: _Key, sums: _Sums) -> Row:
    """Quantities, unit prices and costs."""
    booked = plain(Decimal(sums.nanos).scaleb(-9))
    unit, per = ("Requests", 3) if key.token_class == _FEES else ("Tokens", 6)
    if key.rate >= 0:
        # Rates are nano-dollars for a million; requests are priced by the thousand.
        price = plain(Decimal(key.rate).scaleb(per - 15))
        quantity, priced_in = plain(Decimal(sums.number).scaleb(-per)), f"{10**per} {unit}"
        cost = plain(Decimal(sums.exact).scaleb(-15))
    else:
        price, quantity, priced_in, cost = _ONE, booked, "USD", booked
    used = key.category == "Usage"
    return {
        "BilledCost": booked,
        "EffectiveCost": booked,
        "ConsumedQuantity": Decimal(sums.number) if used else None,
        "ConsumedUnit": unit if used else None,
        "ContractedCost": cost,
        "ContractedUnitPrice": price,
        "ListCost": cost,
        "ListUnitPrice": price,
        "PricingCurrencyContractedUnitPrice": price,
        "PricingCurrencyEffectiveCost": booked,
        "PricingCurrencyListUnitPrice": price,
        "PricingQuantity": quantity,
        "PricingUnit": priced_in,
    }


def plain(number: Decimal) -> Decimal:
    """The same number without zeros at its end."""
    if number == number.to_integral_value():
        return number.quantize(_ONE)
    return number.normalize()
