"""The end of a month from a browser: a month is closed, a bill is compared and then corrected."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.clock import FrozenClock
from gateway.ledger.months import closed_months
from gateway.metering.usage import Usage
from gateway.prices.rates import NO_COST
from gateway.treasury.budgets import Payer
from gateway.web.bills import FILES_AT_MOST, packed, unpacked
from tests.gateways import RunningGateway, routes_for, running
from tests.ledger.spending import BRAND, Spending, something_of_everything
from tests.treasury.booking import charged, opening, rows
from tests.web.visiting import FORM_TOKEN, Seen, Visitor, visiting

pytestmark = pytest.mark.anyio

NOW = "2026-11-18T15:20:00+01:00"
CLOSING = "/reports/closing"
BILLS = "/reports/bills"
BILL = b"""date,model,key,input_tokens,output_tokens,amount_usd
2026-11-02,gpt-test,gateway,300,30,0.000001001
2026-11-03,gpt-other,gateway,10,1,0.00005
"""
OF_OPENAI = {"vendor": "generic", "by": "day", "ours": "openai"}
HIDDEN = re.compile(r'type="hidden" name="(\w+)" value="([^"]*)"')


@pytest.fixture
async def gateway(sqlite_url: str) -> AsyncIterator[RunningGateway]:
    """October with a few entries, and three on 2 November that cost 700 nanos together."""
    with opening(sqlite_url) as database:
        books = Spending(database)
        books.at("2026-10-20T12:00:00+02:00").book(Usage(input=1001, output=7), BRAND)
        books.at("2026-11-02T12:00:00+00:00")
        for team, nanos in (("brand", 100), ("data", 200), ("legal", 400)):
            hold = books.hold(1_000, 1_000, Payer(team, "site", "key_1", "extraction", {}))
            usage = Usage(input=60, cache_read=40, output=7, reasoning=3)
            rates = replace(NO_COST, cache_read=nanos * 1_000_000 // 40)
            ending = charged(usage, model_served="gpt-test", amount_nanos=nanos, rates=rates)
            books.end(hold, ending)
    async with running(
        routes_for("http://127.0.0.1:9"), sqlite_url, clock=FrozenClock(NOW)
    ) as opened:
        yield opened


@pytest.fixture
async def finance(gateway: RunningGateway) -> AsyncIterator[Visitor]:
    async with visiting(gateway, "finance") as found:
        yield found


def months(gateway: RunningGateway) -> list[Any]:
    with gateway.gateway.database.reading() as cursor:
        return closed_months(cursor, "main", "sqlite")


def sums(gateway: RunningGateway) -> list[tuple[Any, ...]]:
    sql = "SELECT kind, COUNT(*), SUM(amount_nanos) FROM entries WHERE admitted_at >= :since"
    since = 1_793_487_600_000_000  # the first of November
    return rows(gateway.gateway.database, f"{sql} GROUP BY kind ORDER BY kind", since=since)


def logged(gateway: RunningGateway) -> list[tuple[str, str, str]]:
    return [
        (what, subject, who)
        for what, subject, who in rows(
            gateway.gateway.database, "SELECT what, subject, who FROM changes"
        )
    ]


async def test_a_month_is_closed_after_it_was_shown_and_confirmed(
    gateway: RunningGateway, finance: Visitor
) -> None:
    asked = await finance.get(f"{CLOSING}?month=2026-10")
    [(entries, nanos)] = rows(
        gateway.gateway.database,
        "SELECT COUNT(*), SUM(amount_nanos) FROM entries WHERE admitted_at < :end",
        end=1_793_487_600_000_000,
    )
    assert asked.page.figures[:2] == [nanos, entries]
    unsure = await finance.fill_in(f"{CLOSING}?month=2026-10", CLOSING, month="2026-10")
    assert (unsure.status, months(gateway)) == (400, [])
    assert "to be closed for good" in unsure.text

    done = await finance.fill_in(
        f"{CLOSING}?month=2026-10", CLOSING, month="2026-10", sure="2026-10"
    )

    assert (done.status, done.leads_to) == (303, "/reports?month=2026-10")
    [closed] = months(gateway)
    assert (closed.month, closed.entries, closed.amount_nanos) == ("2026-10", entries, nanos)
    assert closed.author.startswith("key_")
    assert ("month.close", "2026-10", closed.author) in logged(gateway)
    page = await finance.get("/reports?month=2026-10")
    assert "2026-10 is closed: 1 entries" in page.text
    assert f"Closed by {closed.author}" in page.text
    again = await finance.fill_in(
        f"{CLOSING}?month=2026-10", CLOSING, month="2026-10", sure="2026-10"
    )
    assert (again.status, len(months(gateway))) == (400, 1)
    assert "was closed by" in again.text


@pytest.mark.parametrize(
    ("month", "status", "told"),
    [
        ("2026-11", 400, "is not over"),
        ("2026-12", 400, "is not over"),
        ("October", 400, "month: "),
        ("", 400, "month: "),
    ],
)
async def test_what_cannot_be_closed_is_told_and_stays_open(
    month: str, status: int, told: str, gateway: RunningGateway, finance: Visitor
) -> None:
    seen = await finance.fill_in("/reports", CLOSING, month=month, sure=month)
    assert (seen.status, told in seen.text, months(gateway)) == (status, True, [])
    assert "<button>Close" not in (await finance.get(f"{CLOSING}?month={month}")).text


async def test_an_open_request_of_the_month_keeps_it_open(postgres_url: str) -> None:
    """On a server, where holds of another process are nobody's to end before their time."""
    with opening(postgres_url) as database:
        books = Spending(database)
        books.at("2026-10-31T23:59:59+01:00").hold(777, 10, BRAND)
    late = FrozenClock("2026-11-01T00:06:00+01:00")
    async with (
        running(
            routes_for("http://127.0.0.1:9"), postgres_url, clock=late, leaves_holds=True
        ) as gateway,
        visiting(gateway, "finance") as visitor,
    ):
        sent = {"month": "2026-10", "sure": "2026-10"}
        seen = await visitor.fill_in(f"{CLOSING}?month=2026-10", CLOSING, **sent)
    assert seen.status == 400
    assert "1 hold of it still open" in seen.text


