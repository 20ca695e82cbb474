"""What a visitor looks for among the entries: read from the address, and written into links.

An address such as /requests?team=brand&month=2026-11 stands for a selection. Every figure on a
page links to the selection of the entries behind it, so what it reads and what it writes is here
in one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from gateway.callers.roles import Permission, authorise
from gateway.clock import midnight
from gateway.errors import BadRequest, ConfigurationError
from gateway.ledger.months import month_of, parse_month
from gateway.ledger.queries import Range
from gateway.ledger.searching import FILTERS, Selection
from gateway.web.pages import Visit, link

PLACE = "/requests"


@dataclass(frozen=True, slots=True)
class Asked:
    """A selection, and the words of the address that it was read from."""

    selection: Selection
    words: Mapping[str, str]
    """Of the query, for the form and for links to the same."""

    def link(self, path: str = PLACE, **more: object) -> str:
        """The same selection, with other words besides."""
        return link(path, **{**self.words, **more})


def asked(visit: Visit) -> Asked:
    """What the query asks for. Raises BadRequest, and Forbidden for another team than one's own."""
    words = {name: value for name, value in visit.query.items() if name in _WORDS}
    equal = {name: words[name] for name in FILTERS if name in words}
    if "none" in words:
        if words["none"] not in FILTERS:
            raise BadRequest("none: name something that entries have", param="none")
        equal[words["none"]] = ""
    if visit.team is not None:
        authorise(visit.principal, Permission.READ_BOOKS, equal.get("team", visit.team))
        equal["team"] = visit.team
    tags = {}
    if "tag" in words:
        name, sign, value = words["tag"].partition("=")
        if not sign or not name.strip():
            raise BadRequest("tag: write it as run=nightly-7", param="tag")
        tags[name.strip()] = value.strip()
    return Asked(Selection(_period(visit, words), equal, tags), words)


def behind(name: str, value: str, **more: object) -> str:
    """A link to the entries where a column has a value, which may be empty."""
    return link(PLACE, **({name: value} if value else {"none": name}), **more)


_TIMES = ("month", "from", "to")
_WORDS = frozenset((*FILTERS, *_TIMES, "tag", "none"))


def _period(visit: Visit, words: Mapping[str, str]) -> Range:
    zone = visit.say.zone
    if "from" in words or "to" in words:
        today = visit.say.local(visit.now).date()
        first = _day(words, "from") or (_day(words, "to") or today).replace(day=1)
        last = _day(words, "to") or today
        if last < first:
            raise BadRequest("to: it is before from", param="to")
        return Range(midnight(first, zone), midnight(last + timedelta(days=1), zone))
    try:
        month = parse_month(words["month"]) if "month" in words else month_of(visit.now, zone)
    except ConfigurationError as error:
        raise BadRequest(error.problems[0], param="month") from None
    return Range(*month.bounds(zone))


def _day(words: Mapping[str, str], name: str) -> date | None:
    if name not in words:
        return None
    try:
        found = date.fromisoformat(words[name])
    except ValueError:
        raise BadRequest(f"{name}: write a day such as 2026-11-02", param=name) from None
    if not 1971 <= found.year <= 9990:
        raise BadRequest(f"{name}: nothing was spent then", param=name)
    return found


def shown_filters(asked_for: Asked) -> list[tuple[str, str]]:
    """The filters in force as people read them: name and value."""
    found = [(name, value or "(none)") for name, value in asked_for.selection.equal.items()]
    return found + [(f"tag {name}", value) for name, value in asked_for.selection.tags.items()]


def row_total(rows: list[dict[str, Any]]) -> int:
    """Nano-dollars of these entries together."""
    return sum(int(row["amount_nanos"]) for row in rows)
