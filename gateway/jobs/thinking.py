"""How much a request asks its model to think, kept under the limit of its answer.

Anthropic counts thinking as output and refuses a `thinking.budget_tokens` that is not below
`max_tokens`. So where a job's policy, the model or a short budget lowers the limit, the thinking
is lowered with it: to half of the limit at the most, as for an effort, and never under the
least that the provider takes. Requests without such a budget are none of this room's business.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.wire.anthropic_thinking import LEAST_BUDGET

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.encode


def budget_in(thinking: bytes) -> int | None:
    """Tokens that a `thinking` field gives to it; None when it states no number."""
    try:
        budget = _decode(thinking).get("budget_tokens")
    except (msgspec.MsgspecError, RecursionError):
        return None
    return budget if isinstance(budget, int) and not isinstance(budget, bool) else None


def within(thinking: bytes, limit: int) -> tuple[bytes, str] | None:
    """The field with a budget under an output limit in tokens, and what to tell of the change:
    nothing when it is under it already. None when the limit leaves no room for thinking."""
    budget = budget_in(thinking)
    if budget is None or budget < limit:
        return thinking, ""
    lower = limit // 2
    if lower < LEAST_BUDGET:
        return None
    changed = _encode({**_decode(thinking), "budget_tokens": lower})
    return changed, f"thinking.budget_tokens={budget}->{lower} (half of the output limit)"