async def compare(visitor: Visitor, bill: bytes = BILL, **fields: str) -> Seen:
    sent = OF_OPENAI | fields
    return await visitor.send_files(BILLS, BILLS, {"C:\\bills\\november.csv": bill}, **sent)


def hidden(seen: Seen) -> dict[str, str]:
    """The fields that the form for posting carries."""
    part = seen.text[seen.text.index('action="/reports/bills/corrections"') :]
    return dict(HIDDEN.findall(part[: part.index("</form>")]))


async def test_a_bill_without_amounts_is_not_told_as_a_bill_of_nothing(
    gateway: RunningGateway, finance: Visitor
) -> None:
    without = b"\n".join(line.rpartition(b",")[0] for line in BILL.splitlines())
    seen = await compare(finance, without)
    assert seen.status == 200
    assert "the bill states no amounts" in seen.text


async def test_a_bill_is_compared_and_nothing_is_written(
    gateway: RunningGateway, finance: Visitor
) -> None:
    before = sums(gateway), logged(gateway)

    seen = await compare(finance)

    assert seen.status == 200
    found = {row.cells[1]: row for row in seen.page.by["difference"]}
    price, other = found["gpt-test"], found["gpt-other"]
    assert price.cells[2].startswith("price")
    assert price.figures == [300, 30, 300, 30, 1_001, 700, 301]
    assert other.cells[2].startswith("around")
    assert seen.page.figures[:2] == [51_001, 700]
    assert (sums(gateway), logged(gateway)) == before


async def test_corrections_are_a_second_step_and_are_posted_once(
    gateway: RunningGateway, finance: Visitor
) -> None:
    form = hidden(await compare(finance))

    done = await finance.post(f"{BILLS}/corrections", form)

    assert (done.status, done.leads_to) == (303, "/requests?kind=adjust&from=2026-11-02")
    assert (await finance.get(done.leads_to)).page.figures[-1] == 301
    assert sums(gateway) == [("adjust", 3, 301), ("charge", 3, 700)]
    who = [who for what, _, who in logged(gateway) if what == "entry.adjust"]
    assert len(who) == 1
    adjusted = "SELECT reason, author FROM entries WHERE kind = 'adjust'"
    for reason, author in rows(gateway.gateway.database, adjusted):
        assert "november.csv, 2026-11-02, gpt-test" in reason
        assert "C:" not in reason
        assert author == who[0]
    again = await finance.post(f"{BILLS}/corrections", form)
    assert (again.status, "have changed since" in again.text) == (400, True)
    assert sums(gateway) == [("adjust", 3, 301), ("charge", 3, 700)]
    after = await compare(finance)
    assert "Correct the prices" not in after.text
    assert [row.cells[1] for row in after.page.by["difference"]] == ["gpt-other"]


