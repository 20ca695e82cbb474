"""A job's policies for parameters, through the real clients: the provider is sent what the job
allows, and the caller and the books are told what was changed."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest

from tests.gateways import routes_for, running
from tests.scripted import Script, ScriptedProvider

pytestmark = pytest.mark.anyio

QUESTION: list[Any] = [{"role": "user", "content": "Say something."}]
SCHEMA = "{type: json_schema, json_schema: {name: bill, schema: {type: object}}}"
JOBS = f"""
  strict:
    purpose: The same for everybody.
    owner: data
    targets: [openai/gpt-test]
    output_tokens: {{pin: 300}}
    temperature: {{pin: 0.2}}
    top_p: {{max: 0.5}}
    n: {{pin: 1}}
    seed: {{default: 7}}
    tools: {{allow: [function]}}
    response_format: {{pin: {SCHEMA}}}
  letters:
    purpose: In the words of Anthropic.
    owner: data
    targets: [anthropic/claude-test]
    output_tokens: {{max: 400}}
    top_p: drop
    reasoning_effort: {{max: low}}
    tools: refuse
"""
LOOK_UP: Any = {"type": "function", "function": {"name": "look_up", "parameters": {}}}
SEARCH: Any = {"type": "web_search", "search": {}}


async def test_a_chat_is_sent_as_the_job_allows_and_told_so_in_header_and_entry(
    provider: ScriptedProvider, database_url: str
) -> None:
    provider.script = Script(text="Done", input=10, output=2)
    async with running(routes_for(provider.url, jobs=JOBS), database_url) as gateway:
        raw = await gateway.client().chat.completions.with_raw_response.create(
            model="strict",
            messages=QUESTION,
            temperature=0.9,
            top_p=0.8,
            n=3,
            max_tokens=50,
            tools=[LOOK_UP, SEARCH],
        )
        (entry,) = gateway.entries(raw.headers["x-jobgate-request-id"])
    (seen,) = provider.requests
    assert (seen.body["temperature"], seen.body["top_p"], seen.body["n"]) == (0.2, 0.5, 1)
    assert (seen.body["max_tokens"], seen.body["seed"]) == (300, 7)
    assert seen.body["tools"] == [LOOK_UP]
    assert seen.body["response_format"]["json_schema"]["name"] == "bill"
    assert raw.headers["x-jobgate-changed"] == (
        "top_p=0.8->0.5 (job maximum); n=3->1 (job pin); tools of type 'web_search' dropped (the"
        " job takes function); max_tokens=50->300 (job pin); temperature=0.9->0.2 (job pin)"
    )
    assert entry["changed"] == raw.headers["x-jobgate-changed"]


async def test_what_the_job_adds_to_a_request_is_held_for_too(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    long = SCHEMA.replace("object}", "object, description: " + "word " * 400 + "}")
    provider.script = Script(text="Done", input=500, output=2)
    async with running(
        routes_for(provider.url, jobs=JOBS.replace(SCHEMA, long)), sqlite_url
    ) as gateway:
        await gateway.client().chat.completions.create(model="strict", messages=QUESTION)
        (entry,) = gateway.entries()
    assert entry["ceiling_nanos"] > entry["amount_nanos"] >= 500 * 2_500


async def test_a_response_is_held_to_the_same(provider: ScriptedProvider, sqlite_url: str) -> None:
    async with running(routes_for(provider.url, jobs=JOBS), sqlite_url) as gateway:
        raw = await gateway.client().responses.with_raw_response.create(
            model="strict", input="Say something.", temperature=1, top_p=1, tools=[SEARCH]
        )
        (entry,) = gateway.entries(raw.headers["x-jobgate-request-id"])
    (seen,) = provider.requests
    assert (seen.body["temperature"], seen.body["top_p"]) == (0.2, 0.5)
    assert seen.body["max_output_tokens"] == 300
    assert seen.body["text"]["format"]["name"] == "bill"
    assert "tools" not in seen.body
    assert "seed" not in seen.body
    for told in ("top_p=1->0.5", "tools dropped (the job takes function)", "temperature=1->0.2"):
        assert told in raw.headers["x-jobgate-changed"]
    assert entry["changed"] == raw.headers["x-jobgate-changed"]


async def test_messages_are_held_to_the_same(provider: ScriptedProvider, sqlite_url: str) -> None:
    async with running(routes_for(provider.url, jobs=JOBS), sqlite_url) as gateway:
        asked = {"model": "letters", "messages": QUESTION, "max_tokens": 900, "top_p": 0.4}
        effort = {"output_config": {"effort": "high"}}
        headers = {"x-api-key": gateway.key()}
        async with httpx.AsyncClient(base_url=gateway.url, headers=headers) as http:
            answer = await http.post("/v1/messages", json=asked | effort)
            refused = await http.post("/v1/messages", json=asked | {"tools": [{"name": "x"}]})
        (entry,) = gateway.entries()
    (seen,) = provider.requests
    assert answer.status_code == 200, answer.text
    assert (seen.body["max_tokens"], seen.body["output_config"]) == (400, {"effort": "low"})
    assert "top_p" not in seen.body
    assert (
        answer.headers["x-jobgate-changed"]
        == entry["changed"]
        == (
            "top_p dropped (job policy); output_config.effort=high->low (job maximum);"
            " max_tokens=900->400 (job limit)"
        )
    )
    assert refused.status_code == 400
    assert "does not take tools of type 'function'" in refused.json()["error"]["message"]


async def test_a_refusal_names_the_field_and_costs_nothing(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    async with running(routes_for(provider.url, jobs=JOBS), sqlite_url) as gateway:
        with pytest.raises(openai.BadRequestError) as refusal:
            await gateway.client().chat.completions.create(
                model="letters", messages=QUESTION, tools=[LOOK_UP]
            )
        assert gateway.entries() == []
    assert refusal.value.param == "tools"
    assert provider.requests == []
