"""Small books: holds and entries made by the treasury's own groups, without a gateway around.

Amounts are small on purpose: a token of input costs one and a half nano-dollars, so half of all
amounts have to be rounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, cast
from zoneinfo import ZoneInfo

from msgspec.structs import asdict, replace

from gateway.clock import MICROS, FrozenClock
from gateway.jobs.routes import Budget, Scope
from gateway.ledger.entries import RELEASE, REPORTED, Draft, Ending, Entry
from gateway.ledger.queries import Ledger
from gateway.metering.usage import CLASSES, NOTHING, Usage
from gateway.money import TOKENS_PER_PRICE, round_half_even
from gateway.prices.rates import NO_COST, Rates
from gateway.store.database import Cursor, Database
from gateway.store.schema import migrate
from gateway.treasury.budgets import Amounts, Payer, in_scope, lines
from gateway.treasury.decisions import Shortage
from gateway.treasury.groups import Admission, Closing, Group, Result
from gateway.treasury.holds import Hold
from gateway.treasury.periods import Calendar

RATES: Rates = replace(NO_COST, input=1_500_000, output=3_333_333, cache_read=1)
BRAND = Payer("brand", "site", "key_1", "extraction", {})
ANY_TIME = 0.0
"""The moment on the waiting clock at which groups run; one who waits until 1 is patient."""
OPEN_SECONDS = 600


def a_budget(name: str = "cap", limit: int = 1_000, **changes: Any) -> Budget:
    """A hard monthly budget of the organisation in nano-dollars, but for the changes."""
    fields: dict[str, Any] = {
        "scope": Scope("organisation"),
        "unit": "usd",
        "period": "month",
        "hard": True,
        "contact": "",
    }
    return Budget(name=name, limit=limit, **fields | changes)


def cost(usage: Usage, rates: Rates = RATES) -> int:
    """Nano-dollars of a usage."""
    exact = sum(getattr(usage, name) * getattr(rates, name) for name in CLASSES)
    return round_half_even(exact, TOKENS_PER_PRICE)


def charged(usage: Usage = NOTHING, **more: Any) -> Ending:
    """An attempt that was answered, and its usage reported."""
    fields: dict[str, Any] = {"outcome": "ok", "quality": REPORTED, "model_served": "served"}
    fields |= {"usage": usage, "tokens": usage.total, "amount_nanos": cost(usage)}
    return Ending(**fields | more)


RELEASED = Ending(kind=RELEASE, outcome="caller_left", quality=REPORTED, reason="nobody waited")


class Books:
    """The books of one organisation, and one process that writes them."""

    def __init__(
        self,
        database: Database,
        budgets: Sequence[Budget] = (),
        *,
        org: str = "main",
        instance: str = "first",
        zone: str = "UTC",
        clock: FrozenClock | None = None,
    ) -> None:
        self.database, self.org, self.budgets = database, org, tuple(budgets)
        self.clock = clock or FrozenClock()
        self.calendar = Calendar(ZoneInfo(zone))
        self.group = Group(org, database.engine_name, instance, self.calendar)
        self.ledger = Ledger(database, org)
        self._ids = count(1)

    def request(
        self, ceiling: Amounts, payer: Payer = BRAND, *, waits: bool = True, **draft: Any
    ) -> Admission:
        """A request that asks for room; `draft` are changes to what is known of its entry."""
        request_id = draft.pop("request_id", None) or f"req_{self.org}{next(self._ids):04}"
        scoped = in_scope(self.budgets, payer)
        return Admission(
            id=f"{request_id}.1",
            draft=a_draft(request_id, payer, draft),
            lines=lambda at: lines(scoped, ceiling, self.calendar, at),
            ceiling_nanos=ceiling.nanos,
            ceiling_tokens=ceiling.tokens,
            request_count=ceiling.requests,
            open_micros=OPEN_SECONDS * MICROS,
            wait_until=ANY_TIME + 1 if waits else ANY_TIME,
            future=cast(Any, None),
        )

    def turn(
        self, admissions: Sequence[Admission] = (), closings: Sequence[Closing] = ()
    ) -> Result:
        """One group, committed."""
        with committing(self.database) as cursor:
            return self.group.run(cursor, admissions, closings, self.clock.now(), ANY_TIME)

    def admit(
        self, nanos: int = 0, tokens: int = 0, payer: Payer = BRAND, **draft: Any
    ) -> Hold | Shortage:
        """One request with this ceiling; what it is told."""
        request = self.request(Amounts(nanos, tokens, 1), payer, **draft)
        return self.turn([request]).answers[0][1]

    def hold(self, nanos: int = 0, tokens: int = 0, payer: Payer = BRAND, **draft: Any) -> Hold:
        """The hold of a request that has to fit."""
        answer = self.admit(nanos, tokens, payer, **draft)
        assert isinstance(answer, Hold)
        return answer

    def end(self, hold: Hold, ending: Ending) -> Entry:
        """The entry of a hold's ending."""
        return self.turn(closings=[Closing(hold, ending)]).entries[0]

    def book(self, usage: Usage, payer: Payer = BRAND, **draft: Any) -> Entry:
        """A request from its hold to its entry, with room to spare."""
        hold = self.hold(2 * cost(usage), 2 * usage.total, payer, **draft)
        return self.end(hold, charged(usage))

    def lapse(self) -> list[Entry]:
        """Let holds lapse whose time is over."""
        with committing(self.database) as cursor:
            return self.group.lapse(cursor, self.clock.now())

    def lapse_foreign(self) -> list[Entry]:
        """Let holds lapse that another process left."""
        with committing(self.database) as cursor:
            return self.group.lapse_foreign(cursor, self.clock.now())

    def rows(self, sql: str, **values: object) -> list[tuple[Any, ...]]:
        """Rows of a query; `:org` is the organisation."""
        return rows(self.database, sql, org=self.org, **values)

    def balances(self) -> dict[tuple[str, str, str, int], tuple[int, int, int]]:
        """Spent, held and overrun by budget, subject, unit and start."""
        found = self.rows(
            "SELECT budget, subject, unit, starts_at, spent, held, overrun"
            " FROM balances WHERE org = :org"
        )
        return {tuple(row[:4]): tuple(row[4:]) for row in found}

    def rebuilt(self) -> dict[int, list[int]]:
        """Spent and held of each balance by its number, from nothing but entries and holds."""
        units = dict(self.rows("SELECT id, unit FROM balances WHERE org = :org"))
        sums = {number: [0, 0] for number in units}
        for place, table, amounts in (
            (0, "entries", "amount_nanos, tokens, request_count"),
            (1, "holds", "ceiling_nanos, ceiling_tokens, request_count"),
        ):
            for listed, *found in self.rows(
                f"SELECT balances, {amounts} FROM {table} WHERE org = :org"
            ):
                by_unit = dict(zip(("usd", "tokens", "requests"), found, strict=True))
                for number in map(int, listed.split()):
                    sums[number][place] += by_unit[units[number]]
        return sums


