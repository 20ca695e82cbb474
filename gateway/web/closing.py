"""Closing a month: what will be written down is shown first, and then asked for once more."""

from __future__ import annotations

from datetime import date
from typing import Any

from gateway.errors import BadRequest, ConfigurationError
from gateway.ledger.months import Month, month_of, parse_month
from gateway.ledger.queries import Range
from gateway.money import format_dollars
from gateway.treasury.closing import CannotClose, MonthClosing, StillOpen
from gateway.web.pages import Answer, Html, Page, Redirect, Visit, link
from gateway.web.sources import Sources

PLACE = "/reports/closing"


def closing_pages(sources: Sources) -> list[Page]:
    """The question, and the form that it is."""
    spending = sources.spending

    def asked(visit: Visit, month: Month, problem: str = "") -> Html:
        cube = spending.cube(Range(*month.bounds(visit.say.zone)), names=("team", "quality"))
        values: dict[str, Any] = {
            "month": month,
            "first_day": date(month.year, month.number, 1),
            "cube": cube,
            "qualities": cube.by("quality"),
            "is_over": month < month_of(visit.now, visit.say.zone),
            "problem": problem,
        }
        return Html("closing.html", values, 400 if problem else 200)

    def shown(visit: Visit) -> Html:
        return asked(visit, _month(visit.query.get("month", "")))

    def closed(visit: Visit) -> Answer:
        month = _month(visit.form.get("month", ""))
        if visit.form.get("sure") != str(month):
            return asked(visit, month, "Say that it is to be closed for good")
        database = sources.database
        closing = MonthClosing(sources.org, database.engine_name, sources.calendar())
        try:
            with database.writing() as cursor:
                found = closing.close(cursor, month, visit.by, visit.now)
        except CannotClose as refusal:
            return asked(visit, month, str(refusal))
        if isinstance(found, StillOpen):
            return asked(visit, month, f"{found}. Try again then")
        comes_to = format_dollars(found.amount_nanos)
        said = f"{found.month} is closed: {found.entries:,} entries, {comes_to} USD."
        return Redirect(link("/reports", month=found.month), said)

    return [Page("GET", PLACE, shown), Page("POST", PLACE, closed)]


def _month(text: str) -> Month:
    try:
        return parse_month(text)
    except ConfigurationError as error:
        raise BadRequest(f"month: {error.problems[0]}", param="month") from None
