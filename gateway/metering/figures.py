"""Figures in what a provider reports, however odd.

Promises that whatever stands in a report, reading it neither raises nor gives a number that is no
count: nulls, texts, negative numbers and nonsense are as good as missing, and missing is not zero.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

Raw = Mapping[str, Any]

_MOST = 1_000_000_000
"""The largest number that is taken for a count; no model has a thousandth of it."""
_COUNT = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,3})?")
_MOST_MONEY = 10_000_000_000 * _MOST
"""In the smallest unit that a charge is told in, ten-billionths of a dollar."""


def number(raw: Raw, name: str) -> int | None:
    """A count; None when it is missing, null, negative, or no number.

    JSON made from protocol buffers has large numbers as text, and some servers compute counts as
    floats; a part of a token is a token.
    """
    value = raw.get(name)
    if value is None:
        return None
    if type(value) is int:  # almost always, and this runs a score of times for every answer
        return value if 0 <= value <= _MOST else None
    if isinstance(value, str) and _COUNT.fullmatch(value):
        value = float(value)
    if isinstance(value, float) and math.isfinite(value):
        value = math.ceil(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        return None
    return value


def number_of_money(value: object) -> Decimal | None:
    """An amount of zero or more; None for anything else. Floats by their shortest text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(str(value))
    except (InvalidOperation, ValueError):
        return None
    return amount if amount.is_finite() and 0 <= amount <= _MOST_MONEY else None


def name(raw: Raw, field: str) -> str:
    """A text; empty when it is missing or no text."""
    value = raw.get(field)
    return value if isinstance(value, str) else ""


def part(raw: Raw, field: str) -> Raw:
    """An object inside; empty when it is missing or no object."""
    value = raw.get(field)
    return value if isinstance(value, dict) else {}


def first(*values: int | None) -> int:
    """The first that is told and not zero: servers put zeros into fields they do not fill."""
    for value in values:
        if value:
            return value
    return 0


def searches(raw: Raw) -> int:
    """Web searches with a fee, as Anthropic tells them, and OpenRouter."""
    if "server_tool_use" not in raw and "server_tool_use_details" not in raw:
        return 0
    return first(
        number(part(raw, "server_tool_use"), "web_search_requests"),
        number(part(raw, "server_tool_use_details"), "web_search_requests"),
    )
