"""The price book's text, made from the map of prices that LiteLLM ships.

The map is read as a data file; LiteLLM is not imported. The same map, version and date give the
same text, byte for byte, so a new import can be reviewed as a diff: one line a model.

How the map is read:
  - its numbers are USD per token as binary floats. Their shortest text is what somebody typed,
    so that text is multiplied exactly; what is finer than a nano-dollar per million tokens is
    noise from an earlier division and is rounded away;
  - a rate of 0 is *not known*, never free. A model without a known input rate, or a chat model
    without a known output rate, is left out; so are models that bill in a unit we cannot count;
  - rates with a condition that a usage does not show (the hour of the day, the region) are not
    applied; the model carries a caveat.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

MAP_FILE = "litellm/model_prices_and_context_window_backup.json"

_TEXT_MODES = frozenset(("chat", "completion", "responses"))
_MODES = _TEXT_MODES | {"embedding"}

_CLASS_OF = {
    "input_cost_per_token": "input",
    "cache_read_input_token_cost": "cache_read",
    "cache_read_input_audio_token_cost": "cache_read_audio",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "output_cost_per_token": "output",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "audio_input",
    "output_cost_per_audio_token": "audio_output",
    "input_cost_per_image_token": "image_input",
    "output_cost_per_image_token": "image_output",
}
_SERVICE_OF = {
    "flex": "flex",
    "priority": "priority",
    "batches": "batch",
    "ultrafast": "ultrafast",
    "balanced": "balanced",
}
_FIELD = re.compile(
    rf"(?P<stem>{'|'.join(sorted(_CLASS_OF, key=len, reverse=True))})"
    rf"(?:_above_(?P<thousands>\d+)k_tokens)?"
    rf"(?:_(?P<service>{'|'.join(_SERVICE_OF)}))?"
)

_UNCOUNTABLE = ("input_cost_per_request", "citation_cost_per_token")
"""Fees on every request, or on tokens that no usage shows: the price would be too low."""

_CAVEATS = {
    "off_peak": ("off_peak_pricing",),
    "regional": (
        "regional_endpoint_uplift_multiplier",
        "regional_processing_uplift_multiplier_eu",
        "regional_processing_uplift_multiplier_us",
    ),
    "free_searches": ("search_free_requests",),
    "video": ("input_cost_per_video_token", "output_cost_per_video_token"),
    "other_units": (
        "input_cost_per_image",
        "output_cost_per_image",
        "input_cost_per_audio_per_second",
        "input_cost_per_video_per_second",
    ),
}

_LIMITS = {"context_window": "max_input_tokens", "output_limit": "max_output_tokens"}

_CAPABILITIES = {
    "supports_audio_input": "audio_input",
    "supports_audio_output": "audio_output",
    "supports_function_calling": "tools",
    "supports_pdf_input": "pdf",
    "supports_prompt_caching": "prompt_caching",
    "supports_reasoning": "reasoning",
    "supports_response_schema": "response_schema",
    "supports_vision": "vision",
    "supports_web_search": "web_search",
}

_ONE_PROVIDER = {
    "azure_text": "azure",
    "bedrock_converse": "bedrock",
    "cohere_chat": "cohere",
    "fireworks_ai-embedding-models": "fireworks_ai",
    "text-completion-codestral": "codestral",
    "text-completion-inception": "inception",
    "text-completion-openai": "openai",
}

_TIER_AT_THRESHOLD = frozenset(("xai",))
"""Providers whose dearer tier begins at the threshold instead of after it."""

Row = dict[str, Any]
Rates = dict[str, Decimal]


def installed_map() -> tuple[Path, str]:
    """The map of the installed LiteLLM, and LiteLLM's version; nothing is imported or fetched."""
    litellm = distribution("litellm")
    return Path(str(litellm.locate_file(MAP_FILE))), litellm.version


def import_map(path: Path, *, version: str, on: date) -> str:
    """The text of the price book for the map at `path`: a header line, then one line a model."""
    entries = json.loads(path.read_text(encoding="utf-8"))
    chosen: dict[tuple[str, str], tuple[int, str]] = {}
    left_out: Counter[str] = Counter()
    for name, entry in sorted(entries.items()):
        if entry.get("mode") not in _MODES or not entry.get("litellm_provider"):
            continue
        reason = _why_not(entry)
        if reason:
            left_out[reason] += 1
            continue
        provider, model = _name(entry["litellm_provider"], name)
        text = _line(_row(provider, model, entry))
        # The map lists some models under two names; the entry that states more rates is kept.
        candidate = (sum("cost" in field for field in entry), text)
        chosen[provider, model] = max(candidate, chosen.get((provider, model), candidate))
    header = {
        "book": "Jobgate prices, USD per million tokens",
        "from": "litellm",
        "version": version,
        "imported": on.isoformat(),
        "models": len(chosen),
        "left_out": dict(sorted(left_out.items())),
    }
    lines = [_line(header), *(text for _, (_, text) in sorted(chosen.items()))]
    return "\n".join(lines) + "\n"


