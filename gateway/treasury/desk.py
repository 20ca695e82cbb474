"""Where people ask how budgets stand, and which of them are whose business."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.callers.directory import Directory
from gateway.callers.registry import Registry
from gateway.callers.roles import Principal
from gateway.clock import Clock
from gateway.jobs.routes import Budget, Routes
from gateway.store.database import Database
from gateway.treasury.periods import Calendar
from gateway.treasury.raises import RaiseBook, Raises
from gateway.treasury.standing import Standing, Standings


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetDesk:
    """The books, the rules that are live, and who belongs to which team."""

    database: Database
    org: str
    clock: Clock
    live: Callable[[], Routes]
    book: RaiseBook
    directory: Directory
    registry: Registry

    def budgets(self) -> list[Budget]:
        """Those of routes.yaml, and those that keys have of their own. Blocks."""
        return [*self.live().budgets, *self.registry.own_budgets()]

    def standings(self, only: str = "") -> list[Standing]:
        """How every budget stands now, or the one of a name for all its subjects. Blocks."""
        rules = self.live()
        calendar = Calendar(rules.time_zone, rules.week_starts, rules.fiscal_year_starts)
        found = Standings(self.database, self.org, self.budgets(), calendar)
        return found.at(self.clock.now(), Raises(self.book.all()), only)

    def sees(self, principal: Principal) -> Callable[[str, str], bool]:
        """Whether somebody sees a budget, by its name, for a subject: their team's, or all. Blocks.

        What concerns the organisation, a job or a tag is not any team's.
        """
        if principal.role.team is None:
            return lambda _budget, _subject: True
        kinds: dict[str, str] = {b.name: b.scope.kind for b in self.live().budgets}
        teams = {("app", row["name"]): row["team"] for row in self.directory.apps()}
        teams |= {("key", row["id"]): row["team"] for row in self.registry.all()}

        def seen(budget: str, subject: str) -> bool:
            kind = kinds.get(budget, "key")
            team = subject if kind == "team" else teams.get((kind, subject))
            return bool(team) and principal.reaches(str(team))

        return seen
