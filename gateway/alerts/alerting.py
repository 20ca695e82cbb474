"""Alerts of one gateway process: looks, tells and delivers, beside the requests.

Every few seconds it looks at the budgets, the breakers and its own refusals, and delivers what is
due, also what another process told. What is dearer is done by one process for all, at its time:
forecasts once an hour, the audit and the daily digest once a day. Without a destination in
routes.yaml it does nothing but deliver what is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from dataclasses import dataclass

from gateway.alerts.delivering import Deliveries
from gateway.alerts.digests import last_period, read_digest
from gateway.alerts.messages import Projection
from gateway.alerts.outbox import Alert, Delivery
from gateway.alerts.quiet import todays
from gateway.alerts.reports import report
from gateway.alerts.watching import (
    RefusalWatch,
    Refusing,
    Teller,
    of_audit,
    of_breakers,
    of_budgets,
    of_projections,
)
from gateway.clock import Clock, to_datetime
from gateway.jobs.alert_rules import DigestPeriod
from gateway.jobs.routes import Routes
from gateway.ledger.audit import audit
from gateway.ledger.spending import Spending
from gateway.metrics import Metrics
from gateway.store.database import Database, DatabaseConflict, DatabaseDown
from gateway.treasury.periods import HOUR, Calendar
from gateway.treasury.standing import Standing

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""Between two looks; longer where a look takes long (see `_SHARE`)."""
ERRAND_SECONDS = 60.0
"""Between two looks at what is done by the hour or the day."""
_SHARE = 20
"""A look that took a second is followed by a pause of so many."""
_REMEMBERED = 20_000
_PERIODS: tuple[DigestPeriod, ...] = ("day", "week")
_DAY = 24 * HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class Sights:
    """What alerts look at, and cannot know by themselves. Each may block."""

    standings: Callable[[], Sequence[Standing]]
    """How budgets stand now."""
    projections: Callable[[Sequence[Standing]], Iterable[Projection]]
    """Where their periods are expected to end."""
    open_breakers: Callable[[], Collection[str]]
    """Targets that are left alone now, by name."""
    refusing: Callable[[Sequence[Standing]], Refusing]
    """Which of these budgets have refused a request, in this process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What alerts stand on."""

    database: Database
    org: str
    clock: Clock
    live: Callable[[], Routes]
    metrics: Metrics