def a_draft(request_id: str, payer: Payer, changes: Mapping[str, Any]) -> Draft:
    fields: dict[str, Any] = {
        "request_id": request_id,
        "attempt": 1,
        "target": "openai/gpt-test",
        "provider": "openai",
        "residency": "cloud",
        "confined": False,
        "model": "gpt-test",
        "stream": False,
        "rates": RATES,
        **asdict(payer),
    }
    return Draft(**fields | {"tags": dict(payer.tags)} | dict(changes))


@contextmanager
def committing(database: Database) -> Iterator[Cursor]:
    """A transaction of the kind that the committer makes."""
    session = database.session()
    try:
        with session.transaction() as cursor:
            yield cursor
    finally:
        session.close()


def rows(database: Database, sql: str, **values: object) -> list[tuple[Any, ...]]:
    """Rows of a query with parameters such as `:name`."""
    with database.reading() as cursor:
        return cursor.rows(_in_words_of(database, sql, values), values)


def change(database: Database, sql: str, **values: object) -> None:
    """Do to the books what no part of the gateway would do. At least one row has to be changed."""
    with database.writing() as cursor:
        assert cursor.changed(_in_words_of(database, sql, values), values) > 0


def _in_words_of(database: Database, sql: str, names: Mapping[str, object]) -> str:
    if not database.is_sqlite:
        for name in names:
            sql = sql.replace(f":{name}", f"%({name})s")
    return sql


def opened(url: str) -> Database:
    """A database with its tables made; somebody has to close it."""
    database = Database(url)
    migrate(database)
    return database


@contextmanager
def opening(url: str) -> Iterator[Database]:
    """The same, closed at the end."""
    database = opened(url)
    try:
        yield database
    finally:
        database.close()
