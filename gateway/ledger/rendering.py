"""Statements as people and programs read them: JSON, CSV, and a page that prints well; and what
was spent as CSV.

All say the same, to the nano. The page needs nothing but itself: no script, no font and no
picture from elsewhere; every name in it is escaped.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, StrictUndefined

from gateway.clock import to_datetime, to_text
from gateway.ledger.statements import BudgetLine, Statement, Sums
from gateway.metering.usage import CLASSES
from gateway.money import format_dollars

CSV_COLUMNS = (
    *("section", "job", "target", "quality", "entry", "corrects", "month", "reason", "author"),
    *("entries", "request_count", *CLASSES, "tokens", "amount_nanos", "amount_usd"),
    *("budget", "subject", "unit", "period", "limit", "carried", "raised", "before", "after"),
)
_SUMS_OF_SPENDING = (
    *("entries", "request_count", *CLASSES),
    *("tokens", "amount_nanos", "amount_usd"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def inert(value: object) -> object:
    """Text that a spreadsheet would take for a formula gets a quote in front; numbers do not."""
    if isinstance(value, str) and value.startswith(_FORMULA) and not _NUMBER.fullmatch(value):
        return "'" + value
    return value


def to_json(statement: Statement) -> str:
    """The whole statement as one JSON object; money in nano-dollars and, as text, in dollars."""
    told = asdict(statement)
    told |= {"starts_at": to_text(statement.starts_at), "ends_at": to_text(statement.ends_at)}
    if statement.closed is not None:
        told["closed"] = {
            "at": to_text(statement.closed.closed_at),
            "author": statement.closed.author,
        }
    for name in ("charges", "adjustments", "qualities"):
        told[name] = [_flat(row) for row in told[name]]
    for name in ("charged", "adjusted", "closing"):
        told[name] = _money(asdict(getattr(statement, name)))
    told["opening"] = _money({"nanos": told.pop("opening_nanos")})
    told["to_date"] = _money({"nanos": statement.to_date_nanos})
    return json.dumps(told, ensure_ascii=False, indent=2)


def to_csv(statement: Statement) -> str:
    """A row for each line of the statement; `section` says which part it belongs to.

    The charges and the adjustments add up to the closing row, and with the opening row, which is
    the fiscal year since the month that it names, to the row "to date".
    """
    file = io.StringIO()
    writer = csv.DictWriter(file, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for row in _csv_rows(statement):
        writer.writerow({name: inert(value) for name, value in row.items()})
    return file.getvalue()


def spend_csv(by: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """What was spent, a row for each combination of the dimensions."""
    file = io.StringIO()
    writer = csv.DictWriter(file, (*by, *_SUMS_OF_SPENDING), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        told = {**row, "amount_usd": format_dollars(row["amount_nanos"])}
        writer.writerow({name: inert(value) for name, value in told.items()})
    return file.getvalue()


def to_html(statement: Statement) -> str:
    """A page of its own."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"usd": _usd, "count": _count}
    source = (files("gateway.ledger") / "statement.html").read_text("utf-8")
    zone = ZoneInfo(statement.zone)
    return environment.from_string(source).render(
        statement=statement,
        classes=_classes_used(statement),
        amount=_amount,
        first=_moment(statement.starts_at, zone),
        last=_moment(statement.ends_at - 1, zone),
        closed_at=_moment(statement.closed.closed_at, zone) if statement.closed else None,
    )


def _csv_rows(statement: Statement) -> Iterator[dict[str, Any]]:
    names = ("budget", "subject", "unit", "period", "limit", "carried", "raised", "before")
    yield {"section": "opening", "month": statement.since, **_dollars(statement.opening_nanos)}
    for budget in statement.budgets:
        yield {"section": "opening budget", **{name: getattr(budget, name) for name in names}}
    for charge in statement.charges:
        told = {"section": "charge", "job": charge.job, "target": charge.target}
        yield {**told, **charge.usage, **_summed(charge.sums)}
    for adjustment in statement.adjustments:
        told = {name: value for name, value in asdict(adjustment).items() if name != "sums"}
        yield {"section": "adjustment", **told, **_summed(adjustment.sums)}
    for quality in statement.qualities:
        told = {"section": "quality", "quality": quality.quality}
        yield {**told, **_summed(quality.sums)}
    yield {"section": "closing", **_summed(statement.closing)}
    yield {"section": "to date", "month": statement.since, **_dollars(statement.to_date_nanos)}
    for budget in statement.budgets:
        row = {name: getattr(budget, name) for name in (*names, "after")}
        yield {"section": "closing budget", **row}


def _summed(sums: Sums) -> dict[str, Any]:
    return {
        "entries": sums.entries,
        "request_count": sums.requests,
        "tokens": sums.tokens,
        **_dollars(sums.nanos),
    }


def _dollars(nanos: int) -> dict[str, Any]:
    return {"amount_nanos": nanos, "amount_usd": format_dollars(nanos)}


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "sums"} | _money(row["sums"])


def _money(sums: dict[str, Any]) -> dict[str, Any]:
    nanos = sums["nanos"]
    rest = {name: value for name, value in sums.items() if name != "nanos"}
    return rest | _dollars(nanos)


def _classes_used(statement: Statement) -> list[str]:
    """The classes that have a column: those that anything was used of."""
    return [name for name in CLASSES if any(row.usage[name] for row in statement.charges)]


def _amount(budget: BudgetLine, value: int) -> str:
    return f"${_usd(value)}" if budget.unit == "usd" else f"{value:,} {budget.unit}"


def _usd(nanos: int) -> str:
    """Dollars to the nano, with thousands set apart."""
    text = format_dollars(abs(nanos))
    whole, _, places = text.partition(".")
    sign = "\N{MINUS SIGN}" if nanos < 0 else ""
    return f"{sign}{int(whole):,}.{places}"


def _count(number: int) -> str:
    return f"{number:,}".replace("-", "\N{MINUS SIGN}")


def _moment(micros: int, zone: ZoneInfo) -> str:
    local: datetime = to_datetime(micros).astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M}"
