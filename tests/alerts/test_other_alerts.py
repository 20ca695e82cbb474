"""Refusals, breakers, the audit, projections: each is told, without a word of any request."""

from __future__ import annotations

import json

import pytest

from gateway.alerts.alerting import Alerting, Ground, Sights
from gateway.alerts.delivering import Deliveries
from gateway.alerts.messages import Projection
from gateway.alerts.outbox import Outbox
from gateway.alerts.sending import Sender
from gateway.clock import MICROS, FrozenClock
from gateway.jobs.loading import parse
from gateway.ledger.audit import audit
from gateway.metrics import Metrics
from gateway.store.database import Database
from gateway.store.schema import migrate
from tests.alerts.receiving import an_inbox
from tests.alerts.telling import ANSWER, BUDGETS, ENVIRONMENT, HARD, spend, telling
from tests.gateways import BOOK, RunningGateway, routes_for, running
from tests.scripted import Script, ScriptedProvider
from tests.treasury.booking import change

pytestmark = pytest.mark.anyio

NOWHERE = "http://127.0.0.1:9/hook"


def titles(gateway: RunningGateway, kind: str) -> list[str]:
    """What was told of a kind, oldest first."""
    told = [one.read() for one in reversed(gateway.gateway.alerting.outbox.newest())]
    return [one.title for one in told if one.kind == kind]


