"""A canary gets its part of the traffic, always the same part, and never lets a caller down."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import openai
import pytest
from typer.testing import CliRunner

from gateway.cli.commands import app
from gateway.clock import SystemClock
from gateway.insight.canaries import NEW, OLD, look_at, told
from tests.gateways import RunningGateway, routes_for, running
from tests.scripted import Script, ScriptedProvider

pytestmark = pytest.mark.anyio

QUESTION: list[Any] = [{"role": "user", "content": "Say something."}]
HOUR = 3_600_000_000


def a_job(canary: str, more: str = "") -> str:
    """A job with a canary."""
    return f"""
  tried:
    purpose: Somebody tries a cheaper model.
    owner: data
    targets: [openai/gpt-test]
    output_tokens: {{default: 1000, max: 4000}}
    retries: 0
    tags: [run]
    canary: {canary}
    {more}
"""


SPARE = "{targets: [openai/gpt-spare], percent: 100}"
BY_RUN = "{targets: [openai/gpt-spare], percent: 50, sticky: {tag: run}}"


async def ask(client: openai.AsyncOpenAI, run: str = "", **more: Any) -> Any:
    """One answer for a run, with its headers."""
    headers = {"X-Jobgate-Tags": f"run={run}"} if run else {}
    return await client.chat.completions.with_raw_response.create(
        model="tried", messages=QUESTION, extra_headers=headers, **more
    )


async def test_a_request_of_a_canary_says_so_in_header_and_entry(
    provider: ScriptedProvider, database_url: str
) -> None:
    routes = routes_for(provider.url, jobs=a_job(SPARE))
    async with running(routes, database_url) as gateway:
        raw = await ask(gateway.client())
        (entry,) = gateway.entries()
    note = "canary (100% by app): openai/gpt-spare in place of openai/gpt-test"
    assert raw.headers["x-jobgate-target"] == entry["target"] == "openai/gpt-spare"
    assert raw.headers["x-jobgate-changed"] == entry["changed"] == note
    assert provider.requests[0].body["model"] == "gpt-spare"


async def test_a_run_stays_on_its_side_and_both_sides_are_used(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    routes = routes_for(provider.url, jobs=a_job(BY_RUN))
    async with running(routes, sqlite_url) as gateway:
        clients = gateway.client(), gateway.client(gateway.key(team="data", app="other"))
        seen: dict[str, set[str]] = {}
        for _round in range(2):
            for number in range(16):
                for client in clients:
                    raw = await ask(client, f"r-{number}")
                    seen.setdefault(f"r-{number}", set()).add(raw.headers["x-jobgate-target"])
        untagged = await ask(clients[0])
    assert all(len(targets) == 1 for targets in seen.values())
    sides = Counter(target for targets in seen.values() for target in targets)
    assert set(sides) == {"openai/gpt-test", "openai/gpt-spare"}
    assert untagged.headers["x-jobgate-target"] == "openai/gpt-test"
    assert "x-jobgate-changed" not in untagged.headers


@pytest.mark.parametrize(
    "failing",
    [Script(status=503), Script(status=400, error="no such parameter"), Script(hang_up=True)],
    ids=["busy", "refuses", "hangs up"],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_canary_cannot_do_the_old_targets_do(
    failing: Script, stream: bool, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.by_model["gpt-spare"] = failing
    async with running(routes_for(provider.url, jobs=a_job(SPARE)), sqlite_url) as gateway:
        raw = await ask(gateway.client(), stream=stream)
        if stream:
            async for _chunk in raw.parse():
                pass
        entries = gateway.entries()
    assert raw.status_code == 200
    assert raw.headers["x-jobgate-target"] == "openai/gpt-test"
    assert raw.headers["x-jobgate-changed"] == "after canary (100% by app) did not answer"
    assert [entry["target"] for entry in entries] == ["openai/gpt-spare", "openai/gpt-test"]
    assert entries[1]["outcome"] == "ok"


@pytest.mark.parametrize(
    "canary", ["openai/gpt-unpriced", "openai/gpt-small"], ids=["no price", "too small"]
)
async def test_a_canary_that_we_refuse_ourselves_is_passed_over_too(
    canary: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    jobs = a_job(f"{{targets: [{canary}], percent: 100}}")
    small = "models:\n  openai/gpt-small: {price: free, context_window: 100}"
    routes = routes_for(provider.url, jobs=jobs).replace("models:", small, 1)
    async with running(routes, sqlite_url) as gateway:
        raw = await ask(gateway.client())
    assert raw.headers["x-jobgate-target"] == "openai/gpt-test"
    assert len(provider.requests) == 1


async def test_when_the_old_targets_refuse_as_well_the_caller_is_told(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(status=400, error="your prompt makes no sense")
    async with running(routes_for(provider.url, jobs=a_job(SPARE)), sqlite_url) as gateway:
        with pytest.raises(openai.BadRequestError, match="your prompt makes no sense"):
            await ask(gateway.client())


async def traffic(gateway: RunningGateway, runs: int, each: int) -> None:
    """So many runs of so many requests."""
    client = gateway.client()
    for number in range(runs):
        for _request in range(each):
            await ask(client, f"r-{number}")


async def test_the_report_compares_both_sides_by_run(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.by_model["gpt-test"] = Script(text="A long answer", input=100, output=40)
    provider.by_model["gpt-spare"] = Script(text="Short", input=100, output=10)
    async with running(routes_for(provider.url, jobs=a_job(BY_RUN)), database_url) as gateway:
        await ask(gateway.client())  # before it, and without a run
        await traffic(gateway, runs=32, each=4)
        now = SystemClock().now()
        database, org = gateway.gateway.database, gateway.gateway.settings.org
        trial = look_at(database, org, "tried", now - HOUR, now + HOUR)
        assert look_at(database, org, "extraction", now - HOUR, now + HOUR) is None
    assert trial is not None
    assert trial.by == "run"
    assert sum(side.requests for side in trial.sides.values()) <= 128
    assert list(trial.sides[OLD].targets) == ["openai/gpt-test"]
    assert trial.sides[NEW].targets == {"openai/gpt-spare": trial.sides[NEW].requests}
    found = {measure["name"]: measure for measure in told(trial)["measures"]}
    old, new = 100 * 2_500 + 40 * 10_000, 100 * 1_000 + 10 * 4_000
    assert (found["cost"]["old"], found["cost"]["new"]) == (old, new)
    assert found["cost"]["in_words"].startswith("cost: $0.510000 less per 1,000 requests")
    assert found["length"]["differs"]
    assert found["length"]["in_words"] == (
        "length: 30.0 tokens less (between 30.0 tokens and 30.0 tokens)"
    )
    assert found["failures"]["differs"] is None
    assert "none on both sides together" in found["failures"]["in_words"]
    assert found["time"]["old"] > 0


async def test_a_failure_that_the_old_targets_made_good_is_the_canarys_all_the_same(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.by_model["gpt-spare"] = Script(status=503)
    async with running(routes_for(provider.url, jobs=a_job(BY_RUN)), sqlite_url) as gateway:
        await traffic(gateway, runs=32, each=2)
        now = SystemClock().now()
        trial = look_at(gateway.gateway.database, "main", "tried", now - HOUR, now + HOUR)
    assert trial is not None
    found = {measure.name: measure.difference for measure in trial.measures}
    assert (found["failures"].old, found["failures"].new) == (0.0, 1.0)
    assert found["time"].new is None, "no answer of its own"


async def test_the_command_says_what_can_be_said(
    provider: ScriptedProvider, sqlite_url: str, tmp_path: Any
) -> None:
    written = routes_for(provider.url, jobs=a_job(SPARE))
    (tmp_path / "routes.yaml").write_text(written)
    places = ["--routes", str(tmp_path / "routes.yaml"), "--database-url", sqlite_url]

    def report(*more: str) -> str:
        found = CliRunner().invoke(app, ["canary", "tried", *places, *more])
        assert found.exit_code == 0, found.output
        return found.output

    assert "No request of job tried went to a canary" in report()
    assert json.loads(report("--format", "json")) is None
    async with running(written, sqlite_url) as gateway:
        await ask(gateway.client())
    said = report()
    assert "Canary of tried (now 100% by app)" in said
    assert "new: 1 requests of 1 apps; asked openai/gpt-spare 1" in said
    assert "too little to tell (1 app on the new side, at least 8 needed)" in said
    assert "a canary that is sticky by a tag" in said
    whole = json.loads(report("--format", "json"))
    assert whole["sides"]["new"]["targets"] == {"openai/gpt-spare": 1}
    wrong = CliRunner().invoke(app, ["canary", "treid", *places])
    assert wrong.exit_code == 2
    assert "did you mean 'tried'?" in wrong.output
