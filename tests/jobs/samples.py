"""A small routes.yaml that loads without a warning, and ways to change a line of it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.errors import ConfigurationError
from gateway.jobs.loading import parse
from gateway.jobs.routes import Routes
from gateway.prices.book import PriceBook

BOOK = PriceBook.bundled()

SMALL = """\
version: 1
organisation: {name: Test, time_zone: UTC}
providers:
  openai:
    wire: openai
    flavour: openai
    base_url: https://api.openai.com/v1
    api_key_env: OPENAI_API_KEY
  house:
    wire: openai
    flavour: ollama
    base_url: http://127.0.0.1:11434/v1
    residency: on_prem
models:
  house/llama: {price: free, output_limit: 4096}
jobs:
  extraction:
    purpose: Structured output.
    owner: data
    targets: [openai/gpt-4.1]
    temperature: {default: 0, max: 1}
    output_tokens: {default: 1000, max: 4000}
    tags: [run]
  private:
    purpose: Stays in the house.
    owner: legal
    residency: on_prem
    targets: [house/llama]
    output_tokens: {max: 4000}
aliases:
  gpt-4o: extraction
budgets:
  all: {scope: organisation, limit: 2000 USD, period: month}
"""


def changed(*changes: tuple[str, str]) -> str:
    """SMALL with each first text, which must be there, in place of by the second."""
    text = SMALL
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def loaded(text: str, environment: Mapping[str, str] | None = None) -> Routes:
    return parse(text, "routes.yaml", BOOK, environment or {})


def problems(text: str, environment: Mapping[str, str] | None = None) -> list[str]:
    """What is wrong with a text; empty when it loads. An error without a problem is one too."""
    try:
        loaded(text, environment)
    except ConfigurationError as error:
        return error.problems or ["an error that says nothing"]
    return []


def body(text: str) -> dict[str, msgspec.Raw]:
    """The top level of a request body, its values left raw, as the door reads it."""
    return msgspec.json.decode(text.encode(), type=dict[str, msgspec.Raw])
