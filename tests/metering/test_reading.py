"""What a provider reports, and what we make of it: the rows are in reports.yaml."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.metering.anthropic import anthropic, anthropic_extras, anthropic_rounds
from gateway.metering.reading import (
    gemini,
    gemini_calls,
    ollama,
    openai_chat,
    openai_responses,
    service_tier,
    stated_cost,
)
from gateway.metering.responses import response_extras, response_usage
from gateway.metering.usage import CLASSES, Extra, Usage

Raw = dict[str, Any]

Reader = Callable[[Raw], Usage | None]
READERS: dict[str, Reader] = {
    "OpenAI chat": openai_chat,
    "Others in OpenAI's shape": openai_chat,
    "OpenAI responses": openai_responses,
    "Anthropic": anthropic,
    "Gemini": gemini,
    "Ollama": ollama,
}
TABLES: dict[str, list[Raw]] = yaml.safe_load(
    (Path(__file__).parent / "reports.yaml").read_text("utf-8")
)
ROWS = [
    pytest.param(READERS[table], row["reported"], row["booked"], id=f"{table}: {row['says']}")
    for table, rows in TABLES.items()
    for row in rows
]


@pytest.mark.parametrize(("read", "reported", "booked"), ROWS)
def test_what_a_provider_reports_is_what_is_booked(
    read: Reader, reported: Raw, booked: dict[str, int] | str
) -> None:
    assert read(reported) == (None if isinstance(booked, str) else Usage(**booked))


def test_every_convention_has_a_table() -> None:
    assert TABLES.keys() == READERS.keys()


def test_billed_tool_calls_of_a_response_are_calls_with_a_fee() -> None:
    usage = openai_responses({"input_tokens": 3, "output_tokens": 2}, calls=4)
    assert usage == Usage(input=3, output=2, requests=4)


@pytest.mark.parametrize(
    ("raw", "tier"),
    [
        ({"service_tier": "priority"}, "priority"),
        ({"service_tier": "standard", "speed": "fast"}, "fast"),
        ({"service_tier": "standard", "inference_geo": "us"}, "us"),
        ({"speed": "fast", "inference_geo": "us"}, "fast-us"),
        ({"service_tier": "priority", "inference_geo": "us"}, "priority"),
        ({"service_tier": "standard", "inference_geo": "global"}, "standard"),
        ({"service_tier": "standard", "inference_geo": "not_available"}, "standard"),
        ({"serviceTier": "flex"}, "flex"),
        ({"serviceTier": "SERVICE_TIER_PRIORITY"}, "priority"),
        ({"trafficType": "ON_DEMAND_FLEX"}, "flex"),
        ({"trafficType": "ON_DEMAND_PRIORITY"}, "priority"),
        ({"trafficType": "ON_DEMAND"}, None),
        ({"trafficType": 1}, None),
        ({"service_tier": None, "serviceTier": 7}, None),
        ({}, None),
    ],
)
def test_the_service_tier_is_the_one_that_the_answer_names(raw: Raw, tier: str | None) -> None:
    assert service_tier(raw) == tier


@pytest.mark.parametrize(
    ("flavour", "raw", "dollars"),
    [
        ("openrouter", {"cost": 0.00019325}, "0.00019325"),
        ("openrouter", {"cost": 1.4e-05, "is_byok": False}, "0.000014"),
        ("openrouter", {"cost": 0}, "0"),
        (
            "openrouter",
            {"cost": 0.001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.02}},
            "0.021",
        ),
        ("openrouter", {"cost": 0.001, "is_byok": True}, None),
        ("openrouter", {"cost": -1}, None),
        ("openrouter", {"cost": "much"}, None),
        ("openrouter", {"cost": True}, None),
        ("openrouter", {"cost": {"total": 1}}, None),
        ("openrouter", {}, None),
        ("xai", {"cost_in_usd_ticks": 1_330_500}, "0.00013305"),
        ("xai", {"cost": 3}, None),
        ("openai", {"cost": 0.5, "cost_in_usd_ticks": 5}, None),
    ],
)
def test_a_charge_is_taken_only_from_who_says_what_it_means(
    flavour: str, raw: Raw, dollars: str | None
) -> None:
    assert stated_cost(raw, flavour) == (None if dollars is None else Decimal(dollars))


def test_an_advisors_rounds_are_told_apart_with_their_models() -> None:
    advice = {"type": "advisor_message", "model": "wise", "input_tokens": 8, "output_tokens": 2}
    nameless = {"type": "advisor_message", "input_tokens": 1, "output_tokens": 1}
    raw = {"input_tokens": 5, "output_tokens": 1, "iterations": [advice, nameless, advice]}
    wise = Extra(of="wise", usage=Usage(input=8, output=2))
    assert anthropic_extras(raw) == (wise, Extra(of="", usage=Usage(input=1, output=1)), wise)


def test_many_rounds_of_advice_are_added_up_by_their_models() -> None:
    advice = {"type": "advisor_message", "model": "wise", "input_tokens": 8, "output_tokens": 2}
    raw = {"input_tokens": 5, "output_tokens": 1, "iterations": [advice] * 300}
    assert anthropic_extras(raw) == (Extra(of="wise", usage=Usage(input=2400, output=600)),)


@pytest.mark.parametrize(
    ("model", "searches", "fees"),
    [
        ("gemini-2.5-flash", 3, 1),
        ("gemini-2.5-flash", 0, 0),
        ("gemini-3-flash-preview", 3, 3),
        ("gemini-3.5-pro", 2, 2),
        ("models/gemini-1.5-pro", 2, 1),
        ("", 2, 2),
    ],
)
def test_a_grounded_answer_has_one_fee_up_to_gemini_2_and_one_a_search_since(
    model: str, searches: int, fees: int
) -> None:
    assert gemini_calls(model, searches) == fees


def test_tools_of_a_response_are_counted_by_their_items() -> None:
    told = {
        "usage": {"input_tokens": 3, "output_tokens": 2},
        "output": [
            {"type": "web_search_call", "action": {"type": "search"}},
            {"type": "web_search_call", "action": {"type": "find_in_page"}},
            {"type": "web_search_call"},
            {"type": "file_search_call"},
            {"type": "code_interpreter_call", "container_id": "a"},
            {"type": "code_interpreter_call", "container_id": "b"},
            None,
        ],
    }
    assert response_usage(told) == Usage(input=3, output=2, requests=2)
    assert response_extras(told) == (
        Extra(of="file_search", usage=Usage(requests=1)),
        Extra(of="code_interpreter", usage=Usage(requests=2)),
    )


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
MODALITY = st.fixed_dictionaries(
    {},
    optional={
        "modality": st.one_of(ODD, st.sampled_from(["TEXT", "AUDIO", "IMAGE", 2, 4])),
        "tokenCount": st.one_of(ODD, st.integers(0, 500)),
    },
)
COUNT = st.one_of(st.integers(0, 1000), ODD)
NAMES = sorted({name for rows in TABLES.values() for row in rows for name in row["reported"]})
PARTS = st.dictionaries(
    st.sampled_from(
        [
            "cached_tokens",
            "cache_write_tokens",
            "audio_tokens",
            "image_tokens",
            "reasoning_tokens",
            "thinking_tokens",
            "web_search_requests",
            "ephemeral_1h_input_tokens",
            "ephemeral_5m_input_tokens",
            "type",
            "input_tokens",
            "output_tokens",
        ]
    ),
    COUNT,
)
REPORTS = st.dictionaries(
    st.sampled_from([*NAMES, "cost", "speed", "service_tier", "type", "web_search", "image_gen"]),
    st.one_of(COUNT, PARTS, st.lists(MODALITY), st.lists(PARTS)),
)


@given(raw=REPORTS)
def test_no_report_however_odd_raises_or_makes_a_negative_count(raw: Raw) -> None:
    for read in READERS.values():
        usage = read(raw)
        if usage is not None:
            counts = [getattr(usage, name) for name in CLASSES]
            assert all(type(count) is int and count >= 0 for count in counts)
    service_tier(raw)
    for extra in anthropic_extras(raw):
        assert all(getattr(extra.usage, name) >= 0 for name in CLASSES)
    anthropic_rounds(raw)
    told = {"usage": raw, "tool_usage": raw, "output": [raw, raw], "tools": [raw]}
    for changed in (told, dict.fromkeys(told, raw), dict.fromkeys(told, 1)):
        response_usage(changed)
        response_extras(changed)
    for flavour in ("openrouter", "xai", "openai"):
        assert (stated_cost(raw, flavour) or 0) >= 0


@given(
    prompt=st.integers(0, 10**6),
    completion=st.integers(0, 10**6),
    parts_in=PARTS,
    parts_out=PARTS,
)
def test_whatever_the_parts_say_the_totals_stay(
    prompt: int, completion: int, parts_in: Raw, parts_out: Raw
) -> None:
    usage = openai_chat(
        {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": parts_in,
            "completion_tokens_details": parts_out,
        }
    )
    assert usage is not None
    assert (usage.input_total, usage.output_total) == (prompt, completion)
