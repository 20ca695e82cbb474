"""The list of budgets: the nearest to their limits first, as many as a page may have, and the
forecasts of those alone. Those without an end, such as of runs that are over, and those of minutes
and hours, which pass by themselves, come after the others.

A budget for each team, app or run is many, and so are keys with budgets of their own. They stand
together, the fullest of them, and the others are a link away. A list that was asked for by a name
or by some words is shown whole, page by page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.errors import BadRequest
from gateway.insight.outlooks import Outlook
from gateway.treasury.periods import SHORT_PERIODS
from gateway.treasury.standing import Standing
from gateway.web.foresight import Foresight
from gateway.web.pages import Html, Page, Visit, link
from gateway.web.sources import Sources

PLACE = "/budgets"
ONE = f"{PLACE}/one"
LINES_AT_MOST = 100
"""Lines of a page."""
_SUBJECTS = 8
"""Lines of one budget, such as that of each run, beside others: the fullest."""
_OF_KEYS = "keys"
"""What keys' own budgets are asked for by: `own=keys`."""


@dataclass(frozen=True, slots=True)
class Line:
    """One budget in the list."""

    standing: Standing
    outlook: Outlook | None

    @property
    def place(self) -> str:
        """Where its own page is."""
        return budget_link(self.standing.budget, self.standing.subject)

    @property
    def used(self) -> int:
        """What is spent of the limit, in millionths."""
        return self.standing.spent * 1_000_000 // max(1, self.standing.limit)

    @property
    def state(self) -> str:
        """In a word: over, full, tight, or nothing to say."""
        standing = self.standing
        if standing.spent > standing.limit:
            return "over"
        if standing.left <= 0:
            return "full"
        return "tight" if standing.spent * 5 >= standing.limit * 4 else ""


@dataclass(frozen=True, slots=True)
class Group:
    """Lines of one budget, or of keys' own ones."""

    lines: Sequence[Line]
    more: int = 0
    """How many are not shown; they have used less."""
    name: str = ""
    """What the others are of, in words."""
    place: str = ""
    """Where all of them are."""


def budget_link(name: str, subject: str) -> str:
    """Where a budget's own page is."""
    return link(ONE, name=name, subject=subject)


def seen_by(visit: Visit, sources: Sources, only: str = "") -> list[Standing]:
    """The budgets that are the visitor's business, or the one of a name for all its subjects."""
    seen = sources.desk.sees(visit.principal)
    standings = sources.desk.standings(only)
    return [standing for standing in standings if seen(standing.budget, standing.subject)]


def budget_lists(sources: Sources, foresight: Foresight) -> list[Page]:
    """The page, and the same table again when the forecasts are there."""

    def listed(visit: Visit) -> Html:
        return Html("budgets.html", _table(visit, sources, foresight, made=False))

    def ahead(visit: Visit) -> Html:
        return Html("budget_lines.html", _table(visit, sources, foresight, made=True))

    return [Page("GET", PLACE, listed), Page("GET", "/parts/budgets", ahead)]


def _table(visit: Visit, sources: Sources, foresight: Foresight, *, made: bool) -> dict[str, Any]:
    asked = {name: visit.query[name] for name in ("name", "own", "find") if name in visit.query}
    every = seen_by(visit, sources, asked.get("name", ""))
    lines = [Line(standing, None) for standing in every if _is_asked(standing, asked)]
    lines.sort(key=_place)
    pages = _pages(_groups(lines, whole=bool(asked)))
    number = _number(visit, len(pages))
    groups = pages[number - 1]
    shown = [line.standing for group in groups for line in group.lines]
    known = foresight.made_of(shown) if made else foresight.known_of(shown)
    return {
        "groups": [_foretold(group, known or {}) for group in groups],
        "known": known is not None,
        "asked": asked,
        "count": len(lines),
        "is_long": bool(asked) or len(lines) > len(shown),
        "number": number,
        "pages": len(pages),
    }


def _place(line: Line) -> tuple[int, int, str, str]:
    standing = line.standing
    rank = 1 if standing.period == "forever" else 2 if standing.period in SHORT_PERIODS else 0
    return rank, -line.used, standing.budget, standing.subject


def _is_asked(standing: Standing, asked: Mapping[str, str]) -> bool:
    if asked.get("own") and not _is_of_a_key(standing):
        return False
    words = f"{standing.budget} {standing.subject} {standing.scope}".casefold()
    return asked.get("find", "").casefold() in words


def _is_of_a_key(standing: Standing) -> bool:
    """Whether it is a key's own: no name in routes.yaml has a space."""
    return standing.budget.startswith("key ")


def _groups(lines: Iterable[Line], *, whole: bool) -> list[Group]:
    """The lines in their order, those of one budget together; `whole` leaves none out."""
    if whole:
        return [Group([line]) for line in lines]
    found: dict[str, list[Line]] = {}
    for line in lines:
        own = _is_of_a_key(line.standing)
        found.setdefault("" if own else line.standing.budget, []).append(line)
    return [
        Group(
            together[:_SUBJECTS],
            len(together[_SUBJECTS:]),
            name or "the keys' own budgets",
            link(PLACE, name=name) if name else link(PLACE, own=_OF_KEYS),
        )
        for name, together in found.items()
    ]


def _pages(groups: Iterable[Group]) -> list[list[Group]]:
    """As many groups together as a page may have lines; one page at the least."""
    pages: list[list[Group]] = [[]]
    room = LINES_AT_MOST
    for group in groups:
        if len(group.lines) > room:
            pages.append([])
            room = LINES_AT_MOST
        pages[-1].append(group)
        room -= len(group.lines)
    return pages


def _number(visit: Visit, pages: int) -> int:
    """Which page is asked for; the last one for what is beyond. Raises BadRequest."""
    asked = visit.query.get("page", "1")
    if not (asked.isascii() and asked.isdecimal() and len(asked) <= 9):
        raise BadRequest("page: write its number", param="page")
    return min(max(1, int(asked)), pages)


def _foretold(group: Group, known: Mapping[tuple[str, str], Outlook]) -> Group:
    lines = [
        Line(line.standing, known.get((line.standing.budget, line.standing.subject)))
        for line in group.lines
    ]
    return Group(lines, group.more, group.name, group.place)
