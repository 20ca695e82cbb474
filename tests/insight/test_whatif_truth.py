"""What-if against the truth: traffic is recorded, replayed through another file, and then sent
again to a gateway that really runs that file. Both come to the same, to the nano."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest

from gateway.insight.differences import refusals, total
from gateway.insight.placing import NO_JOB, WINDOW
from gateway.insight.whatif import Question, WhatIf, ask
from gateway.jobs.files import Files
from gateway.ledger.queries import Range
from tests.gateways import RunningGateway, routes_for, running
from tests.scripted import Script, ScriptedProvider
from tests.stories.changing import rules_of
from tests.treasury.booking import opening

pytestmark = pytest.mark.anyio

LONG = "word " * 4_000
MORE_JOBS = """
  doomed:
    purpose: Is gone in the new file.
    owner: data
    targets: [openai/gpt-spare]
    output_tokens: {default: 100, max: 400}
  tiered:
    purpose: Long requests cost more.
    owner: data
    targets: [openai/gpt-tiered]
    output_tokens: {default: 100, max: 400}
  tried:
    purpose: Gets a canary.
    owner: data
    targets: [openai/gpt-spare]
    output_tokens: {default: 100, max: 400}
    tags: [run]
    retries: 0
  unsteady:
    purpose: Its first target is down.
    owner: data
    targets: [openai/gpt-down, openai/gpt-spare]
    output_tokens: {default: 100, max: 400}
    retries: 0
  long:
    purpose: Long requests that will not fit.
    owner: data
    targets: [openai/gpt-spare]
    output_tokens: {default: 100, max: 400}
"""
MORE_MODELS = """models:
  openai/gpt-small: {price: {input: 0.7, output: 3}, context_window: 2000}
  openai/gpt-down: {price: {input: 0.9, output: 3}}
  openai/gpt-tiered:
    price:
      input: 1
      output: 3
      cache_read: 0.1
      tiers: [{above: 40000, input: 2, output: 4.5, cache_read: 0.2}]
