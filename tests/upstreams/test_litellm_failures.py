"""Providers that LiteLLM speaks for, failing: nothing is tried twice, nothing is booked at nothing
that may have cost, and no error of LiteLLM's gets out."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest

from gateway.errors import (
    ConfigurationError,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimedOut,
)
from gateway.jobs.loading import parse
from gateway.pipeline.endings import IN_FLIGHT_TOKENS
from gateway.upstreams.http import Pool
from gateway.upstreams.litellm_transport import Sending
from tests.gateways import BOOK, SECRETS, running
from tests.scripted import Script, ScriptedProvider
from tests.upstreams.bridged import JOBS, MARKS, QUESTION, ask, both_ways, each_job, routes

import litellm  # isort: skip
from gateway.upstreams.litellm_bridge import LiteLLM, as_ours  # isort: skip

pytestmark = MARKS

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
    assert entry["output"] == 2 + IN_FLIGHT_TOKENS, "we hung up: more may have been made"
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

    assert (entry["outcome"], entry["quality"]) == ("provider_cut", "counted")
    assert entry["output"] in (2, 2 + IN_FLIGHT_TOKENS), "what was on its way may be lost"
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
    came = 2 + IN_FLIGHT_TOKENS
    assert (entry["outcome"], entry["quality"], entry["output"]) == ("caller_left", "counted", came)


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


@both_ways
async def test_neither_prompts_nor_keys_are_logged_even_when_it_fails(
    stream: bool,
    provider: ScriptedProvider,
    sqlite_url: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("DEBUG")
    provider.script = Script(status=500)
    async with running(routes(provider.url), sqlite_url) as gateway:
        for job in JOBS:
            with pytest.raises(openai.InternalServerError):
                await ask(
                    gateway,
                    job,
                    stream=stream,
                    messages=[{"role": "user", "content": "canary-prompt"}],
                )
    ours = [each.getMessage() for each in caplog.records if not each.name.startswith("openai")]
    written = "".join([*ours, *capfd.readouterr()])

    assert "canary" not in written


def test_a_provider_that_litellm_does_not_know_stops_the_start() -> None:
    target = parse(routes("http://127.0.0.1:1"), "r", BOOK, SECRETS).jobs["openai"].targets[0]
    with pytest.raises(ConfigurationError, match="LiteLLM knows no provider 'open-ai'"):
        LiteLLM(replace(target.provider, litellm_provider="open-ai"))


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