def _line(content: Mapping[str, object]) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def _why_not(entry: Row) -> str:
    """Why a model is not in the book, or nothing."""
    if any(entry.get(field) for field in _UNCOUNTABLE):
        return "billed in a unit that is not counted"
    needed = ["input_cost_per_token"]
    if entry["mode"] in _TEXT_MODES:
        needed.append("output_cost_per_token")
    for rates in entry.get("tiered_pricing") or [entry]:
        if not all(rates.get(field) for field in needed):
            return "price not known"
    return ""


def _name(raw_provider: str, name: str) -> tuple[str, str]:
    """Provider and model as routes.yaml names them, without the map's prefixes."""
    provider = _ONE_PROVIDER.get(raw_provider, raw_provider)
    if provider.startswith("vertex_ai-"):
        provider = "vertex_ai"
    for prefix in (raw_provider, provider, provider.replace("_", "-")):
        if name.startswith(f"{prefix}/"):
            return provider, name.removeprefix(f"{prefix}/")
    return provider, name


def _row(provider: str, model: str, entry: Row) -> Row:
    """One model as the book has it; absent fields are left out of the line."""
    at_threshold = provider in _TIER_AT_THRESHOLD
    standard, services = _schedules(entry)
    row: Row = {"provider": provider, "model": model, "mode": entry["mode"]}
    row |= _written(standard, at_threshold)
    if services:
        row["service_tiers"] = {
            name: _written(schedule, at_threshold) for name, schedule in sorted(services.items())
        }
    search = (entry.get("search_context_cost_per_query") or {}).get("search_context_size_medium")
    if search:
        row["per_call"] = _plain(Decimal(repr(search)))
    for ours, theirs in _LIMITS.items():
        if entry.get(theirs):
            row[ours] = int(entry[theirs])
    can = sorted(ours for theirs, ours in _CAPABILITIES.items() if entry.get(theirs) is True)
    if can:
        row["capabilities"] = can
    caveats = _caveats(entry)
    if caveats:
        row["caveats"] = caveats
    return row


def _schedules(entry: Row) -> tuple[dict[int, Rates], dict[str, dict[int, Rates]]]:
    """The standard schedule and those of the service tiers: rates by threshold, 0 the first."""
    found: dict[str, dict[int, Rates]] = {"": {}}
    for field, value in entry.items():
        match = _FIELD.fullmatch(field)
        # A zero is "not known", and an output at no cost is the default of embeddings.
        if match is None or not value:
            continue
        service = _SERVICE_OF.get(match["service"] or "", "")
        above = int(match["thousands"] or 0) * 1000
        rates = found.setdefault(service, {}).setdefault(above, {})
        rates[_CLASS_OF[match["stem"]]] = _per_million(value)
    for tier in entry.get("tiered_pricing") or ():
        above = int(tier["range"][0])
        fields = ((name, tier[name]) for name in _CLASS_OF if tier.get(name))
        found[""][above] = {_CLASS_OF[name]: _per_million(value) for name, value in fields}
    standard = found.pop("")
    if entry.get("input_cost_per_token_cache_hit"):
        hit = _per_million(entry["input_cost_per_token_cache_hit"])
        standard[0].setdefault("cache_read", hit)
    stated = entry.get("provider_specific_entry") or {}
    # Anthropic's fast mode, and answers made in the United States alone: a multiple of every
    # rate, stated as one number each.
    fast, at_home = stated.get("fast"), stated.get("us")
    if fast:
        found["fast"] = _times(standard, fast)
    if fast and at_home:
        found["fast-us"] = _times(found["fast"], at_home)
    if at_home:
        found["us"] = _times(standard, at_home)
    return standard, found


def _times(schedule: dict[int, Rates], factor: float) -> dict[int, Rates]:
    """Every rate of a schedule, so many times."""
    times = Decimal(repr(factor))
    return {
        above: {name: rate * times for name, rate in rates.items()}
        for above, rates in schedule.items()
    }


def _written(schedule: dict[int, Rates], at_threshold: bool) -> Row:
    """A schedule as text: the rates, and the size tiers in ascending order."""
    row: Row = {"rates": _texts(schedule.get(0, {}))}
    tiers = [
        {
            "above": above,
            **({"at_or_above": True} if at_threshold else {}),
            "rates": _texts(rates),
        }
        for above, rates in sorted(schedule.items())
        if above
    ]
    if tiers:
        row["tiers"] = tiers
    return row


def _texts(rates: Rates) -> dict[str, str]:
    """Rates as text, in the order of the classes."""
    return {name: _plain(rates[name]) for name in _CLASS_OF.values() if name in rates}


def _caveats(entry: Row) -> list[str]:
    """Codes for what the map says about the price and a usage cannot show; see `book.CAVEATS`."""
    found = {code for code, fields in _CAVEATS.items() if any(entry.get(f) for f in fields)}
    if len(set((entry.get("search_context_cost_per_query") or {}).values())) > 1:
        found.add("search_size")
    return sorted(found)


def _per_million(per_token: float) -> Decimal:
    """Exact USD per million tokens of the map's float, to the nano-dollar."""
    return (Decimal(repr(per_token)) * 1_000_000).quantize(Decimal("1e-9"))


def _plain(amount: Decimal) -> str:
    """Decimal text without an exponent or trailing zeros."""
    return f"{amount.normalize():f}"