"""


def old_file(provider: ScriptedProvider, budgets: str = "") -> str:
    text = routes_for(provider.url, jobs=MORE_JOBS, budgets=budgets)
    return text.replace("models:\n", MORE_MODELS, 1)


def new_file(provider: ScriptedProvider, budgets: str = "") -> str:
    """Another target, another price, a lower limit, another fallback, another name."""
    text = old_file(provider, budgets)
    changes = {
        "targets: [openai/gpt-test]\n": "targets: [anthropic/claude-test]\n",
        "gemini/gemini-test: {price: {input: 0.3": "gemini/gemini-test: {price: {input: 0.31",
        "targets: [mistral/mistral-test]\n    output_tokens: {default: 1000, max: 4000}": (
            "targets: [mistral/mistral-test]\n    output_tokens: {default: 100, max: 333}"
        ),
        "[openai/gpt-down, openai/gpt-spare]": "[openai/gpt-down, mistral/mistral-test]",
        "  private:\n": "  indoors:\n",
        "aliases: {": "aliases: {private: indoors, ",
        "above: 40000, input: 2,": "above: 40000, input: 2.3,",
        "  doomed:\n": "  saved:\n",
        "gpt-4o: extraction": "gpt-4o: narrative",
        "Gets a canary.\n": "Gets a canary.\n    canary: "
        "{targets: [openai/gpt-small], percent: 50, sticky: {tag: run}}\n",
        "will not fit.\n    owner: data\n    targets: [openai/gpt-spare]": (
            "will not fit.\n    owner: data\n    targets: [openai/gpt-small]"
        ),
    }
    for old, new in changes.items():
        assert text.count(old) >= 1, old
        text = text.replace(old, new)
    return text


@dataclass(frozen=True)
class Ask:
    """One request, and the usage of its answer: by the new file too, unless `later` says so."""

    job: str
    script: Script
    team: str = "brand"
    later: Script | None = None
    prompt: str = "Say something."
    limit: int | None = None
    run: str = ""
    stream: bool = False


def traffic() -> list[Ask]:
    asks = []
    for n in range(1, 8):  # odd numbers of tokens: most amounts have to be rounded
        usage = {"input": 101 * n + 1, "cache_read": 7 * n, "output": 13 * n}
        team = "brand" if n % 2 else "data"
        asks += [
            Ask("extraction", Script(text="ok", **usage), team),
            Ask("gpt-4o", Script(text="one two", **usage), team, stream=True),
            Ask("workspace", Script(text="ok", **usage, reasoning=n), team),
            Ask("unsteady", Script(text="ok", input=33 * n, output=n), team),
            Ask("tried", Script(text="ok", input=33 * n, output=n), team, run=f"run-{n}"),
            Ask("private", Script(text="ok", input=10**5 * n + 1, output=5), team),
            Ask("narrative", Script(text="ok", **usage, cache_write=n, cache_write_1h=n + 2), team),
        ]
    return [
        *asks,
        Ask("tiered", Script(text="ok", input=40_000, output=333)),
        Ask("tiered", Script(text="ok", input=39_999, cache_read=2, output=333)),
        Ask("volume", Script(text="ok", input=51, output=333)),
        Ask(
            "volume",
            Script(text="ok", input=51, output=3_999),
            later=Script(text="ok", input=51, output=333),
            limit=4_000,
        ),
        Ask("doomed", Script(text="ok", input=51, output=17)),
        Ask("long", Script(text="ok", output=3), prompt=LONG),
        Ask("long", Script(text="ok", output=3)),
        Ask("narrative", Script(text="nobody told", omit_usage=True), stream=True),
    ]


async def send(
    gateway: RunningGateway, provider: ScriptedProvider, asks: Sequence[Ask], *, later: bool
) -> list[int]:
    """Send them one after the other; the places of those that were refused."""
    clients = {team: gateway.client(gateway.key(team=team, app=team)) for team in ("brand", "data")}
    provider.by_model["gpt-down"] = Script(status=503)
    refused = []
    for place, one in enumerate(asks):
        script = one.later if later and one.later is not None else one.script
        provider.script = script
        messages: Any = [{"role": "user", "content": one.prompt}]
        fields: Any = {} if one.limit is None else {"max_tokens": one.limit}
        fields["extra_headers"] = {"X-Jobgate-Tags": f"run={one.run}"} if one.run else {}
        create = clients[one.team].chat.completions.create
        try:
            if one.stream:
                async for _ in await create(
                    model=one.job, messages=messages, stream=True, **fields
                ):
                    pass
            else:
                await create(model=one.job, messages=messages, **fields)
        except openai.APIStatusError as error:
            assert error.status_code in (404, 413)
            refused.append(place)
    return refused


def booked(gateway: RunningGateway) -> dict[tuple[str, str, str], int]:
    """Nano-dollars by team, job and target."""
    found: dict[tuple[str, str, str], int] = defaultdict(int)
    for row in gateway.entries():
        found[row["team"], row["job"], row["target"]] += row["amount_nanos"]
    return {key: nanos for key, nanos in found.items() if nanos}


def replayed(found: WhatIf) -> dict[tuple[str, str, str], int]:
    """The same as the replay has it."""
    made: dict[tuple[str, str, str], int] = defaultdict(int)
    for group, sums in found.tally.groups.items():
        made[group.team, group.new_job, group.new_target] += sums.replayed
    return {key: nanos for key, nanos in made.items() if nanos}


def what_if(url: str, text: str, folder: Path, processes: int = 1) -> WhatIf:
    """All that is in the books, by another file."""
    path = folder / "new.yaml"
    path.write_text(text)
    files = Files.at(path)
    rules_of(files)
    everything = Range(0, 2**61)
    with opening(url) as database:
        question = Question(files, everything, processes)
        return ask(database, "main", rules_of, question, lambda _so_far, _all: None)


async def test_a_replay_comes_to_what_the_new_file_really_costs(
    provider: ScriptedProvider, database_url: str, tmp_path: Path
) -> None:
    asks = traffic()
    async with running(old_file(provider), database_url) as old:
        assert await send(old, provider, asks, later=False) == []
        before = booked(old)
    found = what_if(database_url, new_file(provider), tmp_path)
    async with running(new_file(provider), f"sqlite:///{tmp_path}/truth.db") as new:
        refused = await send(new, provider, asks, later=True)
        truth = booked(new)

    assert replayed(found) == truth
    assert total(found.tally).booked == sum(before.values())
    assert [asks[place].job for place in refused] == ["doomed", "long"]
    told = {why: sums.requests for why, sums in refusals(found.tally).items()}
    assert told == {("doomed", NO_JOB): 1, ("long", f"{WINDOW} of openai/gpt-small"): 1}
    assert total(found.tally).requests == len(asks)


async def test_the_file_that_is_live_makes_no_difference(
    provider: ScriptedProvider, database_url: str, tmp_path: Path
) -> None:
    async with running(old_file(provider), database_url) as gateway:
        await send(gateway, provider, traffic(), later=False)
        before = booked(gateway)
    found = what_if(database_url, old_file(provider), tmp_path)
    assert replayed(found) == before
    assert all(sums.booked == sums.replayed for sums in found.tally.groups.values())
    assert found.hits == ()
    assert found.defaults == {}
    assert refusals(found.tally) == {}


BUDGETS = """
  each-team: {scope: each team, limit: 0.003 USD, period: month, enforce: warn}
  all-tokens: {scope: organisation, limit: 100000 tokens, period: day, enforce: warn}
  one-job: {scope: {job: extraction}, limit: 5 requests, period: hour, enforce: warn}
  roomy: {scope: organisation, limit: 1000 USD, period: year}
"""


async def test_a_budget_is_hit_by_what_the_new_file_really_charges_to_it(
    provider: ScriptedProvider, database_url: str, tmp_path: Path
) -> None:
    asks = traffic()
    async with running(old_file(provider), database_url) as old:
        await send(old, provider, asks, later=False)
    found = what_if(database_url, new_file(provider, BUDGETS), tmp_path)
    async with running(new_file(provider, BUDGETS), f"sqlite:///{tmp_path}/truth.db") as new:
        await send(new, provider, asks, later=True)
        truth = {key: row["spent"] for key, row in new.balances().items()}

    charged = {(hit.budget.name, hit.subject): hit.charged for hit in found.hits}
    assert charged == {key: truth[key] for key in charged}
    assert set(charged) == {
        ("each-team", "brand"),
        ("each-team", "data"),
        ("all-tokens", ""),
        ("one-job", "extraction"),
    }
    assert {key for key, spent in truth.items() if key[0] == "roomy" and spent} == {("roomy", "")}
