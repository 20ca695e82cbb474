"""Usage and cost exports of providers, read into lines that can be held against the ledger.

A provider's export is CSV or JSON, from its console or its API, and each has names of its own for
the same things. This room knows those names and nothing of the ledger. It is tolerant about what
does not matter (the order of columns, further columns, a preamble, a byte order mark) and strict
about what does: an amount that is not a number, a currency that is not the ledger's, or a page
that is not the last ends with the row and the column named. docs/reconciliation.md tells people
which columns are read.

Amounts are exact fractions of a nano-dollar: providers state more digits than that.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from types import MappingProxyType
from typing import NoReturn
from zoneinfo import ZoneInfo

from gateway.errors import ConfigurationError
from gateway.ledger.export_columns import LAYOUTS, Layout, plain_name
from gateway.ledger.export_models import model_of_line_item, sku
from gateway.money import NANOS_PER_DOLLAR

FIGURES = ("input", "cache_read", "cache_write", "output")
"""What tokens are compared by. `input` is all input, cached and written included."""
_BY_CLASS = ("input", "cache_read", "output")
"""Those of a bill that has a line for each class: what has no line was not billed."""

USAGE, CREDIT, OTHER = "usage", "credit", "other"
"""Kinds of lines: traffic; money given back; charges beside traffic, such as taxes."""

_CENT_PLACES = 2
"""An export has at least these decimals: a price of "15" is 15.00 and not somewhere around it."""
_UNIX_SECONDS_SINCE = 946_684_800
"""2000 in seconds since 1970: a smaller number in a column of times is not one."""
YEARS = range(2000, 2200)
"""Years that a bill can be of; what lies outside is a slip."""
_MOST_DIGITS = 40


@dataclass(frozen=True, slots=True)
class BilledLine:
    """One line of an export: what a provider says was used, or costs, on one day.

    `tokens` has only the figures that the line states; `nanos` is None where it states no money.
    `keys` are the names and ids of the API key, project and workspace, as far as it tells them.
    """

    row: int
    day: date
    model: str
    keys: tuple[str, ...]
    kind: str
    tokens: Mapping[str, int]
    nanos: Fraction | None
    text: str = ""


@dataclass(slots=True)
class Export:
    """All lines of one or several files, and how finely they state money."""

    lines: list[BilledLine] = field(default_factory=list)
    places: int = _CENT_PLACES
    """Decimals in the amounts, as many as the finest has."""
    usd_per_unit: Fraction = Fraction(1)
    spans: bool = False
    """Whether some lines are about more than one day."""
    by_class: bool = False
    """Whether it has a line for each class of tokens, so that no line means none."""
    passed_over: int = 0
    """Lines about other services than models."""

    @property
    def figures(self) -> tuple[str, ...]:
        """The figures of tokens that it states at all."""
        stated = {name for line in self.lines for name in line.tokens}
        if stated and self.by_class:
            stated.update(_BY_CLASS)
        return tuple(name for name in FIGURES if name in stated)

    @property
    def has_money(self) -> bool:
        """Whether it states what traffic costs."""
        return any(line.nanos is not None and line.kind == USAGE for line in self.lines)

    @property
    def unit(self) -> Fraction:
        """The smallest difference that its amounts can tell, in nano-dollars."""
        return Fraction(NANOS_PER_DOLLAR, 10**self.places) * self.usd_per_unit

    def add(self, other: Export) -> None:
        """Take the lines of another file of the same provider."""
        self.lines += other.lines
        self.places = max(self.places, other.places)
        self.spans = self.spans or other.spans
        self.passed_over += other.passed_over


def read_export(
    name: str,
    content: bytes,
    provider: str,
    *,
    zone: ZoneInfo | None = None,
    usd_per_unit: Decimal | None = None,
) -> Export:
    """The lines of a file; `name` stands before each problem.

    `zone` overrides the zone in which the provider counts days. `usd_per_unit` turns a bill in
    another currency into dollars. Raises ConfigurationError for everything that cannot be read,
    with row and column.
    """
    reading = _Reading(name, LAYOUTS[provider], zone, usd_per_unit)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError([f"{name}: not UTF-8 at byte {error.start}"]) from None
    rows = _json_rows(name, text) if text.lstrip()[:1] in ("{", "[") else _csv_rows(reading, text)
    try:
        for number, row in rows:
            reading.take(number, row)
    except RecursionError:
        raise ConfigurationError([f"{name}: nested too deeply"]) from None
    if not reading.export.lines and not reading.export.passed_over:
        raise ConfigurationError([f"{name}: there are no lines in it that tell tokens or money"])
    return reading.export


class _Reading:
    """One file on its way into an Export."""

    def __init__(
        self, name: str, layout: Layout, zone: ZoneInfo | None, usd_per_unit: Decimal | None
    ) -> None:
        self.name, self.layout = name, layout
        self.zone = zone or ZoneInfo(layout.zone)
        self._foreign = usd_per_unit is not None
        self._rate = Fraction(1 if usd_per_unit is None else usd_per_unit)
        self.export = Export(usd_per_unit=self._rate, by_class=layout.is_sku)

    def take(self, number: int, row: Mapping[str, str]) -> None:
        """Read one row into lines; a total at the end, without a day, is passed over."""
        layout = self.layout
        column, written = _first(row, layout.day)
        if not written:
            if any(_first(row, names)[1] for names in (layout.model, layout.item)):
                self._fail(number, layout.day[0], "there is no day")
            return
        if not _is_about_models(layout, _first(row, layout.service)[1].lower()):
            self.export.passed_over += 1
            return
        day = self._day(number, column, written)
        column, written = _first(row, layout.until)
        if written and self._day(number, column, written) != day:
            self.export.spans = True
        item = _first(row, layout.item)[1]
        model, tokens = self._model_and_tokens(number, row, item)
        keys = tuple(dict.fromkeys(row[n] for n in layout.keys if row.get(n)))
        nanos = self._money(number, row)
        kind = USAGE
        cost_type = _first(row, layout.cost_type)[1].lower()
        if nanos is not None and nanos < 0:
            kind = CREDIT
        elif cost_type in layout.beside_traffic or (not model and item and not tokens):
            kind = OTHER
        if nanos is not None or tokens:
            line = BilledLine(number, day, model, keys, kind, tokens, nanos, item)
            self.export.lines.append(line)
        self._credits(number, row, day, (model, keys))

    def _credits(
        self, number: int, row: Mapping[str, str], day: date, whose: tuple[str, tuple[str, ...]]
    ) -> None:
        """Columns beside the amount in which money is given back become lines of their own."""
        for name in self.layout.credits:
            if not row.get(name):
                continue
            nanos = self._nanos(number, name, row[name])
            if nanos:
                model, keys = whose
                nothing: Mapping[str, int] = MappingProxyType({})
                self.export.lines.append(
                    BilledLine(number, day, model, keys, CREDIT, nothing, nanos, name)
                )

    def _model_and_tokens(
        self, number: int, row: Mapping[str, str], item: str
    ) -> tuple[str, dict[str, int]]:
        layout = self.layout
        model = _first(row, layout.model)[1]
        if layout.is_sku:
            found = sku(item)
            column, amount = _first(row, layout.quantity)
            tokens = self._count(number, column, amount) if amount and found.figure else 0
            return model or found.model, found.tokens(tokens) if found.figure else {}
        totals: dict[str, int] = {}
        for figure, names in layout.tokens.items():
            stated = [name for name in names if row.get(name)]
            if stated:
                totals[figure] = sum(self._count(number, n, row[n]) for n in stated)
        if totals and layout.cached_beside:
            beside = totals.get("cache_read", 0) + totals.get("cache_write", 0)
            totals["input"] = totals.get("input", 0) + beside
        return model or model_of_line_item(item), totals

    def _money(self, number: int, row: Mapping[str, str]) -> Fraction | None:
        column, written = _first(row, self.layout.amount)
        if not written:
            return None
        currency = _first(row, self.layout.currency)[1].lower()
        if currency not in ("", "usd") and not self._foreign:
            self._fail(
                number,
                self.layout.currency[0],
                f"{currency.upper()} is not the ledger's currency; say how many dollars one is",
            )
        return self._nanos(number, column, written)

    def _nanos(self, number: int, column: str, written: str) -> Fraction:
        """An amount in nano-dollars; notes how finely it is stated."""
        amount = self._number(number, column, written)
        if column in self.layout.in_cents:
            amount = amount.scaleb(-2)
        _, digits, exponent = amount.as_tuple()
        if isinstance(exponent, int):
            while exponent < 0 and digits and digits[-1] == 0:  # 0.5000 says no more than 0.5
                digits, exponent = digits[:-1], exponent + 1
            self.export.places = max(self.export.places, -exponent)
        return Fraction(amount) * NANOS_PER_DOLLAR * self._rate

    def _count(self, number: int, column: str, written: str) -> int:
        amount = self._number(number, column, written)
        if amount != amount.to_integral_value() or amount < 0:
            self._fail(number, column, f"{written!r} is not a number of tokens")
        return int(amount)

    def _number(self, number: int, column: str, written: str) -> Decimal:
        text = written.replace(",", "").replace("$", "").replace("\u00a0", "").strip()
        if text.startswith("(") and text.endswith(")"):  # accountants' minus
            text = f"-{text[1:-1]}"
        try:
            amount = Decimal(text)
        except InvalidOperation:
            amount = Decimal("NaN")
        if not amount.is_finite() or len(text) > _MOST_DIGITS or abs(amount.adjusted()) > 30:
            self._fail(number, column, f"{written[:_MOST_DIGITS]!r} is not a number")
        return amount

    def _day(self, number: int, column: str, written: str) -> date:
        """The provider's day that a text, or a number of seconds since 1970, is in."""
        try:
            if written.replace(".", "", 1).isdigit() and float(written) > _UNIX_SECONDS_SINCE:
                moment = datetime.fromtimestamp(float(written), UTC)
            else:
                text = written.removesuffix(" UTC").replace("/", "-")
                moment = datetime.fromisoformat(text)
                if len(text) <= len("2026-11-01") and moment.year in YEARS:
                    return moment.date()
        except (ValueError, OverflowError, OSError):
            moment = datetime.min.replace(tzinfo=UTC)
        if moment.year not in YEARS:
            self._fail(number, column, f"{written[:_MOST_DIGITS]!r} is not a day")
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.astimezone(self.zone).date()

    def _fail(self, number: int, column: str, said: str) -> NoReturn:
        raise ConfigurationError([f"{self.name}: row {number}, column {column}: {said}"])


