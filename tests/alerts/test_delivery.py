"""What is told arrives: signed, again after a failure, at the right hour, or visibly not at all."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from pathlib import Path

import aiohttp
import pytest
from typer.testing import CliRunner

from gateway.alerts.outbox import DEAD, LEASE_SECONDS, PAUSES, SENT, WAITING
from gateway.cli.commands import app
from gateway.clock import FrozenClock, to_text
from tests.alerts.receiving import a_mailbox, an_inbox
from tests.alerts.telling import ANSWER, BUDGETS, ENVIRONMENT, SECRET, spend, telling
from tests.gateways import running
from tests.scripted import ScriptedProvider

pytestmark = pytest.mark.anyio


async def test_a_webhook_proves_who_sent_it_and_when(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script, clock = ANSWER, FrozenClock("2026-11-02T12:00:00+00:00")
    async with (
        an_inbox() as inbox,
        running(
            telling(provider.url, inbox.url), sqlite_url, environment=ENVIRONMENT, clock=clock
        ) as gateway,
    ):
        await spend(gateway, gateway.key(), 5)
        await gateway.gateway.alerting.turn()
        ((headers, body),) = inbox.posts
    assert headers["x-jobgate-timestamp"] == "1793620800"
    expected = hmac.new(SECRET.encode(), b"1793620800." + body, hashlib.sha256).hexdigest()
    assert headers["x-jobgate-signature"] == f"v1={expected}"
    told = json.loads(body)
    assert told["id"] == headers["x-jobgate-delivery"]
    assert (told["kind"], told["at"]) == ("budget", "2026-11-02T12:00:00.000000Z")


async def test_a_failure_is_tried_again_with_growing_pauses_and_then_waits_for_a_person(
    provider: ScriptedProvider,
    sqlite_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    provider.script, clock = ANSWER, FrozenClock()
    async with (
        an_inbox() as inbox,
        aiohttp.ClientSession() as http,
        running(
            telling(provider.url, inbox.url), sqlite_url, environment=ENVIRONMENT, clock=clock
        ) as gateway,
    ):
        alerting, inbox.status = gateway.gateway.alerting, 503
        await spend(gateway, gateway.key(), 5)
        await alerting.turn()
        for attempt, pause in enumerate(PAUSES, start=1):
            (found,) = alerting.outbox.newest()
            assert (found.state, found.attempts, found.error) == (
                WAITING,
                attempt,
                "it answered 503",
            )
            clock.move(pause - 1)
            await alerting.turn()
            assert len(inbox.posts) == attempt
            clock.move(1)
            await alerting.turn()
            assert len(inbox.posts) == attempt + 1
        ids = {headers["x-jobgate-delivery"] for headers, _ in inbox.posts}
        assert len(ids) == len({body for _, body in inbox.posts}) == 1

        headers = {"Authorization": f"Bearer {gateway.admin_key}"}
        url = f"{gateway.url}/admin/v1/alerts"
        async with http.get(f"{url}?state=dead", headers=headers) as answer:
            told = await answer.json()
        (dead,) = told["deliveries"]
        assert (dead["id"], dead["attempts"], dead["error"]) == (*ids, 8, "it answered 503")
        assert told["counts"] == {"waiting": 0, "sent": 0, "dead": 1}

        monkeypatch.setenv("JOBGATE_DATABASE_URL", sqlite_url)
        (tmp_path / "routes.yaml").write_text(gateway.gateway.routes.text)
        monkeypatch.setenv("JOBGATE_ROUTES", str(tmp_path / "routes.yaml"))
        shown = await asyncio.to_thread(CliRunner().invoke, app, ["alerts", "dead"])
        assert dead["id"] in shown.output

        inbox.status = 200
        async with http.post(f"{url}/{dead['id']}/retry", headers=headers) as answer:
            assert answer.status == 200
        await alerting.turn()
        (found,) = alerting.outbox.newest()
        assert (found.state, found.attempts, found.error) == (SENT, 1, "")


async def test_the_command_line_brings_the_dead_back(
    provider: ScriptedProvider, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.script = ANSWER
    monkeypatch.setenv("JOBGATE_DATABASE_URL", sqlite_url)
    async with (
        an_inbox() as inbox,
        running(telling(provider.url, inbox.url), sqlite_url, environment=ENVIRONMENT) as gateway,
    ):
        alerting, outbox = gateway.gateway.alerting, gateway.gateway.alerting.outbox
        await spend(gateway, gateway.key(), 5)
        alerting.look()
        (one,) = outbox.take(alerting.now())
        outbox.failed(one, alerting.now(), "it answered 500", None)
        done = await asyncio.to_thread(CliRunner().invoke, app, ["alerts", "retry", "--all"])
        assert (done.exit_code, done.output) == (0, "1 to be tried again\n")
        await alerting.turn()
        assert len(inbox.posts) == 1
        again = await asyncio.to_thread(CliRunner().invoke, app, ["alerts", "retry", one.id])
        assert again.exit_code == 2
        assert "was given up" in again.output


async def test_what_a_dead_process_had_taken_is_delivered_by_another_with_the_same_id(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.script, clock = ANSWER, FrozenClock()
    async with (
        an_inbox() as inbox,
        running(
            telling(provider.url, inbox.url), database_url, environment=ENVIRONMENT, clock=clock
        ) as gateway,
    ):
        await spend(gateway, gateway.key(), 5)
        alerting = gateway.gateway.alerting
        alerting.look()
        (taken,) = alerting.outbox.take(clock.now())  # and then it dies
        clock.move(LEASE_SECONDS - 1)
        await alerting.turn()
        assert inbox.posts == []
        clock.move(1)
        await alerting.turn()
        assert [body["id"] for body in inbox.bodies] == [taken.id]


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_only_a_2xx_of_the_address_itself_counts(
    status: int, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = ANSWER
    async with (
        an_inbox() as inbox,
        running(telling(provider.url, inbox.url), sqlite_url, environment=ENVIRONMENT) as gateway,
    ):
        inbox.status = status
        told = await gateway.gateway.alerting.test("finance")
        assert (told.state, told.error) == (DEAD, f"it answered {status}")
        assert len(inbox.posts) == 1


QUIET = """
  quiet_hours: {starts: "20:00", ends: "07:30"}"""


async def test_quiet_hours_hold_back_what_is_not_urgent(
    provider: ScriptedProvider, database_url: str
) -> None:
    # 22:00 in Berlin, where the organisation is
    provider.script, clock = ANSWER, FrozenClock("2026-11-02T21:00:00+00:00")
    routes = telling(provider.url, "HOOK", more=QUIET)
    async with an_inbox() as inbox:
        routes = routes.replace("HOOK", inbox.url, 1).replace(inbox.url + "_SECRET", "HOOK_SECRET")
        async with running(routes, database_url, environment=ENVIRONMENT, clock=clock) as gateway:
            key, alerting = gateway.key(), gateway.gateway.alerting
            await spend(gateway, key, 8)
            await alerting.turn()
            assert inbox.posts == []
            (held,) = alerting.outbox.newest()
            assert to_text(held.due_at) == "2026-11-03T06:30:00.000000Z"
            await spend(gateway, key, 2)
            await alerting.turn()
            assert [one["facts"]["threshold_percent"] for one in inbox.bodies] == [100]
            clock.move(9.5 * 3600 - 1)
            await alerting.turn()
            assert len(inbox.posts) == 1
            clock.move(1)
            await alerting.turn()
            assert [one["facts"]["threshold_percent"] for one in inbox.bodies] == [100, 80]


async def test_slack_gets_a_text_in_which_nothing_is_taken_for_a_link(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = ANSWER
    budgets = BUDGETS.replace("fin@x.com", '"<ask> & wait"')
    async with an_inbox() as inbox:
        routes = telling(provider.url, inbox.url, budgets=budgets)
        routes = routes.replace("kind: webhook", "kind: slack")
        routes = routes.replace(f'url: "{inbox.url}", secret_env: HOOK_SECRET', "url_env: SLACK")
        environment = {**ENVIRONMENT, "SLACK": inbox.url}
        async with running(routes, sqlite_url, environment=environment) as gateway:
            await spend(gateway, gateway.key(), 5)
            await gateway.gateway.alerting.turn()
        ((headers, body),) = inbox.posts
    assert "x-jobgate-signature" not in headers
    told = json.loads(body)
    assert told.keys() == {"text"}
    assert told["text"].startswith("*Budget brands of brand: 50 % is spent*\n")
    assert "Ask &lt;ask&gt; &amp; wait for more." in told["text"]


MAIL = """
    mailers: {{kind: email, to: [cfo@example.com, fin@example.com]}}
  email: {{host: 127.0.0.1, port: {port}, security: none, sender: jobgate@example.com}}"""


async def test_mail_goes_to_all_who_take_it_and_says_who_did_not(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = ANSWER
    async with a_mailbox() as mailbox:
        routes = telling(
            provider.url, "http://127.0.0.1:9/hook", more=MAIL.format(port=mailbox.port)
        )
        async with running(routes, sqlite_url, environment=ENVIRONMENT) as gateway:
            alerting = gateway.gateway.alerting
            told = await alerting.test("mailers")
            assert (told.state, told.error) == (SENT, "")
            mailbox.refuses = {"fin@example.com"}
            partly = await alerting.test("mailers")
            assert partly.state == SENT
            assert partly.error == "the mail server refused 1 of the addresses"
            mailbox.refuses |= {"cfo@example.com"}
            refused = await alerting.test("mailers")
            assert refused.state == DEAD
            assert refused.error == "the mail server refused all 2 of them"
    mail = mailbox.mails[0]
    assert mailbox.recipients == [["cfo@example.com", "fin@example.com"], ["cfo@example.com"]]
    assert mail["Subject"] == "[Test] A test from Jobgate of Test"
    assert mail["Message-ID"] == f"<{told.id}@example.com>"
    assert "Nothing has happened." in mail.get_content()


async def test_a_test_can_be_asked_for_by_whoever_may_and_names_a_destination(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    async with (
        an_inbox() as inbox,
        aiohttp.ClientSession() as http,
        running(telling(provider.url, inbox.url), sqlite_url, environment=ENVIRONMENT) as gateway,
    ):

        async def press(key: str, **body: str) -> tuple[int, dict[str, str]]:
            async with http.post(
                f"{gateway.url}/admin/v1/alerts/test",
                json=body,
                headers={"Authorization": f"Bearer {key}"},
            ) as answer:
                return answer.status, await answer.json()

        finance = gateway.key(app="fin", role="finance")
        status, told = await press(finance, destination="finance")
        assert (status, told["state"], told["kind"]) == (200, "sent", "test")
        assert len(inbox.posts) == 1
        assert (await press(gateway.key(app="v", role="viewer"), destination="finance"))[0] == 403
        status, refused = await press(finance, destination="finanze")
        assert status == 404
        assert "did you mean 'finance'?" in refused["error"]["message"]  # type: ignore[index]
        status, _ = await press(finance, destination="finance", url="http://127.0.0.1:9/")
        assert status in (400, 422)
        assert len(inbox.posts) == 1


async def test_a_role_for_one_team_sees_the_alerts_of_its_team_alone(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = ANSWER
    routes = telling(provider.url, "http://127.0.0.1:9/hook")
    async with (
        aiohttp.ClientSession() as http,
        running(routes, sqlite_url, environment=ENVIRONMENT) as gateway,
    ):
        await spend(gateway, gateway.key(), 5)
        await spend(gateway, gateway.key(team="legal", app="law"), 8)
        gateway.gateway.alerting.look()
        seen = {}
        for role in ("finance@brand", "finance@legal", "viewer"):
            team = role.partition("@")[2] or "brand"
            key = gateway.key(team=team, app="by-" + role.replace("@", "-"), role=role)
            async with http.get(
                f"{gateway.url}/admin/v1/alerts", headers={"Authorization": f"Bearer {key}"}
            ) as answer:
                told = await answer.json()
            seen[role] = sorted(one["facts"]["subject"] for one in told["deliveries"])
            assert ("destinations" in told) is (role == "viewer")
    assert seen == {
        "finance@brand": ["brand"],
        "finance@legal": ["legal"],
        "viewer": ["brand", "legal"],
    }


async def test_the_command_line_sends_a_test_and_says_when_it_does_not_arrive(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBGATE_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("JOBGATE_ROUTES", str(tmp_path / "routes.yaml"))
    async with an_inbox() as inbox:
        (tmp_path / "routes.yaml").write_text(telling("http://127.0.0.1:9", inbox.url))
        command = ["alerts", "test", "finance"]
        missing = await asyncio.to_thread(CliRunner().invoke, app, command)
        assert missing.exit_code == 1
        assert "the variable HOOK_SECRET is not set" in missing.output
        monkeypatch.setenv("HOOK_SECRET", SECRET)
        sent = await asyncio.to_thread(CliRunner().invoke, app, command)
        assert sent.exit_code == 0, sent.output
        assert inbox.bodies[0]["kind"] == "test"
        unknown = await asyncio.to_thread(CliRunner().invoke, app, [*command[:2], "nobody"])
        assert unknown.exit_code == 2
        listed = await asyncio.to_thread(CliRunner().invoke, app, ["alerts", "list", "--json"])
        assert [one["state"] for one in json.loads(listed.output)] == ["sent", "dead"]