async def test_a_share_of_refusals_is_told_once_an_hour_with_its_reasons(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script, clock = ANSWER, FrozenClock()
    routes = telling(
        provider.url,
        NOWHERE,
        budgets=HARD.replace("0.10025", "0.045"),
        more="  refusals: {percent: 50, requests_at_least: 8}\n",
    )
    async with running(routes, sqlite_url, environment=ENVIRONMENT, clock=clock) as gateway:
        key, alerting = gateway.key(), gateway.gateway.alerting
        alerting.look()
        assert await spend(gateway, key, 7) == [200] * 4 + [402] * 3
        alerting.look()
        assert titles(gateway, "refusals") == []
        await spend(gateway, key, 1)
        for seconds in (0, 60, 60):
            clock.move(seconds)
            alerting.look()
        assert titles(gateway, "refusals") == ["Job extraction: 50 % of requests are refused"]
        told = next(one.read() for one in alerting.outbox.newest() if one.read().kind == "refusals")
        assert told.facts == {
            "job": "extraction",
            "refused": {"budget_exhausted": 4},
            "requests": 8,
            "minutes": 10,
        }
        clock.move(11 * 60)
        alerting.look()
        clock.move(3600)
        alerting.look()
        assert len(titles(gateway, "refusals")) == 1  # it was long ago


async def test_a_breaker_that_opens_is_told_with_the_jobs_that_use_the_target(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.scripts(*[Script(status=500)] * 5)
    async with running(
        telling(provider.url, NOWHERE), sqlite_url, environment=ENVIRONMENT
    ) as gateway:
        assert await spend(gateway, gateway.key(), 5) == [502] * 5
        gateway.gateway.alerting.look()
        gateway.gateway.alerting.look()
        assert titles(gateway, "breaker") == [
            "openai/gpt-test does not answer: its breaker is open"
        ]
        (told,) = (one.read() for one in gateway.gateway.alerting.outbox.newest())
        assert told.facts["jobs"] == ["extraction", "with-fallback"]


async def test_what_the_audit_finds_is_told_without_details(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.script, clock = ANSWER, FrozenClock("2026-11-02T01:00:00+00:00")
    routes = telling(provider.url, NOWHERE, more="""  audit_at: "03:00"\n""")
    async with running(routes, database_url, environment=ENVIRONMENT, clock=clock) as gateway:
        await spend(gateway, gateway.key(), 1)
        alerting, database = gateway.gateway.alerting, gateway.gateway.database
        change(database, "UPDATE balances SET spent = spent + 1")
        await alerting.errands()
        assert titles(gateway, "audit") == []  # it is 2 o'clock in Berlin
        clock.move(3600)
        await alerting.errands()
        assert titles(gateway, "audit") == ["The audit found 1 thing"]
        found, entries = audit(database, "main")
        told = next(one.read() for one in alerting.outbox.newest() if one.read().kind == "audit")
        assert told.facts == {"findings": 1, "laws": [found[0].law], "entries": entries}
        await alerting.errands()
        assert len(titles(gateway, "audit")) == 1
        change(database, "UPDATE balances SET spent = spent - 1")


@pytest.mark.parametrize(
    ("p10", "p50", "enough", "told"),
    [
        (90, 101, True, True),
        (90, 100, True, False),
        (90, 101, False, False),
        (101, 150, False, True),
    ],
)
async def test_a_projection_is_told_when_the_range_that_can_be_believed_is_beyond_the_limit(
    p10: int, p50: int, enough: bool, told: bool, sqlite_url: str
) -> None:
    cents = 1_002_500
    async with running(
        telling("http://127.0.0.1:9", NOWHERE), sqlite_url, environment=ENVIRONMENT
    ) as gateway:
        inside = gateway.gateway
        projection = Projection(
            budget="brands",
            subject="",
            p10=p10 * cents,
            p50=p50 * cents,
            p90=200 * cents,
            enough=enough,
            note="",
            exhausted="2026-11-20",
        )
        alerting = Alerting(
            Ground(
                database=inside.database,
                org="main",
                clock=inside.clock,
                live=lambda: inside.routes,
                metrics=inside.metrics,
            ),
            Sights(
                standings=inside._standings,
                projections=lambda _: [projection],
                open_breakers=list,
                refusing=lambda _: [],
            ),
            Deliveries(
                Outbox(inside.database, "main"),
                Sender({}, inside.clock),
                lambda: inside.routes,
                inside.clock,
            ),
        )
        alerting.project()
        alerting.project()
        assert len(titles(gateway, "projection")) == told
        if told:
            (delivery,) = alerting.outbox.newest()
            message = delivery.read()
            assert message.facts["expected_on"] == "2026-11-20"
            assert (
                message.title
                == f"Budget brands is expected to end at ${p50 * cents / 1e9:.6f} of $0.100250"
            )


async def test_a_month_that_will_be_exceeded_is_told_from_the_books(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script, clock = ANSWER, FrozenClock("2026-09-01T12:00:00+00:00")
    budgets = BUDGETS.replace("0.10025", "0.20050")
    async with running(
        telling(provider.url, NOWHERE, budgets=budgets),
        sqlite_url,
        environment=ENVIRONMENT,
        clock=clock,
    ) as gateway:
        key = gateway.key()
        for _day in range(40):  # one a day, of twenty a month
            await spend(gateway, key)
            clock.move(86_400)
        await gateway.gateway.alerting.errands()
        (told,) = titles(gateway, "projection")
        assert told.startswith("Budget brands of brand is expected to end at $0.3")
        await gateway.gateway.alerting.errands()
        assert len(titles(gateway, "projection")) == 1


TAGGED = """
  runs: {scope: {tag: run}, limit: 0.010025 USD, period: month, enforce: warn}"""
PRIVATE_TAG = """
  hidden: {scope: {tag: run}, limit: 0.00001 USD, period: month, enforce: warn}
  private: {scope: {job: private}, limit: 0.00001 USD, period: month, enforce: warn}"""
HOUSE = """    house: {{kind: webhook, url: "{url}", secret_env: HOOK_SECRET, residency: on_prem}}
"""


async def test_the_tag_of_a_private_job_stays_in_the_house_and_its_name_and_amounts_do_not(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = ANSWER
    routes = telling(
        provider.url, NOWHERE, budgets=PRIVATE_TAG, more=HOUSE.format(url=NOWHERE)
    ).replace("    residency: on_prem\n", "    residency: on_prem\n    tags: [run]\n")
    async with running(routes, sqlite_url, environment=ENVIRONMENT) as gateway:
        statuses = await spend(
            gateway,
            gateway.key(),
            model="private",
            extra_headers={"x-jobgate-tags": "run=canary-of-the-tag"},
        )
        assert statuses == [200]
        gateway.gateway.alerting.look()
        told = {
            (one.destination, one.read().budget): one.message
            for one in gateway.gateway.alerting.outbox.newest()
        }
    assert told.keys() == {(a, b) for a in ("finance", "house") for b in ("hidden", "private")}
    assert "canary-of-the-tag" in told["house", "hidden"]
    assert "canary-of-the-tag" not in told["finance", "hidden"]
    assert "whose name stays in the house" in json.loads(told["finance", "hidden"])["title"]
    for (_, budget), message in told.items():
        assert "canary-of-the-prompt" not in message
        assert "canary-of-the-answer" not in message
        assert budget in message


async def test_a_budget_that_the_rules_do_not_have_any_more_is_not_told_of(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = ANSWER
    tagged = ("    residency: on_prem\n", "    residency: on_prem\n    tags: [run]\n")
    before = routes_for(provider.url, budgets=PRIVATE_TAG).replace(*tagged)
    async with running(before, sqlite_url) as gateway:
        tags = {"x-jobgate-tags": "run=canary-of-the-tag"}
        assert await spend(gateway, gateway.key(), model="private", extra_headers=tags) == [200]
    after = telling(provider.url, NOWHERE).replace(*tagged)
    async with running(after, sqlite_url, environment=ENVIRONMENT) as gateway:
        gateway.gateway.alerting.look()
        assert gateway.gateway.alerting.outbox.newest() == []
        standings = gateway.gateway.alerting._sights.standings()
        assert [one.budget for one in standings] == ["brands"]


async def test_a_tag_that_no_private_job_has_is_told_everywhere(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = ANSWER
    async with (
        an_inbox() as inbox,
        running(
            telling(provider.url, inbox.url, budgets=TAGGED), sqlite_url, environment=ENVIRONMENT
        ) as gateway,
    ):
        await spend(gateway, gateway.key(), extra_headers={"x-jobgate-tags": "run=nightly"})
        await gateway.gateway.alerting.turn()
        assert inbox.titles == ["Budget runs of nightly: 100 % is spent"]


def test_what_expired_is_forgotten_and_what_waits_is_not(database_url: str) -> None:
    database, clock = Database(database_url), FrozenClock()
    migrate(database)
    outbox = Outbox(database, "main")
    rules = parse(telling("http://127.0.0.1:9", NOWHERE), "routes.yaml", BOOK, ENVIRONMENT)
    sights = Sights(
        standings=list,
        projections=lambda _: [],
        open_breakers=lambda: ["openai/gpt-test"],
        refusing=lambda _: [],
    )
    ground = Ground(
        database=database, org="main", clock=clock, live=lambda: rules, metrics=Metrics()
    )
    deliveries = Deliveries(outbox, Sender({}, clock), lambda: rules, clock)
    for _hour in range(3):
        Alerting(ground, sights, deliveries).look()
        clock.move(3600)
    first, second, _third = reversed(outbox.newest())
    outbox.sent(first, clock.now())
    outbox.failed(second, clock.now(), "it answered 500", None)
    later = clock.now() + 401 * 86_400 * MICROS
    outbox.forget(later)
    assert [one.state for one in outbox.newest()] == ["waiting"]
    assert not outbox.was_told(first.alert)
    database.close()
