"""Books with something in them: charges, lapses, late settlements and corrections of all kinds."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gateway.callers.changes import By
from gateway.clock import FrozenClock, to_micros
from gateway.jobs.routes import Scope
from gateway.ledger.entries import CHARGE_STATED, Entry
from gateway.ledger.focus import Account
from gateway.ledger.months import ClosedMonth, parse_month
from gateway.metering.usage import Usage
from gateway.store.database import Database
from gateway.treasury.adjusting import Adjustments, Correction
from gateway.treasury.budgets import Payer
from gateway.treasury.closing import MonthClosing, StillOpen
from tests.treasury.booking import OPEN_SECONDS, Books, a_budget, charged

BUDGETS = (
    a_budget("month", 10**17),
    a_budget("teams", 10**17, scope=Scope("team")),
    a_budget("year", 10**17, period="year"),
    a_budget("rate", 10**17, period="minute"),
)
BRAND = Payer("brand", "site", "key_1", "extraction", {})
DATA = Payer("data", "bot", "key_2", "narrative", {})


def moment(text: str) -> int:
    """Microseconds of an ISO date and time with its offset."""
    return to_micros(datetime.fromisoformat(text))


class Spending(Books):
    """Books in which things are spent, corrected and closed."""

    def __init__(self, database: Database, zone: str = "Europe/Berlin", **more: Any) -> None:
        clock = FrozenClock("2026-10-15T12:00:00+02:00")
        super().__init__(database, BUDGETS, zone=zone, clock=clock, **more)
        self.adjustments = Adjustments(self.org, database.engine_name, self.calendar)
        self.closing = MonthClosing(self.org, database.engine_name, self.calendar)
        self.account = Account(self.org, "Test & Sons", self.calendar.zone)

    def at(self, text: str) -> Spending:
        """Set the clock."""
        self.clock.micros = moment(text)
        return self

    def calendar_date(self, day: str) -> datetime:
        """Midnight of a day where the organisation is."""
        return datetime.fromisoformat(day).replace(tzinfo=self.calendar.zone)

    def stated(self, nanos: int, payer: Payer = BRAND) -> Entry:
        """A charge that the provider stated."""
        hold = self.hold(nanos, 100, payer)
        usage = Usage(input=60, output=40)
        return self.end(hold, charged(usage, amount_nanos=nanos, reason=CHARGE_STATED))

    def lapsed(self, nanos: int, payer: Payer = BRAND, *, settled: Usage | None = None) -> str:
        """A hold that lapses, and is perhaps settled after all; its id."""
        hold = self.hold(nanos, 50, payer)
        self.clock.move(OPEN_SECONDS + 1)
        self.lapse()
        if settled is not None:
            self.end(hold, charged(settled))
        return hold.id

    def adjust(self, entry: str, nanos: int, reason: str = "a mistake", **more: Any) -> Entry:
        """A correction by hand."""
        said = {"reason": reason, "author": "ann"} | more
        wanted = Correction(corrects=entry, amount_nanos=nanos, **said)
        with self.database.writing() as cursor:
            return self.adjustments.post(
                cursor, [wanted], By("ann", "", "tests"), self.clock.now()
            )[0]

    def close(self, month: str) -> ClosedMonth | StillOpen:
        """Close a month at the clock's time."""
        with self.database.writing() as cursor:
            return self.closing.close(
                cursor, parse_month(month), By("ann", "", "tests"), self.clock.now()
            )

    def spent(self, budget: str) -> list[int]:
        """What the balances of a budget of the organisation say, by their periods."""
        found = {name[3]: sums[0] for name, sums in self.balances().items() if name[0] == budget}
        return [found[start] for start in sorted(found)]

    def sum(self, start: int = 0, end: int = 2**61, **equal: str) -> int:
        """Nano-dollars of the entries of a period: what everything is compared with."""
        more = "".join(f" AND {name} = :{name}" for name in equal)
        found = self.rows(
            "SELECT COALESCE(SUM(amount_nanos), 0) FROM entries"
            f" WHERE org = :org AND admitted_at >= :start AND admitted_at < :end{more}",
            start=start,
            end=end,
            **equal,
        )
        return int(found[0][0])


def something_of_everything(books: Spending) -> None:
    """October with every kind of entry, closed; November with corrections of both months."""
    books.at("2026-10-01T00:00:00+02:00")
    first = books.book(Usage(input=1001, output=7, cache_read=3), BRAND)
    books.at("2026-10-25T02:30:00+02:00").book(Usage(input=11, requests=2), DATA)
    books.at("2026-10-25T02:30:00+01:00").book(Usage(output=13, reasoning=5), DATA)
    books.stated(987_654, DATA)
    books.lapsed(4_321)
    books.lapsed(9_999, settled=Usage(input=21, output=1))
    books.adjust(first.id, -13, "too dear")
    books.adjust(first.id, 4, "=HYPERLINK(<b>no</b>)")
    books.at("2026-10-31T23:59:59+01:00").book(Usage(input=333), BRAND)
    books.at("2026-11-01T00:00:00+01:00").book(Usage(input=777), BRAND)
    books.at("2026-11-03T09:00:00+01:00")
    assert isinstance(books.close("2026-10"), ClosedMonth)
    books.adjust(first.id, -29, "refund")
    books.book(Usage(input=5, output=5), DATA)
