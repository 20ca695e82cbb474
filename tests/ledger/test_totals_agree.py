"""Any total, for any range and time zone, is the same wherever it is asked.

The ledger, the roll-ups, `Ledger.spend`, the report on the command line, the statements, the cost
export, the API and what /metrics counts are read in eight ways; a finance person may take any.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from gateway.cli.commands import app
from gateway.clock import to_datetime
from gateway.ledger.audit import audit
from gateway.ledger.entries import HOUR
from gateway.ledger.focus import focus_rows
from gateway.ledger.focus_files import read_csv, write_csv
from gateway.ledger.focus_rules import check
from gateway.ledger.months import ClosedMonth, month_of, totals
from gateway.ledger.queries import DIMENSIONS, Range
from gateway.ledger.rendering import to_csv, to_json
from gateway.ledger.statements import Statements
from gateway.metering.usage import CLASSES, Usage
from gateway.treasury.budgets import Payer
from tests.gateways import RunningGateway, routes_for, running
from tests.ledger.spending import Spending, moment
from tests.scripted import Script, ScriptedProvider
from tests.treasury.booking import opened

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]
FIRST = moment("2026-10-23T00:00:00+00:00")
"""Nine days with a change of the clocks, a Sunday without one, and the end of a month."""
LAST = moment("2026-11-02T00:00:00+00:00")

moments = st.integers(FIRST, LAST) | st.integers(FIRST // HOUR, LAST // HOUR).map(HOUR.__mul__)
payers = st.builds(
    Payer,
    team=st.sampled_from(["brand", "data", "=1+1"]),
    app=st.sampled_from(["site", "bot"]),
    key_id=st.just("key_1"),
    job=st.sampled_from(["extraction", "narrative"]),
    tags=st.dictionaries(st.just("stage"), st.sampled_from(["draft", "final"])),
)
inputs = st.sampled_from([0, 1, 7, 10**5])
usages = st.builds(Usage, **dict.fromkeys(CLASSES, st.sampled_from([0, 0, 1, 7, 333, 10**7])))


@dataclass(frozen=True)
class Deed:
    """One thing that somebody did, at a moment."""

    at: int
    what: str
    payer: Payer
    usage: Usage
    nanos: int


deeds = st.lists(
    st.builds(
        Deed,
        at=moments,
        what=st.sampled_from(["book", "book", "book", "state", "lapse", "settle late", "adjust"]),
        payer=payers,
        usage=usages,
        nanos=st.integers(1, 10**13),
    ),
    min_size=1,
    max_size=12,
)


def do(books: Spending, todo: Sequence[Deed]) -> None:
    """Everything in the order of time; adjustments correct whatever was there first."""
    for deed in sorted(todo, key=lambda deed: deed.at):
        books.clock.micros = deed.at
        known = books.rows("SELECT MIN(id) FROM entries WHERE org = :org")[0][0]
        if deed.what == "state":
            books.stated(deed.nanos, deed.payer)
        elif deed.what == "lapse":
            books.lapsed(deed.nanos, deed.payer)
        elif deed.what == "settle late":
            books.lapsed(deed.nanos, deed.payer, settled=deed.usage)
        elif deed.what == "adjust" and known:
            books.adjust(known, deed.nanos % 1000 - 500)
        else:
            books.book(deed.usage, deed.payer)


class Reader:
    """One range of the books, as each of the six ways tells its total in nano-dollars."""

    def __init__(self, books: Spending, url: str, routes: Path) -> None:
        self.books, self.url, self.routes = books, url, routes

    def rollups(self, period: Range) -> int:
        engine = self.books.database.engine_name
        with self.books.database.reading() as cursor:
            return totals(cursor, self.books.org, engine, (period.start, period.end))[1]

    def spend(self, period: Range, by: Sequence[str]) -> int:
        return sum(row["amount_nanos"] for row in self.books.ledger.spend(by, period))

    def report(self, period: Range) -> int:
        result = CliRunner().invoke(
            app,
            [
                *("report", "--by", "team,quality", "--format", "csv"),
                *("--from", to_datetime(period.start).isoformat()),
                *("--to", to_datetime(period.end).isoformat()),
                *("--database-url", self.url, "--routes", str(self.routes)),
                *("--org", self.books.org),
            ],
        )
        rows = list(csv.DictReader(io.StringIO(result.stdout)))
        usd = sum((Decimal(row["amount_usd"]) for row in rows), Decimal(0))
        assert usd * 10**9 == sum(int(row["amount_nanos"]) for row in rows)
        return int(usd * 10**9)

    def export(self, period: Range) -> int:
        file = io.StringIO()
        write_csv(focus_rows(self.books.database, period, self.books.account), file)
        file.seek(0)
        heading, lines = read_csv(file)
        rows = list(lines)
        assert list(check(heading, rows)) == []
        return int(sum(Decimal(row["BilledCost"] or 0) for row in rows) * 10**9)

    def statements(self, at: int) -> tuple[Range, list[int]]:
        """A month, and its total by its teams' statements, their CSV and their JSON."""
        month = month_of(at, self.books.calendar.zone)
        made = Statements(self.books.database, self.books.org, "Test", self.books.calendar.zone)
        found = [0, 0, 0]
        for team in made.teams(month):
            told = made.of(team, month)
            rows = list(csv.DictReader(io.StringIO(to_csv(told))))
            lines = [row for row in rows if row["section"] in ("charge", "adjustment")]
            found[0] += told.closing.nanos
            found[1] += sum(int(row["amount_nanos"]) for row in lines)
            found[2] += json.loads(to_json(told))["closing"]["amount_nanos"]
        return Range(*month.bounds(self.books.calendar.zone)), found


