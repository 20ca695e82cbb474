"""Digests: a page that stands alone, whose figures are the ledger's."""

from __future__ import annotations

import re

import pytest

from gateway.clock import FrozenClock
from gateway.ledger.queries import Ledger, Range
from gateway.money import for_people
from tests.alerts.receiving import a_mailbox, an_inbox
from tests.alerts.telling import ANSWER, COST, ENVIRONMENT, spend, telling
from tests.gateways import running
from tests.scripted import ScriptedProvider

pytestmark = pytest.mark.anyio

MAIL = """
    mailers: {{kind: email, to: [cfo@example.com], on: [], digest: [day, week]}}
  email: {{host: 127.0.0.1, port: {port}, security: none, sender: jobgate@example.com}}"""


async def test_a_day_and_a_week_arrive_as_mail_with_a_chart_and_the_ledgers_figures(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.script, clock = ANSWER, FrozenClock("2026-10-26T10:00:00+00:00")  # a Monday
    async with a_mailbox() as mailbox:
        routes = telling(
            provider.url, "http://127.0.0.1:9/hook", more=MAIL.format(port=mailbox.port)
        )
        async with running(routes, database_url, environment=ENVIRONMENT, clock=clock) as gateway:
            key, other = gateway.key(), gateway.key(team="legal", app="law")
            await spend(gateway, key, 2)
            clock.move(6 * 86_400)  # Sunday
            await spend(gateway, key)
            await spend(gateway, other, 3)
            clock.move(86_400 - 4 * 3600)  # Monday, 7 o'clock in Berlin
            await gateway.gateway.alerting.errands()
            await gateway.gateway.alerting.turn()
            assert mailbox.mails == []
            clock.move(3600)
            for _ in range(2):
                await gateway.gateway.alerting.errands()
                await gateway.gateway.alerting.turn()
            ledger = Ledger(gateway.gateway.database, "main")
            week = Range(clock.now() - 7 * 86_400 * 10**6, clock.now())
            spent = sum(row["amount_nanos"] for row in ledger.spend(["team"], week))
    assert spent == 6 * COST
    mails = sorted(mailbox.mails, key=lambda mail: str(mail["Subject"]))
    assert [mail["Subject"] for mail in mails] == [
        f"[Test] Spend of the day 2026-11-01: {for_people(4 * COST)}",
        f"[Test] Spend of the week 2026-10-26 to 2026-11-01: {for_people(6 * COST)}",
    ]
    pages = [mail.get_body(("html",)).get_content() for mail in mails]  # type: ignore[union-attr]
    for page in pages:
        assert page.count("<svg") == 1
        assert page.count("<rect") in (24, 7)
        assert not re.search(r"(?:src|href)=|url\(|<script|@import", page)
        assert "canary" not in page
    day, week_page = pages
    assert f"<td>legal</td><td>{for_people(3 * COST)}</td><td>75 %</td><td>3</td>" in day
    assert f"<td>brand</td><td>{for_people(3 * COST)}</td><td>50 %</td><td>3</td>" in week_page
    assert f"<td>2026-10-26</td><td>{for_people(2 * COST)}</td>" in week_page
    plain = mails[0].get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert "By team: legal" in plain


async def test_a_webhook_gets_the_digest_in_nanos_and_once(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script, clock = ANSWER, FrozenClock("2026-11-02T22:30:00+00:00")
    async with an_inbox() as inbox:
        routes = telling(provider.url, inbox.url).replace(
            "secret_env: HOOK_SECRET", "secret_env: HOOK_SECRET, on: [], digest: [day]"
        )
        async with running(routes, sqlite_url, environment=ENVIRONMENT, clock=clock) as gateway:
            key = gateway.key()
            await spend(gateway, key)  # half past eleven at night in Berlin
            clock.move(3600)
            await spend(gateway, key, 2)  # the next day
            clock.move(12 * 3600)
            for _ in range(2):
                await gateway.gateway.alerting.errands()
                await gateway.gateway.alerting.turn()
    (told,) = inbox.bodies
    assert (told["kind"], told["facts"]["label"]) == ("digest", "2026-11-02")
    assert told["facts"]["nanos"] == COST == told["facts"]["nanos_reported"]
    assert told["facts"]["nanos_by_job"] == {"extraction": COST}
    assert told["html"].startswith("<!doctype html>")
