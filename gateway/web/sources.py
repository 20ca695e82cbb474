"""What the pages are made from: the books, the rules, and those who look after them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.callers.directory import Directory
from gateway.callers.registry import Registry
from gateway.clock import Clock
from gateway.jobs.routes import Routes
from gateway.ledger.queries import Ledger
from gateway.ledger.spending import Spending
from gateway.metrics import Metrics
from gateway.pipeline.reloading import Source
from gateway.store.database import Database
from gateway.treasury.desk import BudgetDesk
from gateway.treasury.periods import Calendar
from gateway.treasury.raises import RaiseBook


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Made once, in app.py; each page takes what it needs."""

    database: Database
    org: str
    clock: Clock
    ledger: Ledger
    spending: Spending
    """One for all pages: it remembers days for each of them."""
    registry: Registry
    directory: Directory
    raises: RaiseBook
    metrics: Metrics
    live: Callable[[], Routes]
    """The routing rules of this moment."""
    source: Callable[[], Source | None]
    """The files that they are read from; None when they are from none."""

    def calendar(self) -> Calendar:
        """How the organisation counts time."""
        rules = self.live()
        return Calendar(rules.time_zone, rules.week_starts, rules.fiscal_year_starts)

    @property
    def desk(self) -> BudgetDesk:
        """Where to ask how budgets stand, and who sees which."""
        return BudgetDesk(
            database=self.database,
            org=self.org,
            clock=self.clock,
            live=self.live,
            book=self.raises,
            directory=self.directory,
            registry=self.registry,
        )
