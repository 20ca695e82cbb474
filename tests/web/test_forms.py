"""Forms: only our own page of the same session changes anything; mistakes are told beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.gateways import RunningGateway, routes_for, running
from tests.web.visiting import Visitor, visiting

pytestmark = pytest.mark.anyio

BUDGETS = """
  month: {scope: organisation, limit: 100 USD, period: month}
  teams: {scope: each team, limit: 50 USD, period: month}
"""
ONE = "/budgets/one?name=month"
RAISE = {"budget": "month", "amount": "25.50", "until": "2099-12-31", "reason": "the launch"}


@pytest.fixture
async def gateway(sqlite_url: str) -> AsyncIterator[RunningGateway]:
    async with running(routes_for("http://127.0.0.1:9", budgets=BUDGETS), sqlite_url) as opened:
        opened.key()
        yield opened


@pytest.fixture
async def finance(gateway: RunningGateway) -> AsyncIterator[Visitor]:
    async with visiting(gateway, "finance") as found:
        yield found


def raises(gateway: RunningGateway) -> list[int]:
    return [row.amount for row in gateway.gateway._raises.all()]


async def token_of(visitor: Visitor) -> str:
    return (await visitor.get("/")).text.partition('name="csrf" value="')[2].partition('"')[0]


async def test_a_raise_is_granted_shown_logged_and_ended(
    gateway: RunningGateway, finance: Visitor
) -> None:
    seen = await finance.fill_in(ONE, "/budgets/raises", **RAISE)
    assert (seen.status, seen.leads_to) == (303, ONE)
    assert raises(gateway) == [25_500_000_000]
    page = await finance.get(ONE)
    assert "The budget month is raised." in page.text
    assert 125_500_000_000 in page.page.figures
    assert "the launch" in page.text
    assert "is raised" not in (await finance.get(ONE)).text
    (row,) = gateway.gateway._raises.all()
    assert row.author.startswith("key_")
    await finance.fill_in(ONE, f"/budgets/raises/{row.id}/end", budget="month", reason="over now")
    assert sum(raises(gateway)) == 0
    assert "ended early" in (await finance.get(ONE)).text


async def test_the_own_budget_of_a_key_is_raised_on_its_page(
    gateway: RunningGateway, finance: Visitor
) -> None:
    gateway.key(app="batch", budget_nanos=5 * 10**9, budget_period="month")
    (name,) = [b.name for b in gateway.gateway._registry.own_budgets()]
    key_id = name.removeprefix("key ")
    place = f"/budgets/one?name={name}&subject={key_id}"
    assert 5_000_000_000 in (await finance.get(place)).page.figures

    wanted = {**RAISE, "budget": name, "subject": key_id}
    seen = await finance.fill_in(place, "/budgets/raises", **wanted)

    assert seen.status == 303, seen.text
    assert raises(gateway) == [25_500_000_000]
    assert 30_500_000_000 in (await finance.get(place)).page.figures


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"amount": "much"}, "write a number of US dollars"),
        ({"amount": "-1"}, "more than nothing"),
        ({"until": "2001-01-01"}, "ends in the future"),
        ({"until": "soon"}, "name the last day"),
        ({"reason": ""}, "say why"),
        ({"subject": "brand"}, "is for organisation"),
    ],
)
async def test_a_mistake_is_told_beside_the_form_and_changes_nothing(
    wrong: dict[str, str], told: str, gateway: RunningGateway, finance: Visitor
) -> None:
    subject = wrong.get("subject", "")
    seen = await finance.fill_in(ONE, "/budgets/raises", **{**RAISE, **wrong})
    assert raises(gateway) == []
    if subject:
        assert seen.status == 404
        return
    assert seen.status == 400
    assert told in seen.text
    assert f'value="{ {**RAISE, **wrong}["reason"] }"' in seen.text


async def test_a_form_without_the_sessions_token_changes_nothing(
    gateway: RunningGateway, finance: Visitor
) -> None:
    async with visiting(gateway, "finance") as other:
        theirs = await token_of(other)
    for told in ({}, {"csrf": ""}, {"csrf": "x"}, {"csrf": theirs}, {"csrf": finance.token}):
        seen = await finance.post("/budgets/raises", {**RAISE, **told})
        assert seen.status == 403
    assert raises(gateway) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
async def test_a_form_that_another_site_sends_changes_nothing(
    headers: dict[str, str], gateway: RunningGateway, finance: Visitor
) -> None:
    fields = {**RAISE, "csrf": await token_of(finance)}
    assert (await finance.post("/budgets/raises", fields, **headers)).status == 403
    assert (await finance.post("/sign-out", fields, **headers)).status == 403
    assert raises(gateway) == []
    assert (await finance.get("/")).status == 200


async def test_signing_out_needs_the_sessions_token_too(finance: Visitor) -> None:
    assert (await finance.post("/sign-out", {"csrf": "x"})).status == 403
    assert (await finance.get("/")).status == 200


async def test_what_is_no_form_or_too_large_is_refused(
    gateway: RunningGateway, finance: Visitor
) -> None:
    json = {"content_type": "application/json"}
    assert (await finance.post("/budgets/raises", RAISE, **json)).status == 400
    large = {**RAISE, "reason": "x" * 100_000}
    assert (await finance.post("/budgets/raises", large)).status == 413
    many = {f"field-{number}": "x" for number in range(500)}
    assert (await finance.post("/budgets/raises", many)).status == 400
    assert raises(gateway) == []


@pytest.mark.parametrize("role", ["viewer", "platform", "finance@brand", "admin@brand"])
async def test_who_may_not_raise_is_shown_no_form_and_cannot_send_one(
    role: str, gateway: RunningGateway
) -> None:
    async with visiting(gateway, role) as visitor:
        fields = {**RAISE, "csrf": await token_of(visitor)}
        assert (await visitor.post("/budgets/raises", fields)).status == 403
        assert 'action="/budgets/raises"' not in (await visitor.get(ONE)).text
    assert raises(gateway) == []
