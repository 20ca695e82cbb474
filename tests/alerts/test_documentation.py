"""What docs/alerts.md says is so: its example loads, and its check of signatures works."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.alerts.outbox import PAUSES
from gateway.clock import SystemClock
from gateway.jobs.alert_rules import KINDS, THRESHOLDS
from tests.alerts.receiving import an_inbox
from tests.alerts.telling import ENVIRONMENT, SECRET, telling
from tests.gateways import running
from tests.jobs.samples import SMALL, loaded

pytestmark = pytest.mark.anyio

PAGE = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text("utf-8")
(SNIPPET,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(EXAMPLE,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def verifier() -> Callable[[str, dict[str, str], bytes], bool]:
    names: dict[str, Callable[[str, dict[str, str], bytes], bool]] = {}
    exec(SNIPPET, names)
    return names["is_from_jobgate"]


async def test_the_check_of_the_documentation_takes_what_is_ours_and_nothing_else(
    sqlite_url: str,
) -> None:
    async with an_inbox() as inbox:
        routes = telling("http://127.0.0.1:9", inbox.url)
        async with running(
            routes, sqlite_url, environment=ENVIRONMENT, clock=SystemClock()
        ) as gateway:
            await gateway.gateway.alerting.test("finance")
        ((headers, body),) = inbox.posts
    is_ours = verifier()
    assert is_ours(SECRET, headers, body)
    assert not is_ours("another secret", headers, body)
    assert not is_ours(SECRET, headers, body + b" ")
    later = str(int(headers["x-jobgate-timestamp"]) + 1)
    assert not is_ours(SECRET, {**headers, "x-jobgate-timestamp": later}, body)
    old = str(int(headers["x-jobgate-timestamp"]) - 301)
    assert not is_ours(SECRET, {**headers, "x-jobgate-timestamp": old}, body)


def test_the_example_loads() -> None:
    base = SMALL[: SMALL.index("budgets:")]
    environment = dict.fromkeys(("FINANCE_HOOK_SECRET", "SMTP_PASSWORD"), "x")
    environment["SLACK_WEBHOOK_URL"] = "https://hooks.slack.com/services/T/B/X"
    rules = loaded(base + EXAMPLE, environment)
    assert list(rules.alerts.destinations) == ["finance", "chat", "cfo"]
    assert rules.alerts.telling.thresholds == THRESHOLDS
    assert rules.alerts.of_budget("brand").thresholds == (70, 90, 100)


def test_everything_that_can_be_told_is_in_the_table() -> None:
    assert re.findall(r"^\| `(\w+)` \| .* \| once", PAGE, re.MULTILINE) == list(KINDS)


def test_the_pauses_are_those_of_the_program() -> None:
    minute, hour = 60, 3600
    told = (30, 2 * minute, 10 * minute, 30 * minute, hour, 3 * hour, 6 * hour)
    assert "30 seconds, 2, 10 and 30 minutes, 1, 3 and 6 hours" in PAGE
    assert told == PAUSES
