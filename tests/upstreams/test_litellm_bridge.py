"""Providers that LiteLLM speaks for: the same answers, the same errors, the same bill.

The scripted provider speaks four native formats; what it charges is compared with the books.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from typing import Any

import httpx
import openai
import pytest

from gateway.upstreams.litellm_loading import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # read when litellm is imported

import litellm

from gateway.errors import (
    UpstreamBroken,
    UpstreamBusy,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimedOut,
)
from gateway.jobs.loading import parse
from gateway.metering.usage import TOKEN_CLASSES
from gateway.upstreams.http import Pool
from gateway.upstreams.litellm_bridge import as_ours
from gateway.upstreams.litellm_transport import Sending
from tests.gateways import BOOK, SECRETS, RunningGateway, running
from tests.scripted import Script, ScriptedProvider

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:Item .* on TypedDict class .* `ReadOnly`:UserWarning"),
    pytest.mark.filterwarnings(
        "ignore:Accessing the 'model_(computed_)?fields':DeprecationWarning"
    ),
]

QUESTION = [{"role": "user", "content": "Say something."}]
ROUTES = """
version: 1
organisation: {{name: Test, time_zone: Europe/Berlin}}
providers:
{providers}
models:
  anthropic/a-test:
    price: {{input: 3, cache_read: 0.3, cache_write: 3.75, cache_write_1h: 6, output: 15}}
  gemini/g-test: {{price: {{input: 0.3, cache_read: 0.03, output: 2.5}}}}
  mistral/m-test: {{price: {{input: 0.1, cache_read: 0.05, output: 0.3}}}}
  openai/o-test: {{price: {{input: 2.5, cache_read: 1.25, output: 10}}}}
jobs:
{jobs}
budgets: {{}}
"""
PROVIDER = """
  {name}:
    wire: litellm
    litellm_provider: {name}
    base_url: "{url}/{name}{version}"
    api_key_env: {variable}_API_KEY
    headers: {{X-Team: brand}}
"""
JOB = """
  {name}:
    purpose: Test.
    owner: data
    targets: [{name}/{letter}-test]
    output_tokens: {{default: 1000, max: 4000}}
    on_disconnect: {on_disconnect}
    timeouts: {{first_byte: {patience}, idle: {patience}, total: 30}}
    retries: 0
