"""What runs beside the requests, and what it has to be told from the rooms above it.

`Freshness` notices within a second what others change: keys, and raises of budgets. `sights` is
what alerts look at: forecasts, breakers and refusals, which are upstairs from where they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Sequence

from gateway.alerts.alerting import Ground, Sights
from gateway.alerts.messages import Projection
from gateway.alerts.watching import Refusing
from gateway.callers.callers import REFRESH_SECONDS, KeyRing
from gateway.doors.refusals import Refusals
from gateway.errors import BudgetExhausted
from gateway.insight.outlooks import Outlooks
from gateway.pipeline.live import Live
from gateway.store.database import Database, DatabaseDown
from gateway.treasury.periods import Calendar
from gateway.treasury.raises import RaiseBook
from gateway.treasury.standing import Standing

log = logging.getLogger(__name__)


class Freshness:
    """Keeps what is in memory of keys and raises as it is in the database."""

    def __init__(self, database: Database, keys: KeyRing, raises: RaiseBook) -> None:
        self._database, self._keys, self._raises = database, keys, raises
        self._one_at_a_time = threading.Lock()

    def refresh(self) -> None:
        """Read what has changed. Blocks. Raises DatabaseDown.

        One thread at a time, or a reading that began earlier could replace what a later one found.
        """
        with self._one_at_a_time, self._database.reading() as cursor:
            self._keys.refresh_in(cursor)
            self._raises.refresh_in(cursor)

    async def run(self, stopping: asyncio.Event) -> None:
        """Go on until it is told to stop; without a database all stays as it is."""
        reached = True
        while not stopping.is_set():
            try:
                await asyncio.to_thread(self.refresh)
                reached = True
            except DatabaseDown as error:
                if reached:
                    log.warning("keys and raises in memory stay as they are: %s", error)
                reached = False
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), REFRESH_SECONDS)


def sights(
    ground: Ground,
    calendar: Calendar,
    standings: Callable[[], Sequence[Standing]],
    live: Live,
    refusals: Refusals,
) -> Sights:
    """What alerts look at; each may be asked from a thread."""

    def projections(found: Sequence[Standing]) -> Iterable[Projection]:
        rules = ground.live()
        asked = [one for one in found if rules.alerts.of_budget(one.budget).projected]
        scopes = {budget.name: budget.scope for budget in rules.budgets}
        outlooks = Outlooks(ground.database, ground.org, calendar)
        for outlook in outlooks.budgets(asked, scopes, ground.clock.now()):
            forecast = outlook.forecast
            day = forecast.exhaustion.expected if forecast.exhaustion else None
            yield Projection(
                budget=outlook.name,
                subject=outlook.subject,
                p10=forecast.p10,
                p50=forecast.p50,
                p90=forecast.p90,
                enough=forecast.basis == "enough",
                note=forecast.note,
                exhausted="" if day is None else day.isoformat(),
            )

    def open_breakers() -> list[str]:
        return [name for name, one in live.now.parts.breakers.items() if one.shut]

    def refusing(found: Sequence[Standing]) -> Refusing:
        return _refusing(found, refusals, calendar, ground.clock.now())

    return Sights(
        standings=standings,
        projections=projections,
        open_breakers=open_breakers,
        refusing=refusing,
    )


def _refusing(
    standings: Sequence[Standing], refusals: Refusals, calendar: Calendar, now: int
) -> Refusing:
    """Budgets that had no room for a request of ordinary size in their period of now."""
    last: dict[tuple[str, str], int] = {}
    for refusal in refusals.all():
        told = refusal.details
        if refusal.code == BudgetExhausted.code and told.get("wanted", 0) <= told.get("limit", -1):
            last[told["budget"], told["subject"]] = refusal.at
    return {
        (one.budget, one.subject)
        for one in standings
        if last.get((one.budget, one.subject), -1) >= calendar.bounds(one.period, now)[0]
    }