class Alerting:
    """Looks, tells and delivers. Methods raise DatabaseDown where nothing else is said."""

    def __init__(self, ground: Ground, sights: Sights, deliveries: Deliveries) -> None:
        self._ground, self._sights = ground, sights
        self._deliveries = deliveries
        self.outbox = deliveries.outbox
        self._refusals = RefusalWatch()
        self._told: set[str] = set()
        self._stopping = threading.Event()

    async def run(self, stopping: asyncio.Event) -> None:
        """Go on until it is told to stop; what is being delivered is waited for."""
        looking = asyncio.create_task(self._again(self.turn, LOOK_SECONDS, stopping))
        errands = asyncio.create_task(self._again(self.errands, ERRAND_SECONDS, stopping))
        await stopping.wait()
        self._stopping.set()
        await asyncio.gather(looking, errands)
        await self._deliveries.aclose()

    async def turn(self) -> None:
        """Look once, and deliver what is due."""
        await asyncio.to_thread(self.look)
        while not self._stopping.is_set() and await self._deliveries.deliver():
            pass

    async def errands(self) -> None:
        """Do what is to be done by the hour and by the day, if nobody else has."""
        await asyncio.to_thread(self._run_errands)

    async def test(self, destination: str) -> Delivery:
        """Send a test to a destination now; returns how it went. Raises NotFound."""
        return await self._deliveries.test(destination)

    def now(self) -> int:
        """The moment it is, in microseconds since 1970."""
        return self._ground.clock.now()

    def look(self) -> None:
        """Tell what there is to tell now. Blocks."""
        rules, totals = self._ground.live(), self._ground.metrics.requests.totals.copy()
        teller = Teller(rules, self._ground.clock.now())
        refusals = self._refusals.look(totals, teller)
        if not rules.alerts.destinations:
            return
        standings = self._sights.standings()
        self._tell([[one] for one in refusals], teller)
        self._tell([[one] for one in of_breakers(self._sights.open_breakers(), teller)], teller)
        self._tell(of_budgets(standings, self._sights.refusing(standings), teller), teller)

    def project(self) -> None:
        """Tell of budgets that are expected to be exceeded. Blocks, for as long as forecasts do."""
        teller = Teller(self._ground.live(), self._ground.clock.now())
        if teller.rules.alerts.wanting("projections"):
            standings = self._sights.standings()
            found = of_projections(standings, self._sights.projections(standings), teller)
            self._tell([[one] for one in found], teller)

    def digest(self, period: DigestPeriod) -> None:
        """Tell what was spent in the day or week before this one, unless it is told. Blocks."""
        rules, now = self._ground.live(), self._ground.clock.now()
        wanting = [one for one in rules.alerts.destinations.values() if period in one.digests]
        calendar = Calendar(rules.time_zone, rules.week_starts, rules.fiscal_year_starts)
        asked = last_period(calendar, period, now)
        key = f"digest|{period}|{asked.start}"
        if not wanting or key in self._told or self.outbox.was_told(key):
            return
        spending = Spending(self._ground.database, self._ground.org)
        standings = self._sights.standings()
        found = read_digest(spending, calendar, period, asked, standings)
        if not found.total.entries and not found.before.entries:
            self._remember([key])
            return  # there is nothing to report
        teller = Teller(rules, now)
        letters = teller.letters(
            wanting,
            lambda one: report(
                found, rules.organisation, lambda standing: teller.subject(standing, one)
            ),
        )
        self._tell([[Alert(key, now + 30 * _DAY, letters)]], teller)

    def audit(self) -> None:
        """Audit the books and tell what is found. Blocks, for as long as it takes."""
        teller = Teller(self._ground.live(), self._ground.clock.now())
        try:
            findings, entries = audit(self._ground.database, self._ground.org, progress=self._go_on)
        except InterruptedError:
            return
        self._ground.metrics.audits.inc()
        self._ground.metrics.audit_findings.inc(len(findings))
        if findings:
            log.error("the audit found %d things; run `jobgate audit`", len(findings))
        self._tell([of_audit(findings, entries, self._day(teller), teller)], teller)

    def _run_errands(self) -> None:
        rules, now = self._ground.live(), self._ground.clock.now()
        alerts, zone, day = rules.alerts, rules.time_zone, self._day(Teller(rules, now))
        if not alerts.destinations:
            return
        if alerts.wanting("projections") and self._mine(f"duty|projections|{now // HOUR}", now):
            self.project()
        if now >= todays(now, alerts.digest_at, zone):
            for period in _PERIODS:
                self.digest(period)
        audit_at = todays(now, alerts.audit_at, zone)
        if alerts.wanting("audit") and now >= audit_at and self._mine(f"duty|audit|{day}", now):
            self.audit()
        if self._mine(f"duty|forget|{day}", now):
            self.outbox.forget(now)

    def _mine(self, key: str, now: int) -> bool:
        """Whether this process is the one that does something now."""
        if key in self._told:
            return False
        mine = self.outbox.tell([Alert(key, now + 2 * _DAY)], now)
        self._remember([key])
        return bool(mine)

    def _tell(self, batches: Iterable[Sequence[Alert]], teller: Teller) -> None:
        """Write down what this process has not seen to yet, each batch for itself."""
        for batch in batches:
            keys = [alert.key for alert in batch]
            if not self._told.issuperset(keys):
                for key in self.outbox.tell(batch, teller.now):
                    log.info("told: %s", key.partition("|")[0])
                self._remember(keys)

    def _remember(self, keys: Iterable[str]) -> None:
        if len(self._told) >= _REMEMBERED:
            self._told.clear()  # the database knows them all
        self._told.update(keys)

    def _day(self, teller: Teller) -> str:
        return to_datetime(teller.now).astimezone(teller.rules.time_zone).date().isoformat()

    def _go_on(self, _read: int, _expected: int) -> None:
        if self._stopping.is_set():
            raise InterruptedError

    async def _again(
        self,
        act: Callable[[], Coroutine[None, None, None]],
        seconds: float,
        stopping: asyncio.Event,
    ) -> None:
        reached = True
        while not stopping.is_set():
            began = time.monotonic()
            try:
                await act()
                reached = True
            except (DatabaseDown, DatabaseConflict) as error:
                if reached:
                    log.warning("alerts wait for the database: %s", error)
                reached = False
            except Exception:  # a bug in one alert must not silence all of them
                log.exception("alerts could not be looked at")
            pause = max(seconds, _SHARE * (time.monotonic() - began))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), pause)
