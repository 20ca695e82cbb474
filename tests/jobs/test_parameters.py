"""What is sent differs from what was asked only by rule, and every difference is told."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.jobs.capabilities import rules_for
from gateway.jobs.parameters import Effective, apply
from gateway.jobs.routes import Job, OutputPolicy, Target, TemperaturePolicy
from tests.jobs.samples import SMALL, body, loaded

PLAIN_JOB = replace(
    loaded(SMALL).jobs["extraction"],
    temperature=TemperaturePolicy(0.5, 0.2, 1.0),
    output=OutputPolicy(1000, 8000),
)
PLAIN_TARGET = PLAIN_JOB.targets[0]


def a_target(flavour: str = "openai", model: str = "gpt-4.1", **more: Any) -> Target:
    return replace(PLAIN_TARGET, model=model, rules=rules_for(flavour, model), **more)


def a_job(**more: Any) -> Job:
    return replace(PLAIN_JOB, **more)


def sent(effective: Effective, asked: str) -> dict[str, Any]:
    """The body that leaves, but for its messages."""
    fields = {name: bytes(raw) for name, raw in body(asked).items()} | effective.set
    return {name: json.loads(raw) for name, raw in fields.items() if name not in effective.remove}


# fmt: off
CASES: dict[str, tuple[str, str, str, dict[str, Any], tuple[str, ...]]] = {
    "nothing asked: the job's defaults, and no change to tell": (
        "openai", "gpt-4.1", "{}",
        {"temperature": 0.5, "max_completion_tokens": 1000}, (),
    ),
    "null is nothing asked": (
        "openai", "gpt-4.1", '{"temperature": null, "max_tokens": null, "n": null}',
        {"temperature": 0.5, "max_completion_tokens": 1000, "n": None}, (),
    ),
    "within the policy: as asked": (
        "openai", "gpt-4.1", '{"temperature": 1, "max_tokens": 77, "n": 3}',
        {"temperature": 1.0, "max_tokens": 77, "n": 3}, (),
    ),
    "too warm for the job": (
        "openai", "gpt-4.1", '{"temperature": 1.7}',
        {"temperature": 1.0, "max_completion_tokens": 1000},
        ("temperature=1.7->1.0 (job maximum)",),
    ),
    "too cold for the job": (
        "openai", "gpt-4.1", '{"temperature": -1}',
        {"temperature": 0.2, "max_completion_tokens": 1000},
        ("temperature=-1->0.2 (job minimum)",),
    ),
    "too long for the job": (
        "openai", "gpt-4.1", '{"max_tokens": 100000}',
        {"temperature": 0.5, "max_tokens": 8000},
        ("max_tokens=100000->8000 (job limit)",),
    ),
    "absurdly long": (
        "openai", "gpt-4.1", '{"max_completion_tokens": 1000000000000}',
        {"temperature": 0.5, "max_completion_tokens": 8000},
        ("max_completion_tokens=1000000000000->8000 (job limit)",),
    ),
    "long beyond words": (
        "openai", "gpt-4.1", '{"max_tokens": 1' + "0" * 60 + "}",
        {"temperature": 0.5, "max_tokens": 8000},
        ("max_tokens=over 1e18->8000 (job limit)",),
    ),
    "both names of the limit: the smaller counts": (
        "openai", "gpt-4.1", '{"max_tokens": 50, "max_completion_tokens": 60}',
        {"temperature": 0.5, "max_tokens": 50},
        ("max_completion_tokens dropped (max_tokens is given too)",),
    ),
    "reasoning models know the limit by its newer name": (
        "openai", "o3", '{"max_tokens": 50}',
        {"max_completion_tokens": 50},
        ("max_tokens renamed max_completion_tokens",
         "temperature=0.5 of the job dropped (o3 refuses it)"),
    ),
    "others by its older name": (
        "mistral", "mistral-small-latest", '{"max_completion_tokens": 50}',
        {"temperature": 0.5, "max_tokens": 50},
        ("max_completion_tokens renamed max_tokens",),
    ),
    "reasoning models take no sampling": (
        "openai", "gpt-5", '{"temperature": 0.3, "top_p": 0.5, "logprobs": true}',
        {"max_completion_tokens": 1000},
        ("temperature dropped (gpt-5 refuses it)", "top_p dropped (gpt-5 refuses it)",
         "logprobs dropped (gpt-5 refuses it)"),
    ),
    "gpt-5.4 takes it while it does not reason": (
        "openai", "gpt-5.4", '{"temperature": 0.3}',
        {"temperature": 0.3, "max_completion_tokens": 1000}, (),
    ),
    "and not when it does": (
        "openai", "gpt-5.4", '{"temperature": 0.3, "reasoning_effort": "high"}',
        {"max_completion_tokens": 1000, "reasoning_effort": "high"},
        ("temperature dropped (gpt-5.4 refuses it while it reasons)",),
    ),
    "gpt-5.6 reasons unless told not to": (
        "openai", "gpt-5.6", '{"temperature": 0.3}',
        {"max_completion_tokens": 1000},
        ("temperature dropped (gpt-5.6 refuses it while it reasons)",),
    ),
    "and takes it when told": (
        "openai", "gpt-5.6", '{"temperature": 0.3, "reasoning_effort": "none"}',
        {"temperature": 0.3, "max_completion_tokens": 1000, "reasoning_effort": "none"}, (),
    ),
    "an effort that the model has not": (
        "openai", "gpt-5.4", '{"reasoning_effort": "minimal"}',
        {"temperature": 0.5, "max_completion_tokens": 1000},
        ("reasoning_effort dropped (gpt-5.4 does not take 'minimal')",),
    ),
    "an effort where nobody knows": (
        "generic", "our-own", '{"reasoning_effort": "minimal"}',
        {"temperature": 0.5, "max_tokens": 1000, "reasoning_effort": "minimal"}, (),
    ),
    "Claude takes temperature or top_p": (
        "anthropic", "claude-opus-4-6", '{"temperature": 0.9, "top_p": 0.5}',
        {"temperature": 0.9, "max_tokens": 1000},
        ("top_p dropped (claude-opus-4-6 refuses it with temperature)",),
    ),
    "Claude of old takes both": (
        "anthropic", "claude-3-7-sonnet-latest", '{"temperature": 0.9, "top_p": 0.5}',
        {"temperature": 0.9, "top_p": 0.5, "max_tokens": 1000}, (),
    ),
    "the newest Claude takes neither": (
        "anthropic", "claude-opus-4-8", '{"temperature": 0.9, "top_p": 0.5, "top_k": 5}',
        {"max_tokens": 1000},
        ("temperature dropped (claude-opus-4-8 refuses it)",
         "top_p dropped (claude-opus-4-8 refuses it)",
         "top_k dropped (claude-opus-4-8 refuses it)"),
    ),
    "Claude thinks at its own temperature": (
        "anthropic", "claude-opus-4-6", '{"thinking": {"type": "enabled", "budget_tokens": 9}}',
        {"max_tokens": 1000, "thinking": {"type": "enabled", "budget_tokens": 9}},
        ("temperature=0.5 of the job dropped (claude-opus-4-6 refuses it with thinking)",),
    ),
    "Claude told not to think": (
        "anthropic", "claude-opus-4-6", '{"thinking": {"type": "disabled"}}',
        {"temperature": 0.5, "max_tokens": 1000, "thinking": {"type": "disabled"}}, (),
    ),
    "Claude asked for an effort": (
        "anthropic", "claude-opus-4-6", '{"reasoning_effort": "low", "temperature": 0.3}',
        {"max_tokens": 1000, "reasoning_effort": "low"},
        ("temperature dropped (claude-opus-4-6 refuses it with thinking)",),
    ),
    "Claude gives one answer and knows no seed": (
        "anthropic", "claude-opus-4-6", '{"n": 3, "seed": 7, "presence_penalty": 1}',
        {"temperature": 0.5, "max_tokens": 1000},
        ("n=3->1 (claude-opus-4-6 answers at most 1)",
         "seed dropped (claude-opus-4-6 does not take it)",
         "presence_penalty dropped (claude-opus-4-6 does not take it)"),
    ),
    "Gemini gives eight": (
        "gemini_native", "gemini-2.5-pro", '{"n": 9}',
        {"temperature": 0.5, "max_tokens": 1000, "n": 8},
        ("n=9->8 (gemini-2.5-pro answers at most 8)",),
    ),
    "Mistral has its own word for seed, and sends usage unasked": (
        "mistral", "mistral-small-latest",
        '{"seed": 7, "user": "u", "stream_options": {"include_usage": true}}',
        {"temperature": 0.5, "max_tokens": 1000, "random_seed": 7},
        ("seed renamed random_seed", "user dropped (mistral-small-latest does not take it)"),
    ),
    "what nobody knows is passed on": (
        "openai", "gpt-4.1", '{"new_thing": {"a": [1]}, "stop": "x"}',
        {"temperature": 0.5, "max_completion_tokens": 1000, "new_thing": {"a": [1]}, "stop": "x"},
        (),
    ),
}
# fmt: on


@pytest.mark.parametrize(
    ("flavour", "model", "asked", "expected", "changes"), CASES.values(), ids=CASES.keys()
)
def test_what_is_sent_and_what_is_told(
    flavour: str, model: str, asked: str, expected: dict[str, Any], changes: tuple[str, ...]
) -> None:
    effective = apply(a_job(), a_target(flavour, model), body(asked))
    assert sent(effective, asked) == {"model": model, **expected}
    assert effective.changes == changes
    assert effective.temperature == expected.get("temperature")
    limit = expected.get("max_tokens", expected.get("max_completion_tokens"))
    assert effective.output_limit == limit
    assert effective.n == (expected.get("n") or 1)


# fmt: off
NONSENSE = [
    ('{"temperature": "warm"}', "temperature"), ('{"temperature": true}', "temperature"),
    ('{"temperature": [1]}', "temperature"), ('{"temperature": 1e999}', "temperature"),
    ('{"max_tokens": 0}', "max_tokens"), ('{"max_tokens": -1}', "max_tokens"),
    ('{"max_tokens": "100"}', "max_tokens"), ('{"max_tokens": true}', "max_tokens"),
    ('{"max_tokens": 1.0}', "max_tokens"), ('{"max_tokens": {}}', "max_tokens"),
    ('{"max_completion_tokens": 0}', "max_completion_tokens"),
    ('{"max_completion_tokens": 5, "max_tokens": -5}', "max_tokens"),
    ('{"n": 0}', "n"), ('{"n": -1}', "n"), ('{"n": 129}', "n"), ('{"n": 1.5}', "n"),
    ('{"n": "2"}', "n"), ('{"n": 1' + "0" * 5000 + "}", "n"),
    ('{"reasoning_effort": 3}', "reasoning_effort"),
]
# fmt: on


@pytest.mark.parametrize(("asked", "param"), NONSENSE)
def test_nonsense_is_refused_with_the_fields_name(asked: str, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        apply(a_job(), a_target(), body(asked))
    assert caught.value.param == param
    assert caught.value.message.isascii()
    assert len(caught.value.message) < 200


def test_a_strict_job_refuses_what_a_lenient_one_clamps() -> None:
    job = a_job(
        temperature=TemperaturePolicy(0.5, 0.2, 1.0, "refuse"),
        output=OutputPolicy(1000, 8000, "refuse"),
    )
    with pytest.raises(BadRequest, match=r"temperature=1\.7 is outside 0\.2 to 1\.0"):
        apply(job, a_target(), body('{"temperature": 1.7}'))
    with pytest.raises(BadRequest, match="max_tokens=9000 is more than the 8000"):
        apply(job, a_target(), body('{"max_tokens": 9000}'))


def test_a_model_that_writes_less_than_the_job_allows_bounds_it() -> None:
    target = a_target(output_limit=4096)
    asked = apply(a_job(), target, body('{"max_tokens": 5000}'))
    assert (asked.output_limit, asked.changes) == (4096, ("max_tokens=5000->4096 (model limit)",))
    unasked = apply(a_job(output=OutputPolicy(6000, 8000)), target, body("{}"))
    assert (unasked.output_limit, unasked.changes) == (4096, ())


def test_a_default_beyond_the_providers_range_is_told() -> None:
    job = a_job(temperature=TemperaturePolicy(1.4))
    effective = apply(job, a_target("anthropic", "claude-sonnet-4-6"), body("{}"))
    assert effective.temperature == 1.0
    assert effective.changes == ("temperature=1.4->1.0 (maximum of openai)",)


def test_a_job_without_a_default_leaves_the_temperature_to_the_model() -> None:
    job = a_job(temperature=TemperaturePolicy())
    effective = apply(job, a_target("anthropic", "claude-sonnet-4-6"), body('{"top_p": 0.5}'))
    assert effective.temperature is None
    assert "temperature" not in effective.set
    assert effective.changes == ()


def test_the_jobs_effort_is_sent_to_models_that_take_it() -> None:
    job = a_job(reasoning_effort="none")
    effective = apply(job, a_target("openai", "gpt-5.6"), body('{"temperature": 0.3}'))
    assert effective.set["reasoning_effort"] == b'"none"'
    assert (effective.temperature, effective.changes) == (0.3, ())
    assert "reasoning_effort" not in apply(job, a_target(), body("{}")).set


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ('[{"role":"user","content":"hi"}]', ["Be kind.", "hi"]),
        (
            '[ {"role": "system", "content": "x"}, {"role": "user", "content": "y"} ]',
            ["Be kind.", "x", "y"],
        ),
        ("[]", ["Be kind."]),
        ("[ \n ]", ["Be kind."]),
    ],
)
def test_the_jobs_system_prompt_comes_first(messages: str, expected: list[str]) -> None:
    effective = apply(a_job(system="Be kind."), a_target(), body(f'{{"messages": {messages}}}'))
    assert effective.system_first
    assert effective.changes == ()
    put = json.loads(effective.set["messages"])
    assert [message["content"] for message in put] == expected
    assert put[0]["role"] == "system"


def test_messages_that_are_no_list_are_left_to_the_door() -> None:
    effective = apply(a_job(system="Be kind."), a_target(), body('{"messages": "hi"}'))
    assert not effective.system_first
    assert "messages" not in effective.set


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(), inner)),
    max_leaves=3,
)
FIELDS = (
    "temperature", "max_tokens", "max_completion_tokens", "n", "top_p", "reasoning_effort",
    "thinking", "seed", "user", "logprobs", "messages", "stream_options", "model", "tools",
)  # fmt: skip
MODELS = (
    ("openai", "gpt-4.1"),
    ("openai", "gpt-5.6"),
    ("openai", "o3"),
    ("anthropic", "claude-opus-4-6"),
    ("gemini_native", "gemini-2.5-pro"),
    ("mistral", "mistral-small-latest"),
    ("ollama", "llama3.3"),
)


@given(st.dictionaries(st.sampled_from(FIELDS), JSON), st.sampled_from(MODELS))
def test_whatever_is_asked_is_bounded_and_told_or_a_bad_request(
    asked: dict[str, object], which: tuple[str, str]
) -> None:
    job, target = a_job(system="Be kind."), a_target(*which)
    raw = {name: msgspec.Raw(json.dumps(value).encode()) for name, value in asked.items()}
    try:
        effective = apply(job, target, raw)
    except BadRequest:
        return
    assert 1 <= effective.output_limit <= job.output.max
    assert 1 <= effective.n <= target.rules.choices_max
    assert not effective.remove & effective.set.keys()
    assert all(change.isascii() and change.isprintable() for change in effective.changes)
    for value in effective.set.values():
        json.loads(value)
    for name in effective.remove - {"stream_options"}:
        given_one = asked.get(name) is not None and asked.get(name) != 1
        assert not given_one or any(change.startswith(name) for change in effective.changes)
