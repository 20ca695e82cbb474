"""Reports, figure by figure against the entries: the month, statements with their files, FOCUS."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from typing import Any

from gateway.ledger.months import parse_month
from gateway.ledger.queries import Range
from gateway.metering.usage import CLASSES
from gateway.money import NANOS_PER_DOLLAR
from tests.treasury.booking import rows
from tests.web.truth import REQUESTS_TOKENS_NANOS, Truth
from tests.web.visiting import Visitor

_CHARGED, _ADJUSTED = " AND kind <> 'adjust'", " AND kind = 'adjust'"


async def check_reports(visitor: Visitor, truth: Truth, month: str) -> None:
    """The page of the month, each statement in all its forms, and the costs for programs."""
    seen = await visitor.get(f"/reports?month={month}")
    teams = truth.sums(("team",), REQUESTS_TOKENS_NANOS)
    if teams:
        assert {(team,): figures for team, figures in seen.rows("team").items()} == teams
        [foot] = [row for row in seen.page.by["team"] if row.is_sum]
        assert foot.figures == [truth.total(name) for name in REQUESTS_TOKENS_NANOS]
        told = {(name,): figures for name, figures in seen.rows("provider").items()}
        assert told == truth.sums(("provider",), REQUESTS_TOKENS_NANOS)
    for (team,), _ in teams.items():
        await _check_statement(visitor, Truth(truth.gateway, truth.period, team), month)
    file = await visitor.get(f"/reports/focus.csv?month={month}")
    billed: dict[tuple[str, ...], list[int]] = {}
    for row in csv.DictReader(io.StringIO(file.text)):
        key = (row["SubAccountId"], row["x_App"], row["x_Job"], row["x_Target"], row["x_Quality"])
        nanos = Decimal(row["BilledCost"]) * NANOS_PER_DOLLAR
        assert nanos == int(nanos)
        billed.setdefault(key, [0])[0] += int(nanos)
    entries = truth.sums(("team", "app", "job", "target", "quality"), ("amount_nanos",))
    assert {key: nanos for key, nanos in billed.items() if nanos != [0]} == {
        key: nanos for key, nanos in entries.items() if nanos != [0]
    }


async def check_closed_months(visitor: Visitor, truth: Truth, month: str) -> None:
    """What was written down when the month was closed is what its entries come to."""
    page = (await visitor.get("/reports")).page
    caption = "Nothing is posted into them any more; a correction stands in the open month"
    [row] = page.tables[caption]
    assert (row.name, row.figures) == (month, [truth.total("1"), truth.total()])


async def _check_statement(visitor: Visitor, truth: Truth, month: str) -> None:
    query = f"?team={truth.team}&month={month}"
    page = (await visitor.get(f"/reports/statement{query}")).page
    charged, adjusted = truth.total(also=_CHARGED), truth.total(also=_ADJUSTED)
    year = parse_month(f"{month[:4]}-01").bounds(truth.gateway.gateway.routes.time_zone)[0]
    opening = Truth(truth.gateway, Range(year, truth.period.start), truth.team).total()
    sums = [charged + adjusted, opening, charged, adjusted, truth.total("request_count")]
    assert page.figures[:6] == [*sums, truth.total("tokens")]
    used = [name for name in CLASSES if truth.total(name, _CHARGED)]
    charges = truth.sums(("job", "target"), ("request_count", *used, "amount_nanos"), _CHARGED)
    [*told, foot] = page.by["charge"]
    assert {(row.cells[0], row.cells[1]): row.figures for row in told if row.figures} == charges
    assert foot.figures == [charged]
    known = page.tables["Charges and corrections, by quality"]
    expected = truth.sums(("quality",), ("1", "amount_nanos"))
    assert {(row.name,): row.figures for row in known} == expected
    corrections = page.tables.get("What was put right, of which month, and why", [])
    amounts = sorted(
        int(nanos) for _id, nanos in truth.sums(("id", "amount_nanos"), ("1",), _ADJUSTED)
    )
    assert sorted(row.figures[0] for row in corrections if not row.is_sum) == amounts
    _check_budget_lines(page.tables, truth)
    await _check_files(visitor, truth, query)


def _check_budget_lines(tables: Any, truth: Truth) -> None:
    """Before and after: what all who share a budget had spent of it by then."""
    caption = "Before and after are what all who share a budget had spent in its period"
    for row in tables[caption]:
        budget, subject, period = row.cells[:3]
        column = {"all": "", "teams": "team", "tokens": "job"}[budget]
        what = "tokens" if budget == "tokens" else "amount_nanos"
        also = f" AND {column} = '{subject}'" if column else ""
        [(begins,)] = rows(
            truth.database,
            "SELECT MAX(starts_at) FROM balances WHERE budget = :budget AND starts_at <= :start",
            budget=budget,
            start=truth.period.start,
        )
        assert period in ("month", "year")
        before, after = (
            Truth(truth.gateway, Range(begins, end)).total(what, also)
            for end in (truth.period.start, truth.period.end)
        )
        assert row.figures[3:] == [before, after]


async def _check_files(visitor: Visitor, truth: Truth, query: str) -> None:
    told = json.loads((await visitor.get(f"/reports/statement.json{query}")).text)
    assert told["closing"]["amount_nanos"] == truth.total()
    text = (await visitor.get(f"/reports/statement.csv{query}")).text
    by_section: dict[str, int] = {}
    for row in csv.DictReader(io.StringIO(text)):
        nanos = int(row["amount_nanos"] or 0)
        by_section[row["section"]] = by_section.get(row["section"], 0) + nanos
    assert by_section["closing"] == truth.total()
    file = (await visitor.get(f"/reports/statement.html{query}")).text
    exact = f"{Decimal(abs(truth.total())) / NANOS_PER_DOLLAR:,.9f}"
    assert exact in file