"""
JOBS = ("anthropic", "gemini", "mistral", "openai")
each_job = pytest.mark.parametrize("job", JOBS)
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])


def routes(url: str, *, patience: float = 10.0, on_disconnect: str = "drain") -> str:
    providers = [
        PROVIDER.format(
            name=name,
            url=url,
            variable=name.upper(),
            version="/v1" if name in ("mistral", "openai") else "",
        )
        for name in JOBS
    ]
    jobs = [
        JOB.format(name=name, letter=name[0], patience=patience, on_disconnect=on_disconnect)
        for name in JOBS
    ]
    return ROUTES.format(providers="".join(providers), jobs="".join(jobs))


async def ask(
    gateway: RunningGateway, job: str, *, stream: bool = False, **more: Any
) -> tuple[str, Any]:
    """The text of an answer, and its raw response."""
    more = {"messages": QUESTION, **more}
    completions = gateway.client().chat.completions
    raw = await completions.with_raw_response.create(model=job, stream=stream, **more)
    if not stream:
        return raw.parse().choices[0].message.content, raw
    chunks = [chunk async for chunk in raw.parse()]
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices), raw


USED = {
    "anthropic": {
        "input": 100,
        "cache_read": 2000,
        "cache_write": 300,
        "cache_write_1h": 50,
        "output": 7,
        "reasoning": 3,
    },
    "gemini": {"input": 100, "cache_read": 2000, "output": 7, "reasoning": 3},
    "mistral": {"input": 100, "cache_read": 2000, "output": 7},
    "openai": {"input": 100, "cache_read": 2000, "output": 7, "reasoning": 3},
}
COST = {
    "anthropic": 100 * 3_000 + 2000 * 300 + 300 * 3_750 + 50 * 6_000 + 10 * 15_000,
    "gemini": 100 * 300 + 2000 * 30 + 10 * 2_500,
    "mistral": 100 * 100 + 2000 * 50 + 7 * 300,
    "openai": 100 * 2_500 + 2000 * 1_250 + 10 * 10_000,
}
"""What each usage costs in nano-dollars; reasoning is output unless a price says otherwise."""


@both_ways
@each_job
async def test_every_class_of_usage_is_booked_once_and_at_its_own_price(
    job: str, stream: bool, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Two words", **USED[job])
    async with running(routes(provider.url), sqlite_url) as gateway:
        text, _raw = await ask(gateway, job, stream=stream)
        (entry,) = gateway.entries()

    assert text == "Two words"
    assert {name: entry[name] for name in TOKEN_CLASSES if entry[name]} == USED[job]
    assert entry["amount_nanos"] == COST[job]
    assert (entry["quality"], entry["outcome"]) == ("reported", "ok")
    (line,) = provider.bill
    assert {name: entry[name] for name in TOKEN_CLASSES} | {"requests": 0} == line.usage


@each_job
async def test_who_asks_for_usage_gets_one_last_chunk_with_it_and_who_does_not_sees_none(
    job: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Two words", input=100, output=2)
    async with running(routes(provider.url), sqlite_url) as gateway:
        completions = gateway.client().chat.completions
        silent = await completions.create(model=job, messages=QUESTION, stream=True)
        without = [chunk async for chunk in silent]
        asking = await completions.create(
            model=job, messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
        told = [chunk async for chunk in asking]

    assert [chunk.usage for chunk in without] == [None] * len(without)
    assert without[-1].choices[0].finish_reason == "stop"
    assert [chunk for chunk in told if chunk.usage] == told[-1:]
    assert told[-1].choices == []
    assert (told[-1].usage.prompt_tokens, told[-1].usage.completion_tokens) == (100, 2)


async def test_searches_are_booked_as_requests(provider: ScriptedProvider, sqlite_url: str) -> None:
    provider.script = Script(text="Found", input=10, output=1, requests=2)
    async with running(routes(provider.url), sqlite_url) as gateway:
        await ask(gateway, "anthropic")
        (entry,) = gateway.entries()

    assert entry["requests"] == 2


@both_ways
@each_job
async def test_usage_that_the_provider_did_not_tell_is_counted_and_not_what_litellm_makes_up(
    job: str, stream: bool, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Two words", input=100, output=2, omit_usage=True)
    async with running(routes(provider.url), sqlite_url) as gateway:
        if not stream and job in ("anthropic", "gemini"):
            with pytest.raises(openai.InternalServerError, match="cannot be read"):
                await ask(gateway, job)  # LiteLLM insists on a usage in these formats
            assert gateway.entries()[0]["quality"] == "presumed"
            return
        await ask(gateway, job, stream=stream)
        (entry,) = gateway.entries()

    assert (entry["quality"], entry["outcome"]) == ("counted", "ok")
    assert entry["output"] == 2
    assert entry["input"] > 0


CALL = Script(tool_calls=(("weather", '{"town":"Bern"}'),), input=50, output=9)
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"town": {"type": "string"}}},
    },
}


@both_ways
@each_job
async def test_a_tool_call_arrives_whole(
    job: str, stream: bool, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = CALL
    async with running(routes(provider.url), sqlite_url) as gateway:
        completions = gateway.client().chat.completions
        asked: dict[str, Any] = {"model": job, "messages": QUESTION, "tools": [WEATHER]}
        if stream:
            chunks = [c async for c in await completions.create(**asked, stream=True)]
            deltas = [c.choices[0].delta for c in chunks]
            calls = [call.function for delta in deltas for call in delta.tool_calls or ()]
            finish = chunks[-1].choices[0].finish_reason
        else:
            choice = (await completions.create(**asked)).choices[0]
            calls, finish = [call.function for call in choice.message.tool_calls], None
            finish = choice.finish_reason
        (entry,) = gateway.entries()

    assert [call.name for call in calls if call.name] == ["weather"]
    assert "".join(call.arguments or "" for call in calls).replace(" ", "") == '{"town":"Bern"}'
    assert finish == "tool_calls"
    assert (entry["input"], entry["output"]) == (50, 9)


REFUSALS = {
    400: (openai.BadRequestError, "provider_refused"),
    401: (openai.InternalServerError, "provider_broken"),
    429: (openai.InternalServerError, "provider_busy"),
    500: (openai.InternalServerError, "provider_broken"),
}


@both_ways
@pytest.mark.parametrize("status", REFUSALS)
@each_job
async def test_a_refusal_costs_nothing_keeps_the_providers_words_and_is_not_tried_again(
    job: str, status: int, stream: bool, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(status=status, error="That will not do.", retry_after=7)
    kind, outcome = REFUSALS[status]
    async with running(routes(provider.url), sqlite_url) as gateway:
        with pytest.raises(kind) as refused:
            await ask(gateway, job, stream=stream)
        (entry,) = gateway.entries()

    assert f"answered {status}: That will not do." in refused.value.message
    assert (entry["outcome"], entry["amount_nanos"], entry["quality"]) == (outcome, 0, "reported")
    assert len(provider.requests) == 1
    if status == 429:
        assert refused.value.response.headers["retry-after"] == "7"


@both_ways
@each_job
async def test_a_provider_that_hangs_up_is_not_asked_again_and_the_ceiling_is_presumed(
    job: str, stream: bool, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(hang_up=True)
    async with running(routes(provider.url), sqlite_url) as gateway:
        with pytest.raises(openai.InternalServerError) as broken:
            await ask(gateway, job, stream=stream)
        (entry,) = gateway.entries()

    assert broken.value.status_code == 502
    assert (entry["outcome"], entry["quality"]) == ("provider_broken", "presumed")
    assert len(provider.requests) == 1


@both_ways
@each_job
async def test_a_provider_that_says_nothing_is_given_up_in_time(
    job: str, stream: bool, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.hold()
    text = routes(provider.url, patience=0.2).replace("total: 30", "total: 0.3")
    async with running(text, sqlite_url) as gateway:
        with pytest.raises(openai.InternalServerError) as late:
            await ask(gateway, job, stream=stream)
        await provider.until(lambda seen: not seen.open)
        (entry,) = gateway.entries()

    assert late.value.status_code == 504
    assert (entry["outcome"], entry["quality"]) == ("provider_timed_out", "presumed")
    assert provider.requests[0].client_gone


@each_job
async def test_a_stream_that_stops_in_the_middle_ends_with_an_error_and_what_came_is_booked(
    job: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="One two three", input=100, output=3, stall_before_chunk=2)
    async with running(routes(provider.url, patience=0.3), sqlite_url) as gateway:
        with pytest.raises(openai.APIError) as late:
            await ask(gateway, job, stream=True)
        (entry,) = gateway.entries()

    assert "waited 0.3 s for the next part" in late.value.message
    assert (entry["outcome"], entry["quality"]) == ("provider_cut", "counted")
    assert entry["output"] == 2
    assert entry["input"] == 100 if job in ("anthropic", "gemini") else entry["input"] > 0


@pytest.mark.parametrize("cut", ["reset", "eof", "end"])
@each_job
async def test_a_cut_stream_is_never_taken_for_a_whole_one(
    job: str, cut: Any, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(
        text="One two three", input=100, output=3, cut_after_chunk=2, cut_mode=cut
    )
    async with running(routes(provider.url), sqlite_url) as gateway:
        with pytest.raises(openai.APIError):
            await ask(gateway, job, stream=True)
        (entry,) = gateway.entries()

    assert (entry["outcome"], entry["quality"], entry["output"]) == ("provider_cut", "counted", 2)
    assert len(provider.requests) == 1


@each_job
async def test_an_error_in_the_stream_reaches_the_caller(
    job: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="One two three", error="Overheated.", error_event_after=2)
    async with running(routes(provider.url), sqlite_url) as gateway:
        with pytest.raises(openai.APIError) as cut:
            await ask(gateway, job, stream=True)
        (entry,) = gateway.entries()

    heard = "ended the stream before" if job == "mistral" else "Overheated."
    assert heard in cut.value.message  # LiteLLM passes over Mistral's events of errors
    assert entry["outcome"] == "provider_cut"


@each_job
async def test_a_caller_who_leaves_stops_the_provider_if_the_job_says_so(
    job: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="One two three", input=100, output=3, stall_before_chunk=2)
    async with running(routes(provider.url, on_disconnect="cancel"), sqlite_url) as gateway:
        stream = await gateway.client().chat.completions.create(
            model=job, messages=QUESTION, stream=True
        )
        async for chunk in stream:
            if "two" in (chunk.choices[0].delta.content or ""):
                break
        await stream.close()
        await provider.until(lambda seen: not seen.open)
        async with asyncio.timeout(5):
            while gateway.open_holds():
                await asyncio.sleep(0)
        (entry,) = gateway.entries()

    assert provider.requests[0].client_gone
    assert (entry["outcome"], entry["quality"], entry["output"]) == ("caller_left", "counted", 2)


@both_ways
@each_job
async def test_nobody_is_redirected_and_no_key_goes_elsewhere(
    job: str, stream: bool, provider: ScriptedProvider, sqlite_url: str
) -> None:
    async with ScriptedProvider() as elsewhere:
        provider.script = Script(status=307, headers=(("location", elsewhere.url + "/v1"),))
        async with running(routes(provider.url), sqlite_url) as gateway:
            with pytest.raises(openai.InternalServerError) as refused:
                await ask(gateway, job, stream=stream)

    assert refused.value.status_code == 502
    assert elsewhere.arrived == 0


@each_job
async def test_the_proxies_of_the_environment_are_not_used(
    job: str, provider: ScriptedProvider, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.script = Script(text="Two words", input=10, output=2)
    async with running(routes(provider.url), sqlite_url) as gateway:
        client = gateway.client()
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        answer = await client.chat.completions.create(model=job, messages=QUESTION)

    assert answer.choices[0].message.content == "Two words"


@each_job
async def test_fields_that_litellm_would_obey_are_dropped_and_said_to_be(
    job: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Paid for", input=10, output=2)
    tricks = {
        "api_base": "http://127.0.0.1:1",
        "base_url": "http://127.0.0.1:1",
        "api_key": "stolen",
        "mock_response": "for nothing",
        "fallbacks": ["ollama/llama3"],
        "num_retries": 5,
        "extra_headers": {"x-evil": "yes"},
        "custom_llm_provider": "ollama",
    }
    async with running(routes(provider.url), sqlite_url) as gateway:
        text, raw = await ask(gateway, job, extra_body=tricks)

    assert text == "Paid for"
    (seen,) = provider.requests
    assert "x-evil" not in seen.headers
    assert b"stolen" not in seen.raw
    for name in tricks:
        assert f"{name} dropped" in raw.headers["x-jobgate-changed"]


@each_job
async def test_the_key_and_the_headers_of_the_provider_go_out(
    job: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Two words", input=10, output=2)
    async with running(routes(provider.url), sqlite_url) as gateway:
        await ask(gateway, job)

    (seen,) = provider.requests
    assert any(SECRETS[f"{job.upper()}_API_KEY"] in value for value in seen.headers.values())
    assert seen.headers["x-team"] == "brand"


@each_job
async def test_an_image_by_address_is_refused_because_litellm_would_fetch_it(
    job: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    picture = {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest"}}
    async with running(routes(provider.url), sqlite_url) as gateway:
        with pytest.raises(openai.BadRequestError) as refused:
            await ask(gateway, job, messages=[{"role": "user", "content": [picture]}])

    assert "messages[0].content[0]" in refused.value.message
    assert provider.requests == []


def litellm_errors() -> list[type[Exception]]:
    found = [
        each
        for each in vars(litellm.exceptions).values()
        if isinstance(each, type) and issubclass(each, Exception)
        if each.__module__ == "litellm.exceptions"
    ]
    assert len(found) > 25
    return found


def made(kind: type[Exception]) -> Exception:
    """An error of a kind, with something for every argument that it needs."""
    status = {"UnprocessableEntityError": 422, "PermissionDeniedError": 403}.get(kind.__name__, 418)
    given: dict[str, Any] = {
        "status_code": status,
        "response": httpx.Response(status, request=httpx.Request("POST", "http://127.0.0.1:1")),
        "failures": [{"vector_store_id": "tea", "error": "Out of tea."}],
        "request_data": {},
        "current_cost": 1.0,
        "max_budget": 1.0,
    }
    if "__init__" not in vars(kind):
        return kind("Out of tea.")
    wanted = [
        name
        for name, one in inspect.signature(kind).parameters.items()
        if one.default is one.empty and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
    ]
    return kind(**{name: given.get(name, "Out of tea.") for name in wanted})


EXPECTED = {
    "AuthenticationError": UpstreamBroken,
    "NotFoundError": UpstreamBroken,
    "PermissionDeniedError": UpstreamBroken,
    "PaymentRequiredError": UpstreamBroken,
    "BadGatewayError": UpstreamBroken,
    "RateLimitError": UpstreamBusy,
    "ServiceUnavailableError": UpstreamBusy,
    "MidStreamFallbackError": UpstreamBusy,
    "Timeout": UpstreamTimedOut,
    "APIError": UpstreamBroken,
    "MockException": UpstreamBroken,
}
"""What each becomes when nothing was sent; all others say that the request is wrong."""


@pytest.mark.parametrize("kind", litellm_errors(), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("answered", [False, True], ids=["before", "after"])
async def test_every_error_of_litellm_becomes_one_of_ours(
    kind: type[Exception], answered: bool
) -> None:
    target = parse(routes("http://127.0.0.1:1"), "r", BOOK, SECRETS).jobs["openai"].targets[0]
    sending = Sending(Pool(target.provider), target, {}, asked=answered, answered=answered)
    error = as_ours(made(kind), sending)

    assert isinstance(error, UpstreamFailed)
    assert error.may_have_cost is answered
    assert error.target == "openai/o-test"
    expected = UpstreamBroken if answered else EXPECTED.get(kind.__name__, UpstreamRefused)
    assert type(error) is expected
    assert "\n" not in error.message