def _is_about_models(layout: Layout, service: str) -> bool:
    """Whether a service is one that runs models, as far as the export names services."""
    words = layout.only_services
    return not words or not service or any(word in service for word in words)


def _first(row: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, str]:
    """The first of these columns that has something in it, and what."""
    for name in names:
        if row.get(name):
            return name, row[name]
    return (names[0] if names else ""), ""


def _csv_rows(reading: _Reading, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows with their numbers in the file; what stands before the heading is passed over."""
    delimiter = (
        ";" if text.partition("\n")[0].count(";") > text.partition("\n")[0].count(",") else ","
    )
    rows = csv.reader(io.StringIO(text), delimiter=delimiter)
    heading: list[str] = []
    wanted = set(reading.layout.day)
    try:
        for cells in rows:
            if heading:
                named = zip(heading, cells, strict=False)
                yield rows.line_num, {name: cell.strip() for name, cell in named}
            elif wanted & set(names := [plain_name(cell) for cell in cells]):
                heading = names
    except csv.Error as error:
        raise ConfigurationError([f"{reading.name}: row {rows.line_num}: {error}"]) from None
    if not heading:
        known = ", ".join(reading.layout.day)
        said = f"{reading.name}: no row has a column for the day ({known})"
        raise ConfigurationError([said])


def _json_rows(name: str, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a page, of a list of pages or of rows, or of one object a line."""
    try:
        documents = [_loads(text)]
    except ValueError:
        documents = _documents(name, text)
    number = 0
    unfinished = False
    for document in documents:
        for row in document if isinstance(document, list) else [document]:
            if not isinstance(row, dict):
                raise ConfigurationError([f"{name}: item {number + 1} is not an object"])
            if "has_more" in row:
                unfinished = bool(row["has_more"])
            for found in _unpacked(row):
                number += 1
                yield number, found
    if unfinished:
        said = "its last page says has_more: export the pages that follow too"
        raise ConfigurationError([f"{name}: {said}"])


def _documents(name: str, text: str) -> list[object]:
    found: list[object] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                found.append(_loads(line))
            except ValueError as error:
                raise ConfigurationError([f"{name}: line {number}: {error}"]) from None
    return found


_loads: Callable[[str], object] = json.JSONDecoder(parse_float=str, parse_int=str).decode


def _unpacked(row: dict[str, object]) -> Iterator[dict[str, str]]:
    """A page's buckets, a bucket's results with the bucket's times, or the row itself."""
    for name in ("data", "results", "usage"):
        inner = row.get(name)
        if isinstance(inner, list):
            outer = {key: value for key, value in row.items() if not isinstance(value, list)}
            for part in inner:
                if isinstance(part, dict):
                    yield from _unpacked({**outer, **part})
            return
    yield _flat(row)


def _flat(row: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Nested objects by joined names, so amount.value is amount_value; lists are added up."""
    flat: dict[str, str] = {}
    for key, value in row.items():
        name = plain_name(f"{prefix}_{key}" if prefix else key)
        if isinstance(value, dict):
            flat |= _flat(value, name)
        elif isinstance(value, list):
            amounts = [str(part.get("amount") or 0) for part in value if isinstance(part, dict)]
            if amounts:
                flat[f"{name}_amount"] = _sum(amounts)
        elif value is not None:
            flat[name] = str(value)
    return flat


def _sum(amounts: list[str]) -> str:
    """Their sum as text; the first that is no number as it is, for whoever reads the row."""
    total = Decimal(0)
    for amount in amounts:
        try:
            total += Decimal(amount)
        except InvalidOperation:
            return amount
    return str(total)
