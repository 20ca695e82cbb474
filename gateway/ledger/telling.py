"""An entry as programs are told it: times readable, texts that are JSON taken apart, sums shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from gateway.clock import to_text
from gateway.metering.usage import CLASSES
from gateway.money import NANOS_PER_DOLLAR, TOKENS_PER_PRICE

_LEFT_OUT = frozenset((*CLASSES, "org", "balances", "prices"))


def told_entry(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the ledger as it is told; amounts in nano-dollars, prices per million."""
    usage = {name: row[name] for name in CLASSES}
    rest = {name: value for name, value in row.items() if name not in _LEFT_OUT}
    return {
        **rest,
        "admitted_at": to_text(row["admitted_at"]),
        "recorded_at": to_text(row["recorded_at"]),
        "stream": bool(row["stream"]),
        "confined": bool(row["confined"]),
        "tags": json.loads(row["tags"] or "{}"),
        "decision": json.loads(row["decision"] or "{}"),
        "unit_prices": json.loads(row["prices"] or "null"),
        "usage": usage,
        **usage,
    }


def products(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was used of each class times its price; `usd` is exact, and not rounded yet.

    Empty for an entry that has no prices, or that used nothing.
    """
    rates = json.loads(row["prices"] or "{}")
    return [
        {
            "class": name,
            "count": row[name],
            "nanos_per_million": rates[name],
            "usd": _exact(row[name] * rates[name]),
        }
        for name in CLASSES
        if row[name] and name in rates
    ]


def _exact(millionths: int) -> str:
    """Millionths of nano-dollars as dollars, as many places as there are, nine at the least."""
    dollars = Decimal(millionths) / (TOKENS_PER_PRICE * NANOS_PER_DOLLAR)
    places = max(9, -int(dollars.normalize().as_tuple().exponent))
    return f"{dollars:.{places}f}"
