"""Alerts on a page: who is told, what did not arrive, and a test that really goes out."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.alerts.receiving import Inbox, an_inbox
from tests.alerts.telling import ENVIRONMENT, telling
from tests.gateways import RunningGateway, routes_for, running
from tests.web.visiting import Visitor, visiting

pytestmark = pytest.mark.anyio


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    async with an_inbox() as found:
        yield found


@pytest.fixture
async def gateway(inbox: Inbox, sqlite_url: str) -> AsyncIterator[RunningGateway]:
    routes = telling("http://127.0.0.1:9", inbox.url)
    async with running(routes, sqlite_url, environment=ENVIRONMENT) as opened:
        yield opened


@pytest.fixture
async def platform(gateway: RunningGateway) -> AsyncIterator[Visitor]:
    async with visiting(gateway, "platform") as found:
        yield found


async def press(visitor: Visitor, destination: str = "finance") -> tuple[int, str]:
    """Send a test, and read what the page says then."""
    seen = await visitor.fill_in("/alerts", "/alerts/test", destination=destination)
    return seen.status, (await visitor.get("/alerts")).text


async def test_a_test_is_sent_by_a_button_and_told_to_have_arrived(
    inbox: Inbox, platform: Visitor
) -> None:
    page = await platform.get("/alerts")
    assert [row.name for row in page.page.by["destination"]] == ["finance"]
    assert inbox.url not in page.text

    status, text = await press(platform)

    assert (status, len(inbox.posts)) == (303, 1)
    assert "finance has taken the test." in text
    assert inbox.titles[0] in text
    assert "1 sent, 0 waiting, 0 given up" in text


async def test_what_did_not_arrive_is_shown_and_tried_again(
    inbox: Inbox, gateway: RunningGateway, platform: Visitor
) -> None:
    inbox.status = 500
    status, text = await press(platform)
    assert status == 303
    assert "finance did not get the test: " in text
    page = await platform.get("/alerts")
    [dead] = page.page.by["dead"]
    assert dead.cells[1] == "finance"
    assert "500" in dead.cells[4]
    inbox.status = 200
    [delivery] = gateway.gateway.alerting.outbox.newest("dead")

    again = await platform.fill_in("/alerts", f"/alerts/{delivery.id}/retry")

    assert (again.status, again.leads_to) == (303, "/alerts")
    await gateway.gateway.alerting.turn()
    assert len(inbox.posts) == 2
    assert "1 sent, 0 waiting, 0 given up" in (await platform.get("/alerts")).text


async def test_only_our_own_form_sends_anything(inbox: Inbox, platform: Visitor) -> None:
    for fields in ({}, {"csrf": "0" * 64}):
        told = {"destination": "finance", **fields}
        assert (await platform.post("/alerts/test", told)).status == 403
    unknown = await platform.fill_in("/alerts", "/alerts/test", destination="finanze")
    assert unknown.status == 404
    assert "did you mean &#39;finance&#39;?" in unknown.text
    gone = await platform.fill_in("/alerts", "/alerts/dlv_0123456789abcdef/retry")
    assert gone.status == 404
    assert inbox.posts == []


async def test_without_a_destination_the_page_says_what_to_do(sqlite_url: str) -> None:
    async with (
        running(routes_for("http://127.0.0.1:9"), sqlite_url) as gateway,
        visiting(gateway, "admin") as visitor,
    ):
        assert "Nobody is told." in (await visitor.get("/alerts")).text
    async with (
        running(routes_for("http://127.0.0.1:9"), sqlite_url) as gateway,
        visiting(gateway, "admin@brand") as visitor,
    ):
        assert (await visitor.get("/alerts")).status == 403
        assert 'href="/alerts"' not in (await visitor.get("/")).text
