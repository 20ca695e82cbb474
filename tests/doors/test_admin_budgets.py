"""/admin/v1/budgets and /raises: more for a while, and not by those whose limit it is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.audit import audit
from tests.doors.office import Desk, desk
from tests.scripted import Script
from tests.stories.front_door import CHAT, QUESTION, House, a_house

pytestmark = pytest.mark.anyio

BUDGETS = """
  small: {scope: each team, limit: 0.01 USD, period: month}
  sites: {scope: {app: site}, limit: 5 USD, period: month}
  all: {scope: organisation, limit: 100 USD, period: month}
  calls: {scope: each job, limit: 1000 requests, period: day}
"""
UNTIL = "2999-11-30T00:00:00Z"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with a_house(tmp_path, budgets=BUDGETS) as opened:
        opened.provider.script = Script(text="Well.", input=10, output=2)
        yield opened


async def grant(asking: Desk, **fields: Any) -> Any:
    wanted = {"budget": "small", "amount": "1", "until": UNTIL, "reason": "a launch"} | fields
    return await asking.ask("POST", "/raises", wanted)


async def test_a_raise_is_granted_counted_and_ended(house: House) -> None:
    finance = desk(house, "finance")
    assert (await house.ask("private")).status == 200

    granted = (await grant(finance, subject="brand")).json
    during = (await finance.get("/budgets"))["budgets"]
    ended = await finance.ask("POST", f"/raises/{granted['id']}/end", {"reason": "called off"})
    again = await finance.ask("POST", f"/raises/{granted['id']}/end", {"reason": "called off"})
    after = (await finance.get("/budgets"))["budgets"]
    rows = (await finance.get("/raises"))["raises"]

    brand = next(b for b in during if (b["budget"], b["subject"]) == ("small", "brand"))
    assert (brand["limit"], brand["limit_usd"]) == (1_010_000_000, "1.010000000")
    assert brand["spent"] == 10 * 10 + 2 * 20
    assert brand["left"] == brand["limit"] - brand["spent"]
    assert granted["author"] == (await finance.get("/me"))["name"]
    assert (ended.status, ended.json["withdraws"], again.status) == (200, granted["id"], 400)
    assert [row["amount"] for row in rows] == [10**9, -(10**9)]
    brand = next(b for b in after if (b["budget"], b["subject"]) == ("small", "brand"))
    assert brand["limit"] == 10_000_000


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"budget": "smal"}, "did you mean 'small'"),
        ({"budget": "all", "subject": "brand"}, "is for organisation"),
        ({"budget": "sites", "subject": "other"}, "is for app site"),
        ({"amount": "much"}, "US dollars"),
        ({"amount": "-1"}, "more than nothing"),
        ({"amount": 1.5}, "amount"),
        ({"amount": "9" * 30}, "US dollars"),
        ({"budget": "calls", "amount": "1.5"}, "requests"),
        ({"until": "2020-01-01T00:00:00Z"}, "in the future"),
        ({"until": "2999-11-30"}, "until"),
        ({"reason": ""}, "reason"),
        ({"reason": "a\nb"}, "one line"),
        ({"author": "somebody else"}, "author"),
        ({"starts_at": "2020-01-01T00:00:00Z"}, "starts_at"),
    ],
)
async def test_what_makes_no_sense_raises_nothing(
    fields: dict[str, Any], says: str, house: House
) -> None:
    told = await grant(desk(house, "finance"), **fields)

    assert (told.status, says in told.error["message"]) == (400, True), told.raw
    assert await desk(house, "viewer").get("/raises") == {"raises": []}


@pytest.mark.parametrize("role", ["finance@brand", "admin@brand", "platform", "viewer", "app"])
async def test_a_limit_is_not_moved_by_those_it_is_set_for(role: str, house: House) -> None:
    assert (await grant(desk(house, role), subject="brand")).status == 403


async def test_a_role_for_one_team_sees_its_own_budgets_and_raises(house: House) -> None:
    assert (await house.ask("private")).status == 200
    finance = desk(house, "finance")
    for subject in ("brand", "legal"):
        assert (await grant(finance, subject=subject)).status == 201
    assert (await grant(finance, budget="all")).status == 201

    own = desk(house, "viewer@brand")
    budgets = (await own.get("/budgets"))["budgets"]
    raises = (await own.get("/raises"))["raises"]

    seen = {(budget["budget"], budget["subject"]) for budget in budgets}
    assert seen == {("small", "brand"), ("sites", "site")}
    assert {(row["budget"], row["subject"]) for row in raises} == {("small", "brand")}


async def test_raises_are_in_the_log_with_who_granted_them(house: House) -> None:
    finance = desk(house, "finance")
    granted = (await grant(finance, subject="brand")).json

    (row,) = (await finance.get(f"/changes?subject={granted['id']}"))["changes"]

    assert (row["what"], row["role"], row["origin"]) == ("raise.grant", "finance", "127.0.0.1")
    assert row["who"] == (await finance.get("/me"))["name"]
    assert (row["after"]["amount"], row["after"]["reason"]) == (10**9, "a launch")
    assert audit(house.gateway.gateway.database, "main")[0] == []


@pytest.mark.parametrize("named", ["{}", "key {}"], ids=["by the key's id", "by its own name"])
async def test_a_key_whose_own_budget_is_used_up_goes_on_after_a_raise(
    named: str, house: House
) -> None:
    admin, finance = desk(house), desk(house, "finance")
    own = {"usd": "0", "period": "month"}
    made = await admin.make("/keys", team="brand", app="site", budget=own)
    house.gateway.gateway._fresh.refresh()
    asking = Desk(house, made["key"])
    question = {"model": "private", "messages": QUESTION}

    refused = await asking.house.send("POST", CHAT, key=asking.key, data=json.dumps(question))
    granted = await grant(finance, budget=named.format(made["id"]))
    house.gateway.gateway._fresh.refresh()
    served = await asking.house.send("POST", CHAT, key=asking.key, data=json.dumps(question))
    name = f"key {made['id']}"
    (stands,) = [b for b in (await finance.get("/budgets"))["budgets"] if b["budget"] == name]

    assert (refused.status, refused.error["code"]) == (402, "budget_exhausted")
    assert (granted.status, granted.json["budget"]) == (201, name), granted.raw
    assert served.status == 200, served.raw
    assert (stands["limit_usd"], stands["spent"]) == ("1.000000000", 10 * 10 + 2 * 20)


async def test_a_key_s_own_budget_stands_beside_the_others_before_it_is_used(
    house: House,
) -> None:
    own = {"usd": "7", "period": "month"}
    made = await desk(house).make("/keys", team="brand", app="site", budget=own)

    for role, team, seen in (
        ("finance", "brand", True),
        ("viewer@brand", "brand", True),
        ("viewer@legal", "legal", False),
    ):
        told = (await desk(house, role, app=f"of-{team}", team=team).get("/budgets"))["budgets"]
        found = [(b["subject"], b["left_usd"]) for b in told if b["budget"] == f"key {made['id']}"]
        assert found == ([(made["id"], "7.000000000")] if seen else []), role


async def test_the_budget_of_a_key_that_is_over_is_not_raised(house: House) -> None:
    admin = desk(house)
    made = await admin.make(
        "/keys", team="brand", app="site", budget={"usd": "7", "period": "month"}
    )
    assert (await admin.ask("DELETE", f"/keys/{made['id']}")).status == 204

    told = await grant(desk(house, "finance"), budget=made["id"])

    assert (told.status, "there is no budget" in told.error["message"]) == (400, True)
