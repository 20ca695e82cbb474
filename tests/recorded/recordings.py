"""The recorded answers of real providers, when they are here: what they say, and what they cost.

They are no part of the project. They are looked for in `JOBGATE_RECORDED`, else in
`../shared/recorded` beside the repository.
"""

from __future__ import annotations

import gzip
import os
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from gateway.metering.usage import Usage

Row = dict[str, Any]

BESIDE = Path(__file__).parents[2].parent / "shared" / "recorded"
FOLDER = Path(os.environ.get("JOBGATE_RECORDED") or BESIDE)
CORPUS = FOLDER / "recorded.jsonl.gz"
REPLAY = FOLDER / "replay.py"
HERE = CORPUS.is_file() and REPLAY.is_file()

CHAT = frozenset({"chat", "messages", "generate"})
"""The calls that a chat completion can be made of."""
UNKNOWN_RATES = {"input": "1", "output": "2"}
"""USD per million tokens, for rows whose true price nobody knows."""

_CLASS_OF = {
    "input": "input",
    "output": "output",
    "cached_read": "cache_read",
    "cached_audio": "cache_read_audio",
    "cache_write": "cache_write",
    "cache_write_5m": "cache_write",
    "cache_write_1h": "cache_write_1h",
    "input_audio": "audio_input",
    "output_audio": "audio_output",
    "output_image": "image_output",
}
"""The corpus' names of rates, and the ones of routes.yaml."""


@cache
def every_row() -> list[Row]:
    """All rows; none when the recordings are not here."""
    if not HERE:
        return []
    with gzip.open(CORPUS) as lines:
        return [msgspec.json.decode(line) for line in lines]


def chats() -> list[Row]:
    """The rows that can be asked for through chat completions."""
    return [row for row in every_row() if row["api"] in CHAT]


def name_of(row: Row) -> str:
    """A row's name in a test report."""
    kind = "stream" if row["stream"] else "plain"
    return f"{row['provider']}-{row['api']}-{kind}-{row['id']}"


def stated_price(row: Row) -> dict[str, str]:
    """The price of a row's model, as routes.yaml states it."""
    calculated = row.get("price_calc")
    if calculated is None:
        return dict(UNKNOWN_RATES)
    price = {"output": "0"}  # as an embedding has it
    price |= {_CLASS_OF[name]: rate for name, rate in calculated["rates_usd_per_mtok"].items()}
    fee, searches = Decimal(calculated["web_search_usd"]), row["expected"]["web_searches"]
    if fee and searches:
        price["per_call"] = f"{fee / searches:f}"
    return price


def nanos(dollars: str) -> int:
    """Nano-dollars of an exact amount, half to even."""
    return int((Decimal(dollars) * 1_000_000_000).to_integral_value(ROUND_HALF_EVEN))


def in_their_words(usage: Usage) -> dict[str, int]:
    """A usage in the overlapping terms of `expected`; a five-minute write is theirs to split."""
    return {
        "input_total": usage.input_total,
        "input_cached_read": usage.cache_read + usage.cache_read_audio,
        "input_cache_write": usage.cache_write + usage.cache_write_1h,
        "input_cache_write_1h": usage.cache_write_1h,
        "input_audio": usage.audio_input + usage.cache_read_audio,
        "input_cached_audio": usage.cache_read_audio,
        "output_total": usage.output_total,
        "output_reasoning": usage.reasoning,
        "output_audio": usage.audio_output,
        "output_image": usage.image_output,
        "web_searches": usage.requests,
    }


def expected_of(row: Row) -> dict[str, int] | None:
    """What a row's usage should be, in the terms of `in_their_words`; None: it has none.

    Reasoning that a provider does not tell apart is not asked for: those numbers are null.
    """
    if row.get("expected") is None:
        return None
    told = in_their_words(Usage())
    return {name: row["expected"].get(name) or 0 for name in told}
