"""A gateway whose providers are all reached through LiteLLM, and one question to it."""

from __future__ import annotations

import os
from typing import Any

import pytest

from gateway.upstreams.litellm_loading import ENVIRONMENT
from tests.gateways import RunningGateway

os.environ.update(ENVIRONMENT)  # read when litellm is imported

QUESTION = [{"role": "user", "content": "Say something."}]
MARKS = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:Item .* on TypedDict class .* `ReadOnly`:UserWarning"),
    pytest.mark.filterwarnings(
        "ignore:Accessing the 'model_(computed_)?fields':DeprecationWarning"
    ),
]
"""Asynchronous, and deaf to what pydantic says about LiteLLM's own types."""

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