@pytest.mark.parametrize(
    ("bill", "fields", "told"),
    [
        (b"", {}, "choose a file"),
        (b"nothing,here\n1,2\n", {}, "november.csv: no row has a column for the day"),
        (BILL.replace(b"300", b"many"), {}, "row 2, column input_tokens"),
        (b"\xff\xfe", {}, "not UTF-8"),
        (BILL, {"vendor": "nobody"}, "say whose bill"),
        (BILL, {"ours": "nobody"}, "no provider &#39;nobody&#39;"),
        (BILL, {"usd_per_unit": "-1"}, "is not a rate"),
        (BILL, {"vendor": "mistral", "ours": "<script>"}, "&lt;script&gt;"),
    ],
)
async def test_a_bill_that_cannot_be_read_is_told_plainly(
    bill: bytes, fields: dict[str, str], told: str, finance: Visitor
) -> None:
    files = {"november.csv": bill} if bill else {}
    seen = await finance.send_files(BILLS, BILLS, files, **OF_OPENAI | fields)
    assert (seen.status, told in seen.text) == (400, True), seen.text
    assert "<script>" not in seen.text.replace("<script src", "")


async def test_only_our_own_form_of_the_session_sends_a_bill(
    gateway: RunningGateway, finance: Visitor
) -> None:
    form = hidden(await compare(finance))
    for wrong in ("", "0" * 64):
        sent = await finance.send_files(BILLS, BILLS, {"b.csv": BILL}, **OF_OPENAI, csrf=wrong)
        assert sent.status == 403
        posted = await finance.post(f"{BILLS}/corrections", form | {"csrf": wrong})
        assert posted.status == 403
    other = await finance.post(f"{BILLS}/corrections", form, origin="https://evil.example")
    assert other.status == 403
    found = FORM_TOKEN.search((await finance.get(BILLS)).text)
    assert found is not None
    assert (await finance.post(BILLS, {"csrf": found[1]})).status == 400
    too_large = await compare(finance, b"x" * (FILES_AT_MOST + 100_000))
    assert too_large.status == 413
    broken = await finance.post(f"{BILLS}/corrections", form | {"packed": "no"})
    assert broken.status == 400
    assert sums(gateway) == [("charge", 3, 700)]


async def test_those_who_may_not_are_not_shown_the_way(gateway: RunningGateway) -> None:
    async with visiting(gateway, "viewer") as viewer:
        page = (await viewer.get("/reports?month=2026-10")).text
    assert CLOSING not in page
    assert BILLS not in page


def test_packed_files_are_the_same_again_and_a_bomb_is_refused() -> None:
    files = [("a.csv", b"\x00\xff" * 1000), ("b.json", json.dumps({"a": 1}).encode())]
    assert unpacked(packed(files)) == files
    with pytest.raises(Exception, match="cannot be read"):
        unpacked(packed([("bomb", b"0" * (3 * FILES_AT_MOST))]))


async def test_everything_of_a_month_can_be_closed_from_the_page(sqlite_url: str) -> None:
    """Lapses, late settlements and corrections; October itself was closed by the command."""
    with opening(sqlite_url) as database:
        something_of_everything(Spending(database))
    december = FrozenClock("2026-12-02T08:00:00+01:00")
    async with (
        running(routes_for("http://127.0.0.1:9"), sqlite_url, clock=december) as gateway,
        visiting(gateway, "admin") as visitor,
    ):
        asked = (await visitor.get(f"{CLOSING}?month=2026-11")).page.figures[:2]
        sent = {"month": "2026-11", "sure": "2026-11"}
        assert (await visitor.fill_in("/reports", CLOSING, **sent)).status == 303
        closed = months(gateway)[-1]
        assert [closed.amount_nanos, closed.entries] == asked
