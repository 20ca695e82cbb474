"""Overview, Jobs, Requests and Budgets, figure by figure against the entries."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Sequence
from fractions import Fraction
from urllib.parse import urlencode

from gateway.ledger.entries import HOUR
from gateway.ledger.months import parse_month
from gateway.ledger.queries import Range
from gateway.prices.rates import INPUT_CLASSES, OUTPUT_CLASSES
from gateway.web.spans import month_before
from tests.gateways import RunningGateway
from tests.treasury.booking import rows
from tests.web.truth import Truth
from tests.web.visiting import Read, Seen, Visitor, visiting

DIMENSIONS = ("team", "app", "job", "target", "stage")
SHOWN = 8
TOKENS_IN, TOKENS_OUT = (" + ".join(sorted(names)) for names in (INPUT_CLASSES, OUTPUT_CLASSES))


async def check_overview(visitor: Visitor, truth: Truth, month: str) -> None:
    """Every exact figure of the overview, the forecast and the counters of refusals apart."""
    seen = await visitor.get(f"/?month={month}")
    assert seen.status == 200
    page, before = seen.page, _before(truth, month)
    assert page.figures[0] == truth.total()
    for name in DIMENSIONS:
        _by_dimension(seen, truth.by(name), name)
    assert page.amounts("Spend by how the amount is known") == truth.by("quality")
    so_far = page.tables["Spent so far, at the end of each day"]
    told = [row.figures[0] for row in so_far if row.cells[1]]
    assert told == truth.adding_up()[: len(told)]
    assert told[-1] == truth.total()
    start = seen.text.index('aria-labelledby="sums"')
    part = Read(seen.text[start : seen.text.index("data-by=")])
    assert part.figures == [truth.total("request_count"), truth.total("tokens"), before.total()]
    _movers(page, truth, before)
    _priced(page, truth, before)


def _before(truth: Truth, month: str) -> Truth:
    """As much of the month before: by the clock, in whole hours."""
    gateway = truth.gateway
    start, end = truth.period.start, truth.period.end
    now = gateway.gateway.clock.now()
    until = min(end, (now // HOUR + 1) * HOUR)
    zone = gateway.gateway.routes.time_zone
    first, last = month_before(parse_month(month)).bounds(zone)
    after = last if until == end else min(last, first + until - start)
    return Truth(gateway, Range(first, after), truth.team)


def _by_dimension(seen: Seen, expected: dict[str, int], name: str) -> None:
    """The dearest are shown, and the others are added up in one row."""
    told = {row: figures[0] for row, figures in seen.rows(name).items()}
    others = len(expected) - SHOWN
    if others > 0:
        [label] = [row for row in told if row.endswith((" other", " others"))]
        assert label.partition(" ")[0] == str(others)
        assert told.pop(label) == sum(expected.values()) - sum(told.values())
        least = min(told.values())
        assert sum(amount > least for amount in expected.values()) < SHOWN
        expected = {row: expected[row] for row in told}
    assert told == expected


def _movers(page: Read, truth: Truth, before: Truth) -> None:
    now, then = (
        {key: nanos for key, (nanos,) in one.sums(("app", "job"), ("amount_nanos",)).items()}
        for one in (truth, before)
    )
    expected = [
        ([then.get(key, 0), now.get(key, 0), now.get(key, 0) - then.get(key, 0)], " ".join(key))
        for key in now.keys() | then.keys()
        if now.get(key, 0) != then.get(key, 0)
    ]
    expected.sort(key=lambda one: (-abs(one[0][2]), one[1]))
    table = page.tables["What has changed the most"]
    assert [(row.figures, row.name) for row in table if row.figures] == expected[:SHOWN]


def _priced(page: Read, truth: Truth, before: Truth) -> None:
    """The price of a thousand requests, in as much of the month before and now."""
    told = {row.name: row.figures for row in page.tables["Cost of a thousand requests by job"]}
    told.pop("Nothing was asked.", None)
    now, then = (one.sums(("job",), ("amount_nanos", "request_count")) for one in (truth, before))
    assert told == {
        job: [
            round(Fraction(one[(job,)][0] * 1000, one[(job,)][1]))
            for one in (then, now)
            if one.get((job,), [0, 0])[1]
        ]
        for (job,) in now
    }


async def check_jobs(visitor: Visitor, truth: Truth, month: str) -> None:
    """The list of jobs, and the page of each that was asked."""
    told = (await visitor.get(f"/jobs?month={month}")).rows("job")
    sums = truth.sums(("job",), ("amount_nanos", "request_count", TOKENS_IN, TOKENS_OUT))
    expected = {job: found for (job,), found in sums.items()}
    assert set(expected) <= set(told)
    for job, figures in told.items():
        assert figures == expected.get(job, [0, 0, 0, 0])
    for job, figures in expected.items():
        seen = await visitor.get(f"/jobs/{job}?month={month}")
        assert seen.page.figures[:4] == figures
        days = truth.days(f" AND job = '{job}'")
        so_far = len(seen.page.tables["Spent on each day"])
        assert list(seen.page.amounts("Spent on each day").values()) == days[:so_far]
        for column, title in (("target", "model"), ("app", "app"), ("stage", "stage")):
            table = seen.page.tables[f"Spend on {job} by {title}"]
            of_job = truth.sums((column,), ("request_count", "amount_nanos"), f" AND job = '{job}'")
            assert {(row.name,): row.figures for row in table} == of_job


async def check_links(visitor: Visitor, truth: Truth, month: str, names: Sequence[str]) -> None:
    """What the overview links to comes to what the overview said, and so does the CSV."""
    overview = await visitor.get(f"/?month={month}")
    for name in names:
        for value, (nanos, *_) in overview.rows(name).items():
            if value.endswith((" other", " others")):
                continue
            of = {"none": name} if value == "(none)" else {name: value}
            place = f"/requests?{urlencode({**of, 'month': month})}"
            assert html.escape(place) in overview.text
            assert (await visitor.get(place)).page.figures[1] == nanos
    exported = (await visitor.get(f"/requests.csv?month={month}")).text
    lines = {line["id"]: line for line in csv.DictReader(io.StringIO(exported))}
    columns = ("id", "request_id", "kind", "team", "app", "job", "target", "stage", "quality")
    figures = ("request_count", "tokens", "amount_nanos", "input", "output", "reasoning")
    told = {
        tuple(line[name] or "(none)" for name in columns): [int(line[name]) for name in figures]
        for line in lines.values()
    }
    assert told == truth.sums(columns, figures)


async def check_requests(visitor: Visitor, truth: Truth, month: str) -> None:
    """The sum above the list, each row of its first page, and the requests that it leads to."""
    page = (await visitor.get(f"/requests?month={month}")).page
    table = page.tables.get("Entries, the newest first", [])
    listed = [row.figures for row in table if not row.is_sum]
    keys = ("id", TOKENS_IN, TOKENS_OUT, "amount_nanos")
    entries = [list(map(int, key[1:])) for key in truth.sums(keys, ("1",))]
    assert page.figures[:2] == ([len(entries), truth.total()] if table else page.figures[:2])
    assert all(figures in entries for figures in listed)
    assert len(listed) == min(len(entries), 50)
    for link in sorted({link for link in page.links if link.startswith("/requests/req_")})[:4]:
        told = (await visitor.get(link)).page
        request = link.rpartition("/")[2]
        found = rows(
            truth.database,
            "SELECT amount_nanos FROM entries WHERE request_id = :request",
            request=request,
        )
        assert told.figures[0] == sum(nanos for (nanos,) in found)


async def check_budgets(gateway: RunningGateway) -> None:
    """What is spent of each budget, of all and by member, is what its entries come to."""
    now = gateway.gateway.clock.now()
    balances = gateway.balances()
    async with visiting(gateway, "finance") as visitor:
        seen = await visitor.get("/budgets")
        table = seen.page.tables["Budgets in their present periods"]
        told = {(row.cells[0], row.cells[1]): row.figures for row in table if row.figures}
        for (budget, subject), balance in balances.items():
            column = {"all": "", "teams": "team", "tokens": "job"}[budget]
            what = "tokens" if budget == "tokens" else "amount_nanos"
            also = f" AND {column} = '{subject}'" if column else ""
            truth = Truth(gateway, Range(balance["starts_at"], now + 1))
            used = truth.total(what, also)
            limit = told[budget, subject or "organisation"][1]
            assert told[budget, subject or "organisation"][:3] == [used, limit, limit - used]
            one = await visitor.get(f"/budgets/one?name={budget}&subject={subject}")
            assert one.page.figures[:2] == [limit - used, used]
            days = one.page.tables["Left at the end of each day"]
            left = [row.figures[0] for row in days if len(row.figures) == 2]
            last = truth.adding_up(also, what)
            assert left == [limit - spent for spent in last]
            for name in {"team", "app", "job"} - {column}:
                members = one.page.tables[f"What each {name} has spent of it"]
                sums = truth.sums((name,), ("request_count", "tokens", "amount_nanos"), also)
                assert {(row.name,): row.figures for row in members if row.figures} == sums
