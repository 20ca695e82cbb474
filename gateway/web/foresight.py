"""Forecasts for the pages: made when somebody looks, kept for a while.

A forecast reads two years of hours, which takes longer than a page may. So it is made once for all
visitors and is good for a quarter of an hour; until it is there, pages show a place for it and ask
again. Budgets can be thousands: only those that somebody looks at are foretold. What is spent so
far never comes from here: that is read anew for every page.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence

from gateway.clock import MICROS
from gateway.insight.outlooks import Outlook, Outlooks, look_ahead
from gateway.treasury.standing import Standing
from gateway.web.sources import Sources

GOOD_SECONDS = 900
_KEPT = 8
"""Forecasts in memory: three kinds, of two versions of the rules and more."""
_BUDGETS_KEPT = 2_000


class Foresight:
    """Forecasts of one organisation: of a kind (organisation, team, job), and of budgets."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._kept: OrderedDict[tuple[str, str], tuple[int, list[Outlook]]] = OrderedDict()
        self._budgets: OrderedDict[Hashable, tuple[int, Outlook | None]] = OrderedDict()
        self._making = threading.Lock()

    def known(self, by: str) -> list[Outlook] | None:
        """The forecasts, if they were made a moment ago."""
        found = self._kept.get(self._key(by))
        return found[1] if found is not None and self._is_good(found[0]) else None

    def made(self, by: str) -> list[Outlook]:
        """The forecasts, made now if need be. Blocks, and raises DatabaseDown."""
        with self._making:
            found = self.known(by)
            if found is None:
                sources, now = self._sources, self._sources.clock.now()
                found = look_ahead(by, sources.database, sources.org, sources.live(), now)
                self._kept[self._key(by)] = (now, found)
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            return found

    def known_of(self, standings: Sequence[Standing]) -> dict[tuple[str, str], Outlook] | None:
        """The forecasts of these budgets, by name and subject, if all were made a moment ago; some
        budgets have none."""
        found = [self._budgets.get(self._of(standing)) for standing in standings]
        if not all(one is not None and self._is_good(one[0]) for one in found):
            return None
        outlooks = [one[1] for one in found if one is not None]
        return {(one.name, one.subject): one for one in outlooks if one is not None}

    def made_of(self, standings: Sequence[Standing]) -> dict[tuple[str, str], Outlook]:
        """The same, made now where need be. Blocks, and raises DatabaseDown."""
        with self._making:
            missing = [one for one in standings if self.known_of([one]) is None]
            sources, now = self._sources, self._sources.clock.now()
            outlooks = Outlooks(sources.database, sources.org, sources.calendar())
            scopes = {budget.name: budget.scope for budget in sources.live().budgets}
            made = outlooks.budgets(missing, scopes, now) if missing else []
            by_name = {(one.name, one.subject): one for one in made}
            for one in missing:
                self._budgets[self._of(one)] = (now, by_name.get((one.budget, one.subject)))
            while len(self._budgets) > _BUDGETS_KEPT:
                self._budgets.popitem(last=False)
            return self.known_of(standings) or {}

    def _of(self, standing: Standing) -> Hashable:
        """A raised limit, and other rules, want another forecast."""
        name = standing.budget, standing.subject, standing.limit
        return self._sources.live().version, name, standing.ends_at

    def _is_good(self, made_at: int) -> bool:
        return 0 <= self._sources.clock.now() - made_at < GOOD_SECONDS * MICROS

    def _key(self, by: str) -> tuple[str, str]:
        return by, self._sources.live().version
