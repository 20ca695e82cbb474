"""The shipped price book can be read to the last line, and answers only for what it has."""

from __future__ import annotations

import json

import pytest

from gateway.errors import ConfigurationError
from gateway.prices.book import BUNDLED, CAVEATS, PriceBook

DOLLAR = 1_000_000_000


@pytest.fixture(scope="module")
def bundled() -> PriceBook:
    return PriceBook.bundled()


def a_book(*rows: tuple[str, str, str], **more: object) -> PriceBook:
    """A book of (provider, model, input rate) rows."""
    lines = [json.dumps({"from": "a test", "version": "1", "imported": "2026-11-02"})]
    for provider, model, rate in rows:
        row = {"provider": provider, "model": model, "mode": "chat"}
        lines.append(json.dumps({**row, "rates": {"input": rate, "output": "8"}, **more}))
    return PriceBook("\n".join(lines).encode())


def found(book: PriceBook, model: str) -> str | None:
    facts = book.find("openai", model)
    return facts.model if facts is not None else None


def test_every_line_of_the_book_is_a_price(bundled: PriceBook) -> None:
    assert len(bundled.models) > 3_000
    for provider, model in bundled.models:
        facts = bundled.find(provider, model)
        assert facts is not None
        assert (facts.provider, facts.model) == (provider, model)
        assert facts.price.rates.input > 0
        assert facts.price.rates.output > 0 or facts.mode == "embedding"
        assert not facts.price.free
        assert set(facts.caveats) <= set(CAVEATS)


def test_the_book_is_sorted_and_says_each_thing_once() -> None:
    header, *lines = BUNDLED.read_text(encoding="utf-8").splitlines()
    names = [(row["provider"], row["model"]) for row in map(json.loads, lines)]

    assert names == sorted(set(names))
    assert json.loads(header)["models"] == len(names)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o"),
        ("openai", "text-embedding-3-small"),
        ("anthropic", "claude-sonnet-4-5"),
        ("gemini", "gemini-2.5-flash"),
        ("vertex_ai", "gemini-2.5-flash"),
        ("mistral", "mistral-large-latest"),
        ("azure", "gpt-4o"),
        ("bedrock", "anthropic.claude-haiku-4-5-20251001-v1:0"),
    ],
)
def test_the_book_knows_what_people_use(bundled: PriceBook, provider: str, model: str) -> None:
    facts = bundled.find(provider, model)

    assert facts is not None
    assert facts.price.valid_from is not None
    assert facts.context_window


def test_prices_are_exact(bundled: PriceBook) -> None:
    facts = bundled.find("openai", "gpt-4o")

    assert facts is not None
    assert facts.price.rates.input == 2_500_000_000
    assert facts.price.rates.cache_read == 1_250_000_000
    assert facts.price.rates.output == 10_000_000_000
    assert facts.price.service_tiers["priority"].rates.cache_read == 2_125_000_000
    assert "vision" in facts.capabilities


def test_an_hour_in_the_cache_costs_more_than_five_minutes(bundled: PriceBook) -> None:
    facts = bundled.find("anthropic", "claude-sonnet-4-5")

    assert facts is not None
    rates = facts.price.rates
    assert rates.cache_write * 4 == rates.input * 5
    assert rates.cache_write_1h == rates.input * 2
    assert rates.cache_read * 10 == rates.input


def test_a_search_has_its_fee(bundled: PriceBook) -> None:
    facts = bundled.find("anthropic", "claude-sonnet-4-5")

    assert facts is not None
    assert facts.price.rates.requests == 10_000 * DOLLAR


@pytest.mark.parametrize("model", ["llama2", "mistral"])
def test_what_is_listed_at_nothing_is_not_known_rather_than_free(
    bundled: PriceBook, model: str
) -> None:
    assert bundled.find("ollama", model) is None


@pytest.mark.parametrize(
    ("known", "asked", "answer"),
    [
        ("gpt-4o", "gpt-4o", "gpt-4o"),
        ("gpt-4o", "gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-4o", "gpt-4o-20240806", "gpt-4o"),
        ("gpt-4o", "gpt-4o-latest", "gpt-4o"),
        ("gpt-4o-2024-08-06", "gpt-4o", "gpt-4o-2024-08-06"),
        ("gpt-4o-2024-08-06", "gpt-4o-latest", "gpt-4o-2024-08-06"),
        ("gpt-4o-latest", "gpt-4o", "gpt-4o-latest"),
        ("flash-preview", "flash-preview-05-20", "flash-preview"),
        ("flash-preview-05-20", "flash-preview", "flash-preview-05-20"),
        ("flash", "flash-preview-05-20", None),
        ("gpt-4o-2024-08-06", "gpt-4o-2024-11-20", None),
        ("gpt-4o-latest", "gpt-4o-2024-11-20", None),
        ("gpt-4o", "gpt-4o-mini", None),
        ("gpt-4o-mini", "gpt-4o", None),
        ("gpt-4o", "gpt-4o-2024-13-06", None),
        ("gpt-4o", "gpt-4o-1106", None),
        ("gpt-4o", "gpt-4o-05-20", None),
        ("gpt-4o", "GPT-4o", None),
    ],
)
def test_a_date_may_be_added_or_missing_and_nothing_else(
    known: str, asked: str, answer: str | None
) -> None:
    assert found(a_book(("openai", known, "2")), asked) == answer


def test_an_exact_name_wins_over_a_date() -> None:
    book = a_book(("openai", "gpt-4o", "2"), ("openai", "gpt-4o-2024-05-13", "5"))

    assert found(book, "gpt-4o-2024-05-13") == "gpt-4o-2024-05-13"
    assert found(book, "gpt-4o") == "gpt-4o"


def test_an_undated_name_among_dates_of_different_prices_is_not_guessed() -> None:
    same = a_book(("openai", "o-2025-01-01", "2"), ("openai", "o-2025-06-01", "2"))
    different = a_book(("openai", "o-2025-01-01", "2"), ("openai", "o-2025-06-01", "3"))

    assert found(same, "o") == "o-2025-06-01"
    assert found(different, "o") is None


def test_another_providers_price_is_never_used() -> None:
    assert a_book(("openai", "gpt-4o", "2")).find("azure", "gpt-4o") is None


def test_similar_names_are_offered_for_a_message() -> None:
    book = a_book(("openai", "gpt-4o-mini", "1"), ("azure", "gpt-4o-mini", "1"))

    assert book.nearest("gpt-4o-minni", "openai") == ["openai/gpt-4o-mini"]
    assert set(book.nearest("gpt-4o-minni")) == {
        "azure/gpt-4o-mini",
        "openai/gpt-4o-mini",
    }
    assert book.nearest("something else") == []


def test_the_version_names_the_source_and_the_day() -> None:
    book = a_book(("openai", "gpt-4o", "2"))
    facts = book.find("openai", "gpt-4o")

    assert book.version == "a test 1, imported 2026-11-02"
    assert facts is not None
    assert facts.price.source == book.version


def test_what_is_not_known_about_a_model_is_none() -> None:
    facts = a_book(("openai", "gpt-4o", "2")).find("openai", "gpt-4o")

    assert facts is not None
    assert (facts.context_window, facts.output_limit) == (None, None)
    assert facts.capabilities == frozenset()


@pytest.mark.parametrize("text", [b"", b"not a book", b'{"from": "x"}'])
def test_what_is_not_a_book_is_refused(text: bytes) -> None:
    with pytest.raises(ConfigurationError):
        PriceBook(text)
