"""What providers call their columns; for people the same is told in docs/reconciliation.md.

Names are compared as `plain_name` makes them: lower case, anything but letters and digits an
underscore, nested JSON joined by one. Where several names are listed the first that is there, and
not empty, is read; of token columns all that are there are added up, because providers split a
figure by modality or by the life of a cache.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

Names = tuple[str, ...]

_UNPLAIN = re.compile(r"[^a-z0-9]+")
_NOTHING: Mapping[str, Names] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The columns of one provider's exports.

    `tokens` maps a figure (see `provider_exports.FIGURES`) to columns; `cached_beside` says that
    cached and written tokens come on top of the input columns. `in_cents` are amounts in cents.
    `until` is the last day of a line about several days. `beside_traffic` are cost types that are
    not usage. With `is_sku`, `item` names model and class in words, and `quantity` has the tokens.
    """

    zone: str
    day: Names
    until: Names = ()
    model: Names = ()
    item: Names = ()
    keys: Names = ()
    tokens: Mapping[str, Names] = field(default_factory=lambda: _NOTHING)
    cached_beside: bool = False
    quantity: Names = ()
    is_sku: bool = False
    amount: Names
    in_cents: Names = ()
    currency: Names = ("currency",)
    credits: Names = ()
    cost_type: Names = ()
    beside_traffic: Names = ()
    service: Names = ()
    only_services: Names = ()


def plain_name(text: str) -> str:
    """A column's name without its decoration: "Cost ($)" and "cost" are the same."""
    return _UNPLAIN.sub("_", text.lower()).strip("_")


_OPENAI = Layout(
    zone="UTC",
    day=("start_time_iso", "start_time", "date", "day", "usage_date"),
    model=("model",),
    item=("line_item",),
    keys=(
        *("api_key_id", "api_key_name", "api_key", "api_key_redacted"),
        *("project_id", "project_name", "project"),
    ),
    tokens=MappingProxyType(
        {
            "input": ("input_tokens", "input_audio_tokens", "input_image_tokens"),
            "cache_read": ("input_cached_tokens",),
            "cache_write": ("input_cache_write_tokens",),
            "output": ("output_tokens", "output_audio_tokens", "output_image_tokens"),
        }
    ),
    amount=("amount_value", "amount", "cost_in_major", "cost_usd", "cost"),
    currency=("amount_currency", "currency"),
)

_ANTHROPIC = Layout(
    zone="UTC",
    day=("usage_date_utc", "starting_at", "usage_date", "date"),
    model=("model", "model_version"),
    item=("description",),
    keys=("api_key_id", "api_key", "api_key_name", "workspace_id", "workspace"),
    tokens=MappingProxyType(
        {
            "input": ("uncached_input_tokens", "usage_input_tokens_no_cache"),
            "cache_read": ("cache_read_input_tokens", "usage_input_tokens_cache_read"),
            "cache_write": (
                "cache_creation_ephemeral_5m_input_tokens",
                "cache_creation_ephemeral_1h_input_tokens",
                "usage_input_tokens_cache_write_5m",
                "usage_input_tokens_cache_write_1h",
            ),
            "output": ("output_tokens", "usage_output_tokens"),
        }
    ),
    cached_beside=True,
    amount=("amount", "cost_usd"),
    in_cents=("amount",),
    cost_type=("cost_type",),
    beside_traffic=("web_search", "code_execution", "session_usage"),
)

_GOOGLE = Layout(
    zone="America/Los_Angeles",
    day=("usage_start_time", "usage_start_date", "date", "day"),
    until=("usage_end_date",),
    item=("sku_description",),
    keys=("project_id", "project_name", "project_number"),
    quantity=("usage_amount",),
    is_sku=True,
    amount=("unrounded_cost", "unrounded_subtotal", "cost", "subtotal"),
    credits=("credits_amount", "credits", "discounts", "promotions_and_others"),
    cost_type=("cost_type",),
    beside_traffic=("tax", "adjustment", "rounding_error", "rounding error", "adjustments"),
    service=("service_description",),
    only_services=("gemini", "vertex", "generative language", "agent platform"),
)

_MISTRAL = Layout(
    zone="UTC",
    day=("date", "day", "usage_date", "timestamp", "start_date", "created_at"),
    model=("model", "model_name", "model_id"),
    item=("description", "item"),
    keys=("api_key_id", "api_key", "api_key_name", "workspace_id", "workspace", "workspace_name"),
    tokens=MappingProxyType(
        {
            "input": ("input_tokens", "prompt_tokens"),
            "cache_read": ("cached_tokens", "cached_input_tokens", "num_cached_tokens"),
            "output": ("output_tokens", "completion_tokens"),
        }
    ),
    amount=("cost", "cost_usd", "cost_eur", "amount", "total_cost", "price"),
    credits=("credits", "credit"),
)

_GENERIC = Layout(
    zone="UTC",
    day=("date", "day"),
    model=("model",),
    item=("description",),
    keys=("key", "project"),
    tokens=MappingProxyType(
        {
            "input": ("input_tokens",),
            "cache_read": ("cached_tokens",),
            "cache_write": ("cache_write_tokens",),
            "output": ("output_tokens",),
        }
    ),
    amount=("amount_usd", "amount"),
    credits=("credits",),
)

LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "openai": _OPENAI,
        "anthropic": _ANTHROPIC,
        "google": _GOOGLE,
        "mistral": _MISTRAL,
        "generic": _GENERIC,
    }
)
"""By provider."""
