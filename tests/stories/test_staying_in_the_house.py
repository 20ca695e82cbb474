"""A private job reaches the house alone, by every path there is, also when the house is down."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import openai
import pytest

from gateway.app import Gateway
from gateway.errors import ConfigurationError
from gateway.jobs.loading import parse
from gateway.jobs.residency import PATHS, may_reach, prove, ways
from gateway.jobs.routes import Routes
from gateway.settings import Settings
from tests.gateways import BOOK, SECRETS, routes_for, running
from tests.scripted import Script, ScriptedProvider

pytestmark = pytest.mark.anyio

QUESTION: list[Any] = [{"role": "user", "content": "Say something."}]
HOUSE = "ollama: {wire: openai"
MORE_HOUSE = """ollama:
    {wire: openai, flavour: ollama, base_url: "URL/ollama/v1", residency: on_prem}
  attic: {wire: openai, flavour: vllm, base_url: "URL/attic/v1", residency: on_prem}
  cellar: {wire: openai, flavour: llamacpp, base_url: "URL/cellar/v1", residency: on_prem}
  other: {wire: openai"""
JOBS = """
  within:
    purpose: Never leaves the house.
    owner: legal
    residency: on_prem
    targets: [ollama/llama-test, cellar/big]
    canary: {targets: [attic/new], percent: 100}
    when_short: downgrade
    wait_for_room: 0
    retries: 1
    output_tokens: {default: 1000, max: 4000}
"""
FAILURES = {
    "busy": Script(status=503, retry_after=0.01),
    "broken": Script(status=500),
    "hangs up": Script(hang_up=True),
    "refuses": Script(status=400, error="no"),
    "not found": Script(status=404),
}


def house(url: str, budgets: str = "") -> str:
    """Rules with three providers in the house, and clouds beside them."""
    text = routes_for(url, jobs=JOBS, budgets=budgets)
    return text.replace(HOUSE, MORE_HOUSE.replace("URL", url), 1).replace(
        "models:", "models:\n  attic/new: {price: free}\n  cellar/big: {price: free}", 1
    )


def places(provider: ScriptedProvider) -> set[str]:
    """The providers that were asked, by the first part of the address."""
    return {seen.path.split("/")[1] for seen in provider.requests}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES.keys())
@pytest.mark.parametrize("stream", [False, True])
async def test_when_the_whole_house_fails_the_job_does_and_nothing_goes_elsewhere(
    failure: Script, stream: bool, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = failure
    async with running(house(provider.url), sqlite_url) as gateway:
        with pytest.raises(openai.APIStatusError):
            await gateway.client().chat.completions.create(
                model="within", messages=QUESTION, stream=stream
            )
        assert all(entry["residency"] == "on_prem" for entry in gateway.entries())
        egress = gateway.gateway.metrics.egress.totals
    assert places(provider) <= {"attic", "ollama", "cellar"}
    assert "attic" in places(provider), "the canary was tried"
    assert {(job, where) for job, _provider, where in egress} == {("within", "on_prem")}


async def test_a_redirect_does_not_lead_out(provider: ScriptedProvider, sqlite_url: str) -> None:
    outside = f"{provider.url}/openai/v1/chat/completions"
    provider.script = Script(status=307, headers=(("Location", outside),))
    async with running(house(provider.url), sqlite_url) as gateway:
        with pytest.raises(openai.APIStatusError):
            await gateway.client().chat.completions.create(model="within", messages=QUESTION)
    assert provider.requests
    assert "openai" not in places(provider)


async def test_a_downgrade_for_want_of_money_stays_in_the_house(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    budgets = "\n  tiny: {scope: {job: within}, limit: 0.000001 USD, period: month}"
    text = house(provider.url, budgets).replace(
        "attic/new: {price: free}", "attic/new: {price: {input: 5, output: 9}}"
    )
    async with running(text, sqlite_url) as gateway:
        raw = await gateway.client().chat.completions.with_raw_response.create(
            model="within", messages=QUESTION
        )
    assert raw.headers["x-jobgate-target"] == "cellar/big"
    assert places(provider) == {"cellar"}


def test_every_way_of_a_job_is_one_of_the_known_paths(tmp_path: Path) -> None:
    routes = parse(house("http://127.0.0.1:1"), "routes.yaml", BOOK, SECRETS)
    found = {(path, target.name) for path, target in ways(routes.jobs["within"])}
    assert found == {
        ("target", "ollama/llama-test"),
        ("fallback", "cellar/big"),
        ("canary", "attic/new"),
        ("fallback", "ollama/llama-test"),
    } | {("fallback", "cellar/big")}
    assert {path for path, _target in found} <= set(PATHS)


@pytest.mark.parametrize("path", PATHS)
def test_words_stay_in_the_house_on_every_path_and_figures_may_be_told(path: str) -> None:
    assert may_reach("on_prem", "on_prem", PATHS[path])
    assert may_reach("any", "cloud", PATHS[path])
    assert may_reach("on_prem", "cloud", PATHS[path]) is (PATHS[path] == "figures")


def tampered(routes: Routes, where: str) -> Routes:
    """The same rules with a cloud in the private job: no file can say this."""
    cloud = routes.jobs["extraction"].targets[0]
    job = routes.jobs["within"]
    canary = job.canary
    assert canary is not None
    changed = {
        "target": replace(job, targets=(cloud, *job.targets)),
        "fallback": replace(job, targets=(*job.targets, cloud)),
        "canary": replace(job, canary=replace(canary, own=(cloud,))),
    }[where]
    jobs = {**routes.jobs, "within": changed}
    named = {name: jobs[found.name] for name, found in routes.named.items()}
    return replace(routes, jobs=MappingProxyType(jobs), named=MappingProxyType(named))


@pytest.mark.parametrize("where", ["target", "fallback", "canary"])
def test_rules_that_did_not_come_from_a_file_are_held_to_it_too(
    where: str, sqlite_url: str
) -> None:
    routes = tampered(parse(house("http://127.0.0.1:1"), "routes.yaml", BOOK, SECRETS), where)
    with pytest.raises(ConfigurationError) as refusal:
        prove(routes)
    way = "" if where == "target" else f"{where} -> "
    said = f"within -> {way}openai/gpt-test -> provider openai (residency: cloud)"
    assert said in refusal.value.problems[0]
    with pytest.raises(ConfigurationError):
        Gateway(
            Settings(routes=Path("routes.yaml"), database_url=sqlite_url),
            routes,
            BOOK,
            environment=SECRETS,
            announce=print,
        )


async def test_even_rules_that_are_changed_while_they_are_live_send_nothing_out(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    async with running(house(provider.url), sqlite_url) as gateway:
        pipeline = gateway.gateway._live.pipeline
        pipeline.routes = tampered(pipeline.routes, "canary")
        with pytest.raises(openai.InternalServerError, match="cannot reach a cloud"):
            await gateway.client().chat.completions.create(model="within", messages=QUESTION)
        assert gateway.entries() == []
    assert provider.requests == []
