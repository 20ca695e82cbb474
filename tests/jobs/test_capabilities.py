"""The rules for a model are those of its provider, then its own, then what the file states."""

from __future__ import annotations

import re

import pytest

from gateway.jobs.capabilities import RULES, ParameterRules, flavour_of, rules_for, sources_for


@pytest.mark.parametrize(
    ("flavour", "model", "sampling"),
    [
        ("openai", "gpt-4.1", "always"),
        ("openai", "gpt-4o-mini", "always"),
        ("openai", "o1", "never"),
        ("openai", "o4-mini-2025-04-16", "never"),
        ("openai", "gpt-5", "never"),
        ("openai", "gpt-5-mini", "never"),
        ("openai", "gpt-5-chat-latest", "always"),
        ("openai", "gpt-5.1", "effort_unset_or_none"),
        ("openai", "gpt-5.1-chat-latest", "always"),
        ("openai", "gpt-5.1-codex-max", "never"),
        ("openai", "gpt-5.2-pro", "never"),
        ("openai", "gpt-5.4-nano", "effort_unset_or_none"),
        ("openai", "gpt-5.5", "effort_none"),
        ("openai", "gpt-5.5-pro", "never"),
        ("openai", "gpt-5.6-terra", "effort_none"),
        ("openrouter", "openai/gpt-5.6", "effort_none"),
        ("azure", "GPT-5.4", "effort_unset_or_none"),
        ("ollama", "gpt-oss:20b", "always"),
        ("anthropic", "claude-opus-4-1-20250805", "always"),
        ("anthropic", "claude-opus-4-6", "always"),
        ("anthropic", "claude-opus-4-7", "never"),
        ("anthropic", "claude-opus-4-8", "never"),
        ("anthropic", "claude-sonnet-5", "never"),
        ("anthropic", "claude-haiku-5-5", "never"),
        ("anthropic", "claude-fable-5", "never"),
        ("litellm", "anthropic.claude-opus-4-7-20260416-v1:0", "never"),
        ("openrouter", "anthropic/claude-opus-4.8", "never"),
        ("gemini_native", "gemini-2.5-pro", "always"),
        ("gemini_native", "gemini-3.8-flash", "never"),
        ("mistral", "mistral-small-latest", "always"),
    ],
)
def test_who_takes_a_temperature(flavour: str, model: str, sampling: str) -> None:
    assert rules_for(flavour, model).sampling == sampling


@pytest.mark.parametrize(
    ("flavour", "model", "highest"),
    [
        ("openai", "gpt-4.1", 2.0),
        ("anthropic", "claude-3-5-haiku-latest", 1.0),
        ("mistral", "mistral-large-latest", 1.5),
        ("gemini_native", "gemini-2.5-flash", 2.0),
        ("openrouter", "anthropic/claude-sonnet-4.6", 1.0),
    ],
)
def test_how_high_a_temperature_may_be(flavour: str, model: str, highest: float) -> None:
    assert rules_for(flavour, model).temperature_max == highest


@pytest.mark.parametrize(
    ("model", "together"),
    [
        ("claude-3-7-sonnet-latest", True),
        ("claude-opus-4-20250514", True),
        ("claude-opus-4-1", False),
        ("claude-haiku-4-5-20251001", False),
        ("claude-sonnet-4-6", False),
    ],
)
def test_from_opus_4_1_on_claude_does_not_take_temperature_and_top_p(
    model: str, together: bool
) -> None:
    assert rules_for("anthropic", model).top_p_with_temperature is together


@pytest.mark.parametrize(
    ("flavour", "model", "fields"),
    [
        ("openai", "gpt-4.1", ("max_completion_tokens", "max_tokens")),
        ("openai", "o3", ("max_completion_tokens",)),
        ("openai", "gpt-5.4", ("max_completion_tokens",)),
        ("mistral", "mistral-small-latest", ("max_tokens",)),
        ("ollama", "llama3.3", ("max_tokens",)),
        ("generic", "anything", ("max_tokens",)),
    ],
)
def test_what_the_output_limit_is_called(flavour: str, model: str, fields: tuple[str, ...]) -> None:
    assert rules_for(flavour, model).output_fields == fields


def test_an_unknown_model_gets_the_plain_rules() -> None:
    assert rules_for("generic", "our-own-model") == ParameterRules()


def test_what_the_file_states_wins() -> None:
    stated = {"sampling": "always", "temperature_max": 1.2}
    rules = rules_for("openai", "o3", stated)
    assert (rules.sampling, rules.temperature_max) == ("always", 1.2)
    assert rules.output_fields == ("max_completion_tokens",)


def test_the_wire_decides_before_the_flavour() -> None:
    assert flavour_of("openai", "mistral") == "mistral"
    assert flavour_of("anthropic", "anthropic") == "anthropic"
    assert flavour_of("gemini", "gemini") == "gemini_native"


def test_every_rule_has_a_source_and_changes_fields_that_exist() -> None:
    known = set(ParameterRules.__dataclass_fields__)
    for rule in RULES:
        re.compile(rule.model)
        assert len(rule.source) > 20, "who says so, and what"
        assert set(rule.changes) <= known


def test_who_says_what_is_known_of_a_model_can_be_told() -> None:
    first, second = sources_for("mistral", "mistral-small-latest")
    assert first.startswith("Mistral API reference")
    assert second.startswith("Mistral model cards")
    assert sources_for("generic", "our-own-model") == ()
