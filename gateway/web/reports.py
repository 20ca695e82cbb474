"""Reports: what each team was charged in a month, as a page and as files; closed months; costs as
FOCUS rows; and what a provider's bill is held against.

The books keep no comparison with a bill: what they keep of it are the corrections it led to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gateway.callers.roles import NAME, Permission, authorise
from gateway.errors import BadRequest, ConfigurationError, NotFound
from gateway.ledger.focus import Account, Row, focus_rows
from gateway.ledger.focus_files import csv_texts
from gateway.ledger.months import ClosedMonth, Month, closed_months, parse_month
from gateway.ledger.queries import Range
from gateway.ledger.rendering import to_csv, to_html, to_json
from gateway.ledger.spending import NOTHING, Cube, Total
from gateway.ledger.statements import Statement, Statements
from gateway.metering.usage import CLASSES
from gateway.web.pages import Answer, Download, Html, Page, Visit
from gateway.web.sources import Sources
from gateway.web.spans import span_of

PLACE = "/reports"
_ONE = f"{PLACE}/statement"
_CSV = "text/csv; charset=utf-8"
_FILES: dict[str, tuple[str, Callable[[Statement], str]]] = {
    "html": ("text/html; charset=utf-8", to_html),
    "csv": (_CSV, to_csv),
    "json": ("application/json", to_json),
}
"""What a statement can be taken home as."""


class Reports:
    """What the pages of this room ask."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._spending = sources.spending

    def listed(self, visit: Visit) -> Html:
        """A month by team, with its files, and the months that are closed."""
        span, closed = span_of(visit), self._closed()
        found = next((one for one in closed if one.month == str(span.month)), None)
        own = {} if visit.team is None else {"team": visit.team}
        period = _period(span.month, found, visit)
        cube = self._spending.cube(period, own, names=("team", "target"))
        return Html(
            "reports.html",
            {
                "span": span,
                "closing": found,
                "closed": closed,
                "teams": cube.by("team"),
                "total": cube.total,
                "providers": _by_provider(cube),
                "after": None if span.is_now else span.month.after,
            },
        )

    def shown(self, visit: Visit) -> Html:
        """One statement."""
        found = self._statement(visit)
        used = [name for name in CLASSES if any(row.usage[name] for row in found.charges)]
        return Html("statement_page.html", {"told": found, "classes": used})

    def file(self, visit: Visit, kind: str) -> Download:
        """One statement as a file."""
        found = self._statement(visit)
        media_type, write = _FILES[kind]
        name = f"statement-{found.team}-{found.month}.{kind}"
        return Download(name, media_type, iter([write(found).encode()]))

    def focus(self, visit: Visit) -> Download:
        """The costs of a month as rows of FOCUS; of one team alone for a role that is for one."""
        month = _month(visit)
        rules = self._sources.live()
        account = Account(self._sources.org, rules.organisation, rules.time_zone)
        closed = next((one for one in self._closed() if one.month == str(month)), None)
        period = _period(month, closed, visit)
        rows = _of_team(focus_rows(self._sources.database, period, account), visit.team)
        whose = "" if visit.team is None else f"-{visit.team}"
        parts = (text.encode() for text in csv_texts(rows))
        return Download(f"focus{whose}-{month}.csv", _CSV, parts)

    def _statement(self, visit: Visit) -> Statement:
        """The one that the query names. Raises BadRequest, Forbidden or NotFound."""
        team, month = visit.query.get("team", ""), _month(visit)
        if not NAME.fullmatch(team):
            raise BadRequest("team: say whose statement", param="team")
        authorise(visit.principal, Permission.READ_BOOKS, team)
        rules, sources = self._sources.live(), self._sources
        its_own = (rules.organisation, rules.time_zone, rules.fiscal_year_starts)
        made_by = Statements(sources.database, sources.org, *its_own)
        found = made_by.of(team, month)
        if not found.closing.entries:
            raise NotFound(f"the team {team} has no entries in {month}")
        return found

    def _closed(self) -> list[ClosedMonth]:
        """The closed months, the newest first."""
        database = self._sources.database
        with database.reading() as cursor:
            found = closed_months(cursor, self._sources.org, database.engine_name)
        return found[::-1]


def reports_pages(sources: Sources) -> list[Page]:
    """The pages of this room."""
    reports = Reports(sources)

    def taken_home(kind: str) -> Callable[[Visit], Answer]:
        return lambda visit: reports.file(visit, kind)

    return [
        Page("GET", PLACE, reports.listed),
        Page("GET", _ONE, reports.shown),
        *(Page("GET", f"{_ONE}.{kind}", taken_home(kind)) for kind in _FILES),
        Page("GET", f"{PLACE}/focus.csv", reports.focus),
    ]


def _month(visit: Visit) -> Month:
    """The month that the query names. Raises BadRequest."""
    try:
        return parse_month(visit.query.get("month", ""))
    except ConfigurationError as error:
        raise BadRequest(f"month: {error.problems[0]}", param="month") from None


def _period(month: Month, closed: ClosedMonth | None, visit: Visit) -> Range:
    """A month; one that is closed keeps the bounds that it was closed with."""
    if closed is not None:
        return Range(closed.starts_at, closed.ends_at)
    return Range(*month.bounds(visit.say.zone))


def _by_provider(cube: Cube) -> dict[str, Total]:
    """What is booked for each provider: a target is named provider/model."""
    found: dict[str, Total] = {}
    for target, total in cube.by("target").items():
        provider = target.partition("/")[0]
        found[provider] = found.get(provider, NOTHING) + total
    return dict(sorted(found.items(), key=lambda item: (-item[1].nanos, item[0])))


def _of_team(rows: Iterator[Row], team: str | None) -> Iterator[Row]:
    return rows if team is None else (row for row in rows if row["SubAccountId"] == team)
