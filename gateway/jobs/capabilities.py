"""Which parameters each model takes: rules as data, each with its source.

Rules are laid over each other in order: every model starts from the OpenAI shape, each `Rule`
whose provider flavour and model name match then changes some fields, and what `routes.yaml`
states under `capabilities` comes last. To teach the gateway a new model is to add a line here.

This room knows what a provider refuses. What is done about it is in `parameters`; what a token
costs, and how large a context is, is in the price book.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Sampling = Literal["always", "never", "effort_unset_or_none", "effort_none"]
"""When temperature, top_p, penalties and logprobs are taken: "effort_none" means only when the
request says `reasoning_effort: none`, "effort_unset_or_none" also when it says nothing."""

SAMPLING_FIELDS = (
    "temperature",
    "top_p",
    "top_k",
    "frequency_penalty",
    "presence_penalty",
    "logprobs",
    "top_logprobs",
    "logit_bias",
)
"""What goes when sampling is not taken (OpenAI's reasoning models refuse all of them)."""

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Every value of `reasoning_effort` that some model takes."""

MAX_TOKENS = "max_tokens"
MAX_COMPLETION_TOKENS = "max_completion_tokens"


@dataclass(frozen=True, slots=True)
class ParameterRules:
    """What one model takes, in the names of OpenAI's chat completions.

    `output_fields`: names it knows the output limit by, the one to use first. `choices_max`: the
    largest `n`. `refused` fields are dropped; `renamed` ones get another name. With
    `thinking_fixes_temperature` a request that asks for thinking is sent without temperature.
    `stream_options` False: it sends usage unasked and refuses to be asked. `efforts`: the values
    of `reasoning_effort` that it takes; None when that is not known, and then a caller's own is
    passed on.
    """

    temperature_min: float = 0.0
    temperature_max: float = 2.0
    sampling: Sampling = "always"
    top_p_with_temperature: bool = True
    thinking_fixes_temperature: bool = False
    output_fields: tuple[str, ...] = (MAX_TOKENS,)
    choices_max: int = 128
    refused: frozenset[str] = frozenset()
    renamed: Mapping[str, str] = field(default_factory=dict)
    stream_options: bool = True
    efforts: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """`changes` to the rules of the models whose name `model` is found in (lower case).

    `flavours` None: wherever the model runs, because aggregators and self-hosted endpoints pass
    the model's own refusals on. `source` says who says so.
    """

    flavours: frozenset[str] | None
    model: str
    changes: Mapping[str, Any]
    source: str


_ANY = ""
_REASONING_LIMIT = (MAX_COMPLETION_TOKENS,)
_EITHER_LIMIT = (MAX_COMPLETION_TOKENS, MAX_TOKENS)
_OPENAI_LIKE = frozenset({"openai", "azure", "openrouter", "litellm", "generic"})
_NO_EFFORT: frozenset[str] = frozenset()
_NO_LOGPROBS = frozenset({"logprobs", "top_logprobs", "logit_bias"})
_CLAUDE_REFUSES = _NO_LOGPROBS | {"frequency_penalty", "presence_penalty", "seed"}


def _at(*flavours: str) -> frozenset[str]:
    return frozenset(flavours)


RULES: tuple[Rule, ...] = (
    # First how each provider speaks, whatever the model ...
    Rule(
        _at("openai", "azure"),
        _ANY,
        {"output_fields": _EITHER_LIMIT, "efforts": _NO_EFFORT},
        "OpenAI API reference, create chat completion: max_tokens is deprecated, not refused; an"
        " effort is taken by reasoning models alone",
    ),
    Rule(
        _at("xai", "openrouter", "gemini", "vllm"),
        _ANY,
        {"output_fields": (MAX_TOKENS, MAX_COMPLETION_TOKENS)},
        "the providers' OpenAI-compatible references: both names are taken",
    ),
    Rule(
        _at("mistral"),
        _ANY,
        {
            "temperature_max": 1.5,
            "stream_options": False,
            "refused": _NO_LOGPROBS | {"user", "store", "service_tier"},
            "renamed": {"seed": "random_seed"},
            "efforts": _NO_EFFORT,
        },
        "Mistral API reference, chat completion: unknown fields are answered with 422",
    ),
    Rule(
        _at("groq"),
        _ANY,
        {
            "output_fields": _EITHER_LIMIT,
            "choices_max": 1,
            "refused": _NO_LOGPROBS,
        },
        "Groq documentation, OpenAI compatibility: unsupported fields are answered with 400",
    ),
    Rule(
        _at("deepseek", "ollama", "llamacpp"),
        _ANY,
        {"choices_max": 1},
        "the providers' chat references: one choice is answered, whatever n says",
    ),
    Rule(
        _at("anthropic"),
        _ANY,
        {
            "temperature_max": 1.0,
            "thinking_fixes_temperature": True,
            "choices_max": 1,
            "refused": _CLAUDE_REFUSES,
            "efforts": frozenset(EFFORTS),
        },
        "Anthropic Messages reference: temperature 0 to 1, one answer, no penalties, no seed",
    ),
    Rule(
        _at("gemini_native"),
        _ANY,
        {
            "choices_max": 8,
            "refused": frozenset({"logit_bias"}),
            "efforts": frozenset(EFFORTS) - {"max"},
        },
        "Gemini API reference, GenerationConfig: candidateCount 1 to 8, temperature 0 to 2",
    ),
    # ... then what the models themselves refuse, wherever they run.
    Rule(
        _OPENAI_LIKE,
        r"(^|[/.])(o[1-9](-|$)|gpt-5(?!-chat)|codex)",
        {
            "sampling": "never",
            "output_fields": _REASONING_LIMIT,
            "efforts": frozenset({"low", "medium", "high"}),
        },
        "OpenAI, reasoning models: no temperature, top_p, penalties, logprobs, max_tokens",
    ),
    Rule(
        _OPENAI_LIKE,
        r"(^|[/.])gpt-5($|-)",
        {"efforts": frozenset({"minimal", "low", "medium", "high"})},
        "OpenAI, GPT-5: reasoning cannot be turned off",
    ),
    Rule(
        _OPENAI_LIKE,
        r"(^|[/.])gpt-5\.\d",
        {"efforts": frozenset({"none", "low", "medium", "high", "xhigh"})},
        "OpenAI, from GPT-5.1 on: effort none to xhigh, no longer minimal",
    ),
    Rule(
        _OPENAI_LIKE,
        r"(^|[/.])gpt-5\.[1-4]",
        {"sampling": "effort_unset_or_none"},
        "OpenAI, GPT-5.1 to 5.4: sampling while reasoning is off, which is the default",
    ),
    Rule(
        _OPENAI_LIKE,
        r"(^|[/.])gpt-5\.[56]",
        {"sampling": "effort_none"},
        "OpenAI, GPT-5.5 and 5.6: sampling only with reasoning_effort none",
    ),
    Rule(
        _OPENAI_LIKE,
        r"(^|[/.])gpt-5[^/]*-(pro|codex|cyber|search-api)",
        {"sampling": "never"},
        "OpenAI, -pro and codex models: no sampling parameters at any effort",
    ),
    Rule(
        _OPENAI_LIKE,
        r"(^|[/.])gpt-5[^/]*-chat",
        {"sampling": "always", "efforts": _NO_EFFORT},
        "OpenAI, the -chat snapshots answer without reasoning and take sampling",
    ),
    Rule(
        _at("mistral"),
        r"^mistral-(small-(latest|2603)|large-4)",
        {"efforts": frozenset({"none", "high"})},
        "Mistral model cards of Small 4 and Large 4: reasoning_effort none or high",
    ),
    Rule(
        _at("xai"),
        r"^grok-(3-mini|4)",
        {"refused": frozenset({"frequency_penalty", "presence_penalty", "stop"})},
        "xAI documentation, reasoning: penalties and stop are answered with an error",
    ),
    Rule(
        None,
        r"claude-(opus-4-1|opus-4\.1|(opus|sonnet|haiku)-4[-.][5-9]|(opus|sonnet|haiku)-[5-9])",
        {"temperature_max": 1.0, "top_p_with_temperature": False},
        "Anthropic, from Opus 4.1 on: not temperature and top_p together",
    ),
    Rule(
        None,
        r"claude-(opus-4[-.][7-9]|(opus|sonnet|haiku)-[5-9]|fable|mythos)",
        {"sampling": "never"},
        "Anthropic, Opus 4.7 on and the 5 family refuse temperature, top_p and top_k; the price"
        " map of LiteLLM 1.106.2 lists the same models with supports_sampling_params: false",
    ),
    Rule(
        None,
        r"gemini-3\.(5-flash-lite|[678]-flash)",
        {"sampling": "never"},
        "price map of LiteLLM 1.106.2: supports_sampling_params: false",
    ),
)

_MODEL_FLAVOURS = {
    "anthropic": "anthropic",
    "gemini": "gemini_native",
    "litellm": "litellm",
}


def flavour_of(wire: str, flavour: str) -> str:
    """The name that `RULES` know a provider by: its wire format, or for "openai" its flavour."""
    return _MODEL_FLAVOURS.get(wire, flavour)


def rules_for(flavour: str, model: str, stated: Mapping[str, Any] | None = None) -> ParameterRules:
    """The rules for a model at a provider of this flavour (see `flavour_of`).

    `stated` holds fields of ParameterRules that the file states itself; they win. Slow: done once,
    when a file is loaded.
    """
    rules = ParameterRules()
    for rule in _applying(flavour, model):
        rules = replace(rules, **rule.changes)
    return replace(rules, **stated) if stated else rules


def sources_for(flavour: str, model: str) -> tuple[str, ...]:
    """Who says what `rules_for` has of a model, in the order in which it was laid over."""
    return tuple(rule.source for rule in _applying(flavour, model))


def _applying(flavour: str, model: str) -> Iterator[Rule]:
    name = model.lower()
    for rule in RULES:
        known = rule.flavours is None or flavour in rule.flavours
        if known and re.search(rule.model, name):
            yield rule
