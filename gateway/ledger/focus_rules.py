"""Does a cost export keep the rules of FOCUS 1.2? The column rules of the specification, as code.

The checker reads a dataset row by row and says what is wrong with it, so a file of any size can
be checked: what it remembers is one line for each SKU price and each service. Values come as
text, None for null; how a file is opened is the affair of whoever asks.

To add a rule is to write a function and a line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, localcontext

from gateway.ledger.focus_columns import COLUMNS, PARENTS, SKU_PROPERTIES, Column, Kind

Text = Mapping[str, str | None]
"""One row: every column of the file, null as None."""
Values = dict[str, object]
"""The same with decimals and moments read, as far as they can be, and without nulls."""
Said = Iterator[tuple[str, str]]
"""What is wrong: the column and a sentence."""

_NUMBER = re.compile(r"-?\d+(\.\d+)?(E-?\d+)?")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_CURRENCY = re.compile(r"[A-Z]{3}")
_UNIT = r"[A-Za-z][A-Za-z0-9]*( [A-Za-z][A-Za-z0-9]*)*"
_TIMES = "(Years?|Months?|Days?|Hours?|Minutes?|Seconds?)"
_UNITS = re.compile(rf"(\d+ )?{_UNIT}|{_UNIT}-{_TIMES}|{_UNIT}/(\d+ )?{_TIMES}")
_PASCAL = re.compile(r"[A-Z][A-Za-z0-9]*")
_PLACEHOLDERS = frozenset(("n/a", "na", "none", "null", "not applicable", "-", "nan"))
_PRICED = (
    *("ListUnitPrice", "ContractedUnitPrice", "PricingQuantity", "PricingCategory"),
    *("SkuId", "SkuPriceId"),
)
"""What a charge for use or a purchase has, and a tax does not."""
_TOGETHER = (
    *(("ConsumedQuantity", "ConsumedUnit"), ("PricingQuantity", "PricingUnit")),
    *(("ResourceId", "ResourceType"), ("RegionId", "RegionName")),
    *(("SubAccountId", "SubAccountName"), ("SubAccountId", "SubAccountType")),
    ("BillingAccountId", "BillingAccountType"),
)
"""Columns of which the second is null exactly when the first one is."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is against the specification; row 0 is the heading."""

    row: int
    column: str
    message: str


@dataclass(slots=True)
class Checker:
    """Checks one dataset: `heading` once, then `row` for each row."""

    rows: int = 0
    _names: frozenset[str] = frozenset()
    _parents: dict[tuple[str, str], str] = field(default_factory=dict)

    def heading(self, names: Sequence[str]) -> Iterator[Violation]:
        """What is wrong with the columns that there are."""
        self._names = frozenset(names)
        for name in sorted(self._names):
            if names.count(name) > 1:
                yield Violation(0, name, "is there more than once")
            if name in COLUMNS:
                continue
            if not name.startswith("x_"):
                yield Violation(0, name, "is not a column of FOCUS, and has no x_ in front")
            elif not _PASCAL.fullmatch(name.removeprefix("x_")):
                yield Violation(0, name, "is not in Pascal case")
        for column in COLUMNS.values():
            if column.mandatory and column.name not in self._names:
                yield Violation(0, column.name, "is mandatory and missing")
        custom = [name.startswith("x_") for name in names]
        if custom != sorted(custom):
            yield Violation(0, "", "custom columns stand after those of FOCUS")

    def row(self, row: Text) -> Iterator[Violation]:
        """What is wrong with the next row."""
        self.rows += 1
        values: Values = {}
        for name, text in row.items():
            column = COLUMNS.get(name)
            if column is None:
                continue
            for message in _of_one(column, text):
                yield Violation(self.rows, name, message)
            if text is not None:
                values[name] = _read(column, text)
        for rule in ROW_RULES:
            for name, message in rule(values, self._names):
                yield Violation(self.rows, name, message)
        for name, message in self._one_parent(values):
            yield Violation(self.rows, name, message)

    def _one_parent(self, values: Values) -> Said:
        for child, parent in (("SkuPriceId", "SkuId"), ("ServiceName", "ServiceCategory")):
            if child not in values or parent not in values:
                continue
            known = self._parents.setdefault((child, str(values[child])), str(values[parent]))
            if known != values[parent]:
                yield child, f"{values[child]!r} belongs to one {parent}, not also to {known!r}"


def check(heading: Sequence[str], rows: Iterable[Text]) -> Iterator[Violation]:
    """Everything that is wrong with a dataset."""
    checker = Checker()
    yield from checker.heading(heading)
    for row in rows:
        yield from checker.row(row)


# ---- one value


def _of_one(column: Column, text: str | None) -> Iterator[str]:
    if text is None:
        if not column.nullable:
            yield "may not be null"
        return
    if not text.strip():
        yield "is empty where it should be null"
    elif column.kind is Kind.STRING and text.strip().lower() in _PLACEHOLDERS:
        yield f"{text!r} stands for null, which has to be null"
    if column.allowed is not None and text not in column.allowed:
        yield f"{text!r} is not one of {', '.join(sorted(column.allowed))}"
    yield from _FORMATS[column.kind](column.name, text)


def _decimal(_name: str, text: str) -> Iterator[str]:
    if not _NUMBER.fullmatch(text):
        yield f"{text!r} is not a number such as -12.50 or 3E-7"


def _moment(_name: str, text: str) -> Iterator[str]:
    if not _MOMENT.fullmatch(text) or _as_moment(text) is None:
        yield f"{text!r} is not a moment in UTC such as 2026-11-02T12:00:00Z"


