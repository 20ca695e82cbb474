"""How much a Claude model is to think, and which JSON schemas it holds itself to.

Owns what differs between generations of Claude: a token budget up to 4.5, adaptive thinking
with an effort from 4.6 on, thinking that can not be switched off in some of the newest; answers
held to a schema from 4.5 on (4.1 for Opus), for a part of JSON Schema. A name without a version
is taken for the newest generation. It will not know what a token of thinking costs.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

Json = dict[str, Any]

_NAME = re.compile(r"claude-(?:([a-z]+)-)?(\d{1,2})(?!\d)(?:[-.](\d{1,2})(?!\d))?(?:-([a-z]+))?")
_NEWEST = (99, 0)
LEAST_BUDGET = 1024
"""Tokens of thinking, when there is to be any (Anthropic, extended thinking)."""
_BUDGETS = {
    "minimal": LEAST_BUDGET,
    "low": LEAST_BUDGET,
    "medium": 2048,
    "high": 4096,
    "xhigh": 8192,
    "max": 16384,
}
_FORMATS = frozenset(
    {
        "date-time",
        "time",
        "date",
        "duration",
        "email",
        "hostname",
        "uri",
        "ipv4",
        "ipv6",
        "uuid",
    }
)
# Limits that the provider refuses in a schema; they are told to the model in words instead.
_LIMITS = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
)
_NAMED_SCHEMAS = ("properties", "$defs", "definitions")
_LISTED_SCHEMAS = ("anyOf", "allOf", "oneOf", "prefixItems")


class Model(NamedTuple):
    """What a model's name says: its family, such as opus, and its version."""

    family: str
    version: tuple[int, int]

    @property
    def adaptive(self) -> bool:
        """Whether thinking is asked for by effort rather than by a budget."""
        return self.version >= (4, 6)

    @property
    def holds_to_schemas(self) -> bool:
        """Whether answers and tool calls can be held to a JSON schema."""
        return self.version >= ((4, 1) if self.family == "opus" else (4, 5))

    @property
    def thinks_unasked(self) -> bool:
        """Whether a request that says nothing about thinking is thought about."""
        return self.version >= (5, 0)

    @property
    def always_thinks(self) -> bool:
        """Whether thinking can not be switched off."""
        if self.family in ("fable", "mythos"):
            return True
        return self.version >= (5, 5) and self.family != "haiku"


def model_named(name: str) -> Model:
    """What `claude-opus-4-6`, `claude-3-7-sonnet-20250219` or any other name says."""
    found = _NAME.search(name)
    if found is None:
        family = next((each for each in ("opus", "sonnet", "haiku") if each in name), "")
        return Model(family, _NEWEST)
    return Model(found[1] or found[4] or "", (int(found[2]), int(found[3] or 0)))


def thinking_for(effort: str, model: Model, max_tokens: int) -> tuple[Json | None, str | None]:
    """The `thinking` and the `output_config.effort` (None: not sent) that say an OpenAI effort.

    A budget leaves at least half of `max_tokens` to the answer; when not even the smallest one
    does, there is no thinking.
    """
    if model.adaptive:
        return _adaptive(effort, model)
    if effort == "none" or max_tokens < 2 * LEAST_BUDGET:
        return None, None
    budget = min(_BUDGETS[effort], max_tokens // 2)
    return {"type": "enabled", "budget_tokens": budget}, None


def _adaptive(effort: str, model: Model) -> tuple[Json | None, str | None]:
    if effort == "none":
        if model.always_thinks:
            return None, "low"
        return ({"type": "disabled"} if model.thinks_unasked else None), None
    if effort == "minimal":
        effort = "low"
    elif effort == "xhigh" and model.version < (4, 7):
        effort = "high"  # never dearer than was asked for
    return {"type": "adaptive", "display": "summarized"}, effort


def schema_it_holds_to(schema: Json) -> Json:
    """A copy of a JSON schema in the part of the language that Claude can be held to.

    Objects are closed; limits on numbers, lengths and counts move into the description.
    """
    made: Json = {}
    told: list[str] = []
    for key, value in schema.items():
        if key in _LIMITS or (key == "minItems" and value not in (0, 1)):
            told.append(f"{key}: {value}")
        elif key == "format" and value not in _FORMATS:
            told.append(f"format: {value}")
        elif key in _NAMED_SCHEMAS and isinstance(value, dict):
            made[key] = {name: _subschema(each) for name, each in value.items()}
        elif key in _LISTED_SCHEMAS and isinstance(value, list):
            # The provider knows anyOf; a choice of exactly one is the nearest it can promise.
            name = "anyOf" if key == "oneOf" and "anyOf" not in schema else key
            made[name] = [_subschema(each) for each in value]
        elif key == "items":
            made[key] = _subschema(value)
        else:
            made[key] = value
    if made.get("type") == "object" or "properties" in made:
        made["additionalProperties"] = False
    if told:
        limits = "{" + ", ".join(told) + "}"
        made["description"] = f"{made.get('description') or ''}\n{limits}".strip()
    return made


def _subschema(value: Any) -> Any:
    return schema_it_holds_to(value) if isinstance(value, dict) else value
