"""Model names as bills have them, and when two of them mean the same.

A bill may say `gpt-4o-2024-08-06`, "Claude Haiku 4.5" or "Generate content input token count
gemini 2.5 flash short input text"; the ledger has what the API answered. Both are reduced to a
name without a date, without decoration and without the difference between a point and a dash.
What that cannot bring together a person can, with a mapping.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_DATE = re.compile(
    r"[-@ ](?:20\d\d-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01])|2[3-9](?:0[1-9]|1[0-2])|latest)$"
)
"""A day, Mistral's year and month, or the word: at the end of a name."""
_STAGE = re.compile(r"-(?:preview|exp)(?:-(?:0[1-9]|1[0-2])-\d\d)?$")
_SEPARATOR = re.compile(r"[\s._:]+")
_ITEM = re.compile(
    r"^(?P<model>[A-Za-z0-9][\w.:/ -]*?)\s*,\s*(?:cached |audio |image |text |cache write |batch )*"
    r"(?:input|output)\b",
    re.IGNORECASE,
)
_SKU_MODEL = re.compile(r"\b(gemini[ -].*)")
_SKU_PROMPT_SIZE = re.compile(r"\b(?:short|long) input\b")
_SKU_ENDS = frozenset(
    (
        *("short", "long", "input", "output", "text", "image", "audio", "video", "modality", "-"),
        *("batch", "flex", "priority", "standard", "off", "offpeak", "global", "regional"),
        *("caching", "cached", "cache", "storage", "token", "tokens", "count", "thinking"),
        *("online", "prediction", "predictions", "for", "with"),
    )
)
"""Words that follow a model's name in a SKU."""


@dataclass(frozen=True, slots=True)
class Sku:
    """What a Google stock-keeping unit bills: a model, and a figure of tokens or none."""

    model: str
    figure: str

    def tokens(self, number: int) -> dict[str, int]:
        """Its tokens by figure; cached input is input too."""
        found = {self.figure: number}
        if self.figure == "cache_read":
            found["input"] = number
        return found


def plain_model(name: str, mapping: Mapping[str, str] | None = None) -> str:
    """A name reduced to what two names for the same model have in common.

    `mapping` has names, as written on either side, and what to take instead.
    """
    if mapping and name in mapping:
        name = mapping[name]
    plain = name.strip().lower().rpartition("/")[2]
    while (shorter := _STAGE.sub("", _DATE.sub("", plain))) != plain:
        plain = shorter
    return _SEPARATOR.sub("-", plain)


def model_of_line_item(item: str) -> str:
    """The model of a line such as "gpt-5.4, cached input" or "gpt-5.4"; empty for other words."""
    found = _ITEM.match(item)
    if found:
        return found["model"].strip()
    return "" if " " in item else item


def sku(description: str) -> Sku:
    """What a SKU's description says; no figure when it does not count tokens of a request."""
    words = " ".join(description.replace("_", " ").lower().split())
    named = _SKU_MODEL.search(words)
    if named is None:
        return Sku("", "")
    first, *rest = named[1].replace("gemini-", "gemini ").split()
    model = [first]
    for word in rest:
        if word in _SKU_ENDS:
            break
        model.append(word)
    return Sku("-".join(model), _figure(words))


def _figure(words: str) -> str:
    """The figure that a SKU counts; stored caches are billed by the hour and count none."""
    words = _SKU_PROMPT_SIZE.sub(" ", words)
    if "storage" in words:
        return ""
    if "cached" in words or "caching" in words:
        return "cache_read"
    if "output" in words:
        return "output"
    return "input" if "input" in words else ""