def _string(name: str, text: str) -> Iterator[str]:
    if name.endswith("Currency") and not _CURRENCY.fullmatch(text):
        yield f"{text!r} is not a currency code such as USD"
    if name.endswith("Unit") and not _UNITS.fullmatch(text):
        yield f"{text!r} is not a unit such as Tokens or 1000000 Tokens"


def _key_value(name: str, text: str) -> Iterator[str]:
    keys: list[str] = []

    def remember(pairs: list[tuple[str, object]]) -> dict[str, object]:
        keys.extend(key for key, _ in pairs)
        return dict(pairs)

    try:
        found = json.loads(text, object_pairs_hook=remember)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        yield "is not a JSON object"
        return
    if any(isinstance(value, dict | list) for value in found.values()):
        yield "has a value that is an object or an array"
    elif len(keys) != len(found):
        yield "has a key twice"
    if name == "SkuPriceDetails":
        for key in found:
            if not key.startswith("x_") and key not in SKU_PROPERTIES:
                yield f"key {key!r} is not one of FOCUS, and has no x_ in front"


_FORMATS: Mapping[Kind, Callable[[str, str], Iterator[str]]] = {
    Kind.DECIMAL: _decimal,
    Kind.MOMENT: _moment,
    Kind.STRING: _string,
    Kind.KEY_VALUE: _key_value,
}


def _read(column: Column, text: str) -> object:
    if column.kind is Kind.DECIMAL and _NUMBER.fullmatch(text):
        return Decimal(text)
    return (_as_moment(text) if column.kind is Kind.MOMENT else None) or text


def _as_moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


# ---- one row


def priced_charges_have_prices(row: Values, names: frozenset[str]) -> Said:
    """Use and purchases have a price and a SKU, unless corrected; taxes have neither."""
    for name in _PRICED:
        if name not in names:
            continue
        if row.get("ChargeCategory") == "Tax" and name in row:
            yield name, "has to be null for a tax"
        if _is_priced(row) and name not in row:
            yield name, "may not be null for use or a purchase that is no correction"


def costs_are_products(row: Values, _names: frozenset[str]) -> Said:
    """Unit price times quantity is the cost, exactly, unless the row is a correction."""
    quantity = row.get("PricingQuantity")
    for kind in ("List", "Contracted"):
        price, cost = row.get(f"{kind}UnitPrice"), row.get(f"{kind}Cost")
        if isinstance(price, Decimal) and price < 0:
            yield f"{kind}UnitPrice", "may not be negative"
        if row.get("ChargeClass") == "Correction":
            continue
        if not isinstance(price, Decimal) or not isinstance(quantity, Decimal):
            continue
        with localcontext(prec=100):
            if isinstance(cost, Decimal) and price * quantity != cost:
                yield f"{kind}Cost", f"{cost} is not {price} times {quantity}"


def use_is_measured(row: Values, names: frozenset[str]) -> Said:
    """Consumption belongs to charges for use, and to all of them that are no corrections."""
    if "ConsumedQuantity" not in names:
        return
    used = row.get("ChargeCategory") == "Usage"
    unused = row.get("CommitmentDiscountStatus") == "Unused"
    if "ConsumedQuantity" in row and (not used or unused):
        yield "ConsumedQuantity", "has to be null where nothing was used"
    if "ConsumedQuantity" not in row and used and not unused and not _is_correction(row):
        yield "ConsumedQuantity", "may not be null for use that is no correction"


def what_belongs_together_is_together(row: Values, names: frozenset[str]) -> Said:
    """A unit has a quantity, a name has an id, and the reverse."""
    for first, second in _TOGETHER:
        if {first, second} <= names and (first in row) != (second in row):
            yield second, f"is null exactly when {first} is"
    for name, owner in (("SkuPriceDetails", "SkuPriceId"), ("SkuMeter", "SkuId")):
        if owner in names and name in row and owner not in row:
            yield name, f"has to be null when {owner} is"


def others_bills_are_not_billed(row: Values, _names: frozenset[str]) -> Said:
    """What somebody else is paid for costs nothing here."""
    if row.get("ProviderName") != row.get("InvoiceIssuerName") and row.get("BilledCost"):
        yield "BilledCost", "has to be 0 when the invoice issuer is not the provider"


def purchases_are_not_by_use(row: Values, _names: frozenset[str]) -> Said:
    """What is bought is bought once or regularly."""
    if row.get("ChargeCategory") == "Purchase" and row.get("ChargeFrequency") == "Usage-Based":
        yield "ChargeFrequency", "may not be Usage-Based for a purchase"


def subcategories_have_one_parent(row: Values, _names: frozenset[str]) -> Said:
    """A subcategory stands under its own category."""
    below = row.get("ServiceSubcategory")
    if below in PARENTS and PARENTS[str(below)] != row.get("ServiceCategory"):
        yield "ServiceSubcategory", f"{below!r} belongs to {PARENTS[str(below)]!r}"


def periods_have_a_length(row: Values, _names: frozenset[str]) -> Said:
    """The start is part of a period, its end is not."""
    for name in ("BillingPeriod", "ChargePeriod"):
        start, end = row.get(f"{name}Start"), row.get(f"{name}End")
        if isinstance(start, datetime) and isinstance(end, datetime) and start >= end:
            yield f"{name}End", "is not after the start"


ROW_RULES: Sequence[Callable[[Values, frozenset[str]], Said]] = (
    priced_charges_have_prices,
    costs_are_products,
    use_is_measured,
    what_belongs_together_is_together,
    others_bills_are_not_billed,
    purchases_are_not_by_use,
    subcategories_have_one_parent,
    periods_have_a_length,
)


def _is_correction(row: Values) -> bool:
    return row.get("ChargeClass") == "Correction"


def _is_priced(row: Values) -> bool:
    return row.get("ChargeCategory") in ("Usage", "Purchase") and not _is_correction(row)