def test_every_way_to_ask_for_a_total_gives_the_same(database_url: str, tmp_path: Path) -> None:
    database = opened(database_url)
    numbers = count(1)

    @settings(
        deadline=None,
        max_examples=25 if database.is_sqlite else 10,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(
        todo=deeds,
        zone=st.sampled_from(ZONES),
        one=moments,
        other=moments,
        closing=st.booleans(),
        by=st.lists(st.sampled_from(DIMENSIONS), max_size=3, unique=True),
    )
    def agree(
        todo: list[Deed], zone: str, one: int, other: int, closing: bool, by: list[str]
    ) -> None:
        books = Spending(database, zone, org=f"org{next(numbers)}")
        do(books, todo)
        if closing:
            books.at("2026-11-03T00:00:00+00:00").lapse()
            assert isinstance(books.close("2026-10"), ClosedMonth)
            first = books.rows("SELECT MIN(id) FROM entries WHERE org = :org")[0][0]
            books.adjust(first, -77)
        routes = tmp_path / "routes.yaml"
        routes.write_text(routes_for("http://127.0.0.1:1").replace("Europe/Berlin", zone))
        period = Range(min(one, other), max(one, other) + 1)
        reader, ledger = Reader(books, database_url, routes), books.sum(period.start, period.end)

        assert reader.rollups(period) == ledger
        assert reader.spend(period, by) == ledger
        assert reader.report(period) == ledger
        assert reader.export(period) == ledger
        month, told = reader.statements(one)
        assert told == [books.sum(month.start, month.end)] * 3
        assert reader.export(month) == reader.report(month) == told[0]
        assert audit(database, books.org)[0] == []

    agree()
    database.close()


questions = st.lists(
    st.tuples(
        st.sampled_from(["extraction", "narrative", "volume", "workspace"]),
        st.sampled_from(["brand", "data"]),
        st.builds(Script, text=st.just("Two words"), input=inputs, output=st.integers(0, 333)),
        st.booleans(),
    ),
    min_size=1,
    max_size=5,
)


async def ask(gateway: RunningGateway, job: str, team: str, *, stream: bool) -> None:
    """One request of a team, through the front door."""
    client = gateway.client(gateway.key(team=team, app=f"{team}-app"))
    fields = {"model": job, "messages": [{"role": "user", "content": "Say something."}]}
    if not stream:
        await client.chat.completions.create(**fields)
        return
    async for _ in await client.chat.completions.create(**fields, stream=True):
        pass


async def told_by_the_api(gateway: RunningGateway, **query: str) -> int:
    """Nano-dollars as /admin/v1/spend has them: in JSON, and added up from its CSV."""
    headers = {"Authorization": f"Bearer {gateway.admin_key}"}
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers) as http:
        told = (await http.get("/admin/v1/spend", params=query)).json()
        rows = csv.DictReader(
            io.StringIO((await http.get("/admin/v1/spend", params={**query, "format": "csv"})).text)
        )
        usd = sum((Decimal(row["amount_usd"]) for row in rows), Decimal(0))
    total = int(told["total"]["amount_nanos"])
    assert usd * 10**9 == total == sum(row["amount_nanos"] for row in told["spend"])
    return total


def counted(gateway: RunningGateway) -> int:
    """Nano-dollars that /metrics has counted."""
    found = 0.0
    for metric in gateway.gateway.metrics.registry.collect():
        for sample in metric.samples:
            if sample.name == "jobgate_spend_nanodollars_total":
                found += sample.value
    return int(found)


@pytest.mark.anyio
async def test_the_api_and_the_metrics_tell_what_every_other_way_tells(
    provider: ScriptedProvider, database_url: str, tmp_path: Path
) -> None:
    """Random requests at a running gateway; what /metrics has more by is what the ledger has."""

    async def agree(
        asked: list[tuple[str, str, Script, bool]], at: int, zone: str, by: str
    ) -> None:
        before, metered = books.sum(), counted(gateway)
        for job, team, script, stream in asked:
            provider.script = script
            await ask(gateway, job, team, stream=stream)
        ledger = books.sum()
        assert counted(gateway) - metered == ledger - before

        admitted = books.rows("SELECT admitted_at FROM entries WHERE org = :org")
        cut = int(admitted[at % len(admitted)][0])
        start, ever = to_datetime(cut).isoformat(), {"by": by, "zone": zone, "to": "2100-01-01"}
        period = Range(cut, moment("2100-01-01T00:00:00+00:00"))
        since = books.sum(period.start, period.end)
        assert await told_by_the_api(gateway, **ever, **{"from": "2020-01-01"}) == ledger
        assert await told_by_the_api(gateway, **ever, **{"from": start}) == since
        until = ever | {"from": "2020-01-01", "to": start}
        assert await told_by_the_api(gateway, **until) == ledger - since
        reader = Reader(books, database_url, tmp_path / "routes.yaml")
        assert {reader.rollups(period), reader.spend(period, [by]), reader.report(period)} == {
            since
        }
        month, told = reader.statements(cut)
        assert {books.sum(month.start, month.end), reader.export(month)} == set(told)
        assert gateway.audit() == []

    routes = routes_for(provider.url)
    (tmp_path / "routes.yaml").write_text(routes)
    async with running(routes, database_url) as gateway:
        books = Spending(gateway.gateway.database)
        loop = asyncio.get_running_loop()

        @settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.too_slow])
        @given(
            asked=questions,
            at=st.integers(0, 99),
            zone=st.sampled_from(ZONES),
            by=st.sampled_from(DIMENSIONS),
        )
        def programs(
            asked: list[tuple[str, str, Script, bool]], at: int, zone: str, by: str
        ) -> None:
            asyncio.run_coroutine_threadsafe(agree(asked, at, zone, by), loop).result()

        await asyncio.to_thread(programs)
