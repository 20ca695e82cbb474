"""Forecasts for the pages: made when somebody looks, kept for a while.

A forecast reads two years of hours, which takes longer than a page may. So it is made once for all
visitors and is good for a quarter of an hour; until it is there, pages show a place for it and ask
again. What is spent so far never comes from here: that is read anew for every page.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from gateway.clock import MICROS
from gateway.insight.outlooks import Outlook, look_ahead
from gateway.web.sources import Sources

GOOD_SECONDS = 900
_KEPT = 8
"""Forecasts in memory: four kinds, of two versions of the rules."""


class Foresight:
    """Forecasts of one organisation, by kind; see `insight.outlooks.BY`."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._kept: OrderedDict[tuple[str, str], tuple[int, list[Outlook]]] = OrderedDict()
        self._making = threading.Lock()

    def known(self, by: str) -> list[Outlook] | None:
        """The forecasts, if they were made a moment ago."""
        found = self._kept.get(self._key(by))
        age = None if found is None else self._sources.clock.now() - found[0]
        if found is None or age is None or not 0 <= age < GOOD_SECONDS * MICROS:
            return None
        return found[1]

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

    def _key(self, by: str) -> tuple[str, str]:
        return by, self._sources.live().version
