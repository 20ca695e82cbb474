"""Entries: looked for by anything, page by page, as CSV, and the decision of one request."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gateway.callers.roles import Principal
from gateway.clock import to_text
from gateway.errors import BadRequest, NotFound
from gateway.ledger.entries import HOUR
from gateway.ledger.queries import Range
from gateway.ledger.rendering import inert
from gateway.ledger.searching import PAGE, Found, Place, Search
from gateway.metering.usage import TOKEN_CLASSES
from gateway.money import format_dollars
from gateway.web.pages import Download, Html, Page, Redirect, Visit
from gateway.web.selections import Asked, asked, row_total, shown_filters
from gateway.web.sources import Sources

Why = Callable[[Principal, str], dict[str, Any]]
"""Finds the decision of a request, by its id, as far as somebody may see it. Raises NotFound."""

CSV_COLUMNS = (
    *("admitted_at", "request_id", "attempt", "id", "kind", "outcome", "quality"),
    *("key_id", "team", "app", "job", "target", "provider", "model", "model_served", "stage"),
    *("tags", *TOKEN_CLASSES, "requests", "tokens", "request_count"),
    *("amount_nanos", "amount_usd", "corrects", "reason", "author"),
)
_CHOOSE_FROM = 31 * 24 * HOUR
_CHOICES = ("team", "app", "job", "target", "stage", "quality")


def requests_pages(sources: Sources, why: Why) -> list[Page]:
    """The pages of this room."""
    search = Search(sources.database, sources.org)
    spending = sources.spending

    def listed(visit: Visit) -> Html | Redirect:
        if "request" in visit.query:
            return Redirect(f"/requests/{_one_step(visit.query['request'])}")
        wanted = asked(visit)
        found = search.page(wanted.selection, _place(visit))
        selection = wanted.selection
        cube = spending.cube(_lately(selection.period, visit.now), _own(visit))
        return Html(
            "requests.html",
            {
                "asked": wanted,
                "found": found,
                "on_page": row_total(found.rows),
                "total": spending.total(selection.period, selection.rolled)
                if selection.is_rolled
                else None,
                "choices": {name: [v for v in cube.by(name) if v] for name in _CHOICES},
                "filters": shown_filters(wanted),
                "older": _older(wanted, found),
                "is_first": "after" not in visit.query,
                "is_new": not found.rows and spending.is_empty(),
                "size": PAGE,
            },
        )

    def exported(visit: Visit) -> Download:
        wanted = asked(visit)
        parts = _csv(search.all(wanted.selection))
        return Download("jobgate-entries.csv", "text/csv; charset=utf-8", parts)

    def decision(visit: Visit) -> Html:
        told = why(visit.principal, visit.path["request_id"])
        return Html("decision.html", {"told": told, "classes": TOKEN_CLASSES})

    return [
        Page("GET", "/requests", listed),
        Page("GET", "/requests.csv", exported),
        Page("GET", "/requests/{request_id}", decision),
    ]


def _own(visit: Visit) -> dict[str, str]:
    return {} if visit.team is None else {"team": visit.team}


def _lately(period: Range, now: int) -> Range:
    """The last month of a period: where names to choose from are looked for."""
    end = min(period.end, (now // HOUR + 1) * HOUR)
    return Range(max(period.start, end - _CHOOSE_FROM), end)


def _place(visit: Visit) -> Place | None:
    if "after" not in visit.query:
        return None
    try:
        return Place.parse(visit.query["after"])
    except ValueError:
        raise BadRequest("after: that is no place in the list", param="after") from None


def _older(wanted: Asked, found: Found) -> str | None:
    return None if found.next is None else wanted.link(after=str(found.next))


def _one_step(request_id: str) -> str:
    """A request's id as a part of a path."""
    if not all(letter.isalnum() or letter in "-_" for letter in request_id):
        raise NotFound("that is no request's id")
    return request_id


def _csv(pages: Iterator[list[dict[str, Any]]]) -> Iterator[bytes]:
    """Entries as CSV; what a spreadsheet would take for a formula is made inert."""
    file = io.StringIO()
    writer = csv.DictWriter(file, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for rows in pages:
        for row in rows:
            writer.writerow({name: inert(value) for name, value in _told(row).items()})
        yield file.getvalue().encode()
        file.seek(0)
        file.truncate()


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    admitted = to_text(row["admitted_at"])
    return {**row, "admitted_at": admitted, "amount_usd": format_dollars(row["amount_nanos"])}
