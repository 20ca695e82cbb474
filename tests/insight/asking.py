"""A file of rules, changes of it, and what-if questions about books that were kept under it."""

from __future__ import annotations

from typing import Any

from gateway.cli.options import rules_of
from gateway.insight.whatif import Question, WhatIf, ask
from gateway.jobs.files import Files
from gateway.ledger.queries import Range
from gateway.store.database import Database

EVERYTHING = Range(0, 2**61)
FILE_TEXT = """
version: 1
organisation: {name: Test}
providers:
  openai: {wire: openai, base_url: "http://127.0.0.1:1/v1"}
  spare: {wire: openai, base_url: "http://127.0.0.1:2/v1"}
  house: {wire: openai, base_url: "http://127.0.0.1:3/v1", residency: on_prem}
models:
  openai/gpt-test: {price: {input: 0.0015, cache_read: 0.000000001, output: 0.003333333}}
  openai/gpt-dear: {price: {input: 0.003, output: 0.006}}
  spare/cheap: {price: {input: 0.001, output: 0.002}, context_window: 900}
  house/small: {price: free}
jobs:
  extraction:
    purpose: Structured output.
    owner: data
    targets: [openai/gpt-test, openai/gpt-dear]
    output_tokens: {default: 1000, max: 4000}
    tags: [run]
  narrative:
    purpose: Long texts.
    owner: brand
    targets: [openai/gpt-test]
    output_tokens: {max: 4000}
"""


def changed(*changes: tuple[str, str]) -> str:
    """The file with some texts replaced by others."""
    text = FILE_TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


def files(text: str) -> Files:
    """Files of rules with nothing but this text, which is valid."""
    made = Files("routes.yaml", texts={"routes.yaml": text})
    rules_of(made)
    return made


def asked(database: Database, text: str, period: Range = EVERYTHING, **more: Any) -> WhatIf:
    """The answer, where FILE_TEXT is what was live."""
    question = Question(files(text), period, default=files(FILE_TEXT), **more)
    return ask(database, "main", rules_of, question, lambda _so_far, _all: None)
