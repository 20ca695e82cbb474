"""The map of prices becomes the book: exactly, the same every time, and zeros stay unknown."""

from __future__ import annotations

import json
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from gateway.prices.book import BUNDLED, PriceBook
from gateway.prices.importing import import_map, installed_map

DAY = date(2026, 11, 2)


@pytest.fixture
def imported(tmp_path: Path) -> Any:
    """Imports a map of one entry or several and gives the rows after the header."""

    def rows(**entries: dict[str, object]) -> list[dict[str, Any]]:
        path = tmp_path / "map.json"
        usual = {"mode": "chat", "litellm_provider": "openai"}
        path.write_text(json.dumps({name: usual | entry for name, entry in entries.items()}))
        text = import_map(path, version="1", on=DAY)
        return [json.loads(line) for line in text.splitlines()[1:]]

    return rows


PRICED = {"input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05}


def test_the_shipped_book_is_what_the_installed_map_gives() -> None:
    path, version = installed_map()
    shipped = BUNDLED.read_text(encoding="utf-8")
    header = json.loads(shipped.splitlines()[0])

    again = import_map(path, version=version, on=date.fromisoformat(header["imported"]))

    assert header["version"] == version
    assert again == shipped, "the price book is stale: import the map again and review the diff"


def test_the_books_rates_are_the_maps_to_the_last_digit() -> None:
    """The map read another way: `Fraction(repr)` of the plain rates of one provider."""
    path, _ = installed_map()
    book = PriceBook.bundled()
    entries = json.loads(path.read_text(encoding="utf-8"))
    compared = 0
    for name, entry in entries.items():
        facts = book.find("openai", name) if entry.get("litellm_provider") == "openai" else None
        if facts is None or facts.model != name or facts.mode != entry.get("mode"):
            continue
        for field, ours in (
            ("input_cost_per_token", facts.price.rates.input),
            ("output_cost_per_token", facts.price.rates.output),
        ):
            assert Fraction(ours, 10**15) == Fraction(repr(entry.get(field, 0))), name
        compared += 1
    assert compared > 50


def test_floats_become_the_decimal_that_was_typed(imported: Any) -> None:
    (row,) = imported(m={"input_cost_per_token": 1.1e-06, "output_cost_per_token": 7.5e-08})

    assert row["rates"] == {"input": "1.1", "output": "0.075"}


def test_noise_below_a_nano_is_rounded_away(imported: Any) -> None:
    noisy = {
        "input_cost_per_token": 3.0001999999999996e-07,
        "output_cost_per_token": 1e-05,
    }
    (row,) = imported(m=noisy)

    assert row["rates"] == {"input": "0.30002", "output": "10"}


@pytest.mark.parametrize(
    "entry",
    [
        {"input_cost_per_token": 0, "output_cost_per_token": 0},
        {"input_cost_per_token": 1e-06, "output_cost_per_token": 0},
        {"input_cost_per_token": 0.0, "output_cost_per_token": 1e-06},
        {"input_cost_per_token": 1e-06},
        {},
        {**PRICED, "mode": "image_generation"},
        {**PRICED, "input_cost_per_request": 0.005},
        {**PRICED, "citation_cost_per_token": 2e-06},
    ],
)
def test_a_model_whose_price_is_not_wholly_known_is_left_out(
    imported: Any, entry: dict[str, object]
) -> None:
    assert imported(m=entry) == []


def test_an_embedding_needs_no_output_rate(imported: Any) -> None:
    (row,) = imported(
        m={
            "mode": "embedding",
            "input_cost_per_token": 2e-08,
            "output_cost_per_token": 0.0,
        }
    )

    assert row["rates"] == {"input": "0.02"}


def test_a_class_listed_at_nothing_is_not_known(imported: Any) -> None:
    (row,) = imported(m={**PRICED, "cache_creation_input_token_cost": 0.0})

    assert "cache_write" not in row["rates"]


def test_size_tiers_service_tiers_and_both_at_once(imported: Any) -> None:
    (row,) = imported(
        m={
            **PRICED,
            "cache_creation_input_token_cost_above_1hr": 4e-06,
            "input_cost_per_token_above_200k_tokens": 5e-06,
            "cache_creation_input_token_cost_above_1hr_above_200k_tokens": 8e-06,
            "input_cost_per_token_batches": 1.25e-06,
            "input_cost_per_token_priority": 4e-06,
            "input_cost_per_token_above_200k_tokens_priority": 9e-06,
        }
    )

    assert row["rates"] == {"input": "2.5", "cache_write_1h": "4", "output": "10"}
    assert row["tiers"] == [{"above": 200_000, "rates": {"input": "5", "cache_write_1h": "8"}}]
    assert row["service_tiers"] == {
        "batch": {"rates": {"input": "1.25"}},
        "priority": {
            "rates": {"input": "4"},
            "tiers": [{"above": 200_000, "rates": {"input": "9"}}],
        },
    }


def test_ranges_become_size_tiers(imported: Any) -> None:
    first = {
        "input_cost_per_token": 1e-06,
        "output_cost_per_token": 2e-06,
        "range": [0, 32000.0],
    }
    then = {
        "input_cost_per_token": 3e-06,
        "output_cost_per_token": 4e-06,
        "range": [32000.0, 1e6],
    }
    (row,) = imported(m={"tiered_pricing": [first, then]})

    assert row["rates"] == {"input": "1", "output": "2"}
    assert row["tiers"] == [{"above": 32_000, "rates": {"input": "3", "output": "4"}}]


def test_a_tier_of_xai_begins_at_its_threshold(imported: Any) -> None:
    tiered = {**PRICED, "input_cost_per_token_above_128k_tokens": 5e-06}
    (row,) = imported(**{"xai/grok": {**tiered, "litellm_provider": "xai"}})

    assert (row["provider"], row["model"]) == ("xai", "grok")
    assert row["tiers"][0]["at_or_above"] is True


def test_a_fast_mode_is_a_multiple_of_every_rate(imported: Any) -> None:
    (row,) = imported(m={**PRICED, "provider_specific_entry": {"fast": 2.0, "us": 1.1}})

    assert row["service_tiers"]["fast"]["rates"] == {"input": "5", "output": "20"}
    assert row["service_tiers"]["us"]["rates"] == {"input": "2.75", "output": "11"}
    assert row["service_tiers"]["fast-us"]["rates"] == {"input": "5.5", "output": "22"}
    assert "caveats" not in row


@pytest.mark.parametrize(
    ("raw", "name", "provider", "model"),
    [
        ("vertex_ai-anthropic_models", "vertex_ai/claude", "vertex_ai", "claude"),
        (
            "bedrock_converse",
            "anthropic.claude-v1:0",
            "bedrock",
            "anthropic.claude-v1:0",
        ),
        ("bedrock", "bedrock/eu-west-1/m", "bedrock", "eu-west-1/m"),
        ("together_ai", "together_ai/meta/llama", "together_ai", "meta/llama"),
        ("amazon_nova", "amazon-nova/lite", "amazon_nova", "lite"),
        ("text-completion-openai", "davinci-002", "openai", "davinci-002"),
    ],
)
def test_names_are_those_of_the_provider(
    imported: Any, raw: str, name: str, provider: str, model: str
) -> None:
    (row,) = imported(**{name: {**PRICED, "litellm_provider": raw}})

    assert (row["provider"], row["model"]) == (provider, model)


def test_of_two_entries_for_one_model_the_more_detailed_is_kept(imported: Any) -> None:
    (row,) = imported(
        **{
            "deepseek-chat": {**PRICED, "litellm_provider": "deepseek"},
            "deepseek/deepseek-chat": {
                **PRICED,
                "litellm_provider": "deepseek",
                "input_cost_per_token_cache_hit": 2.8e-08,
            },
        }
    )

    assert row["rates"]["cache_read"] == "0.028"


def test_the_medium_search_is_the_fee_and_the_reader_is_told(imported: Any) -> None:
    sizes = {"low": 0.005, "medium": 0.008, "high": 0.012}
    fees = {f"search_context_size_{size}": fee for size, fee in sizes.items()}
    (row,) = imported(m={**PRICED, "search_context_cost_per_query": fees})

    assert row["per_call"] == "0.008"
    assert row["caveats"] == ["search_size"]
