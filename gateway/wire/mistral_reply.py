"""Mistral's answers in parts, said as OpenAI says them.

Its reasoning models answer with a list of parts, `thinking` and `text`, where OpenAI's clients
expect text. The thoughts become `reasoning_content`, the name that the other translations use,
and the text becomes the content. What is not in parts is left as it came. Pure.
"""

from __future__ import annotations

from typing import Any

import msgspec

_decode = msgspec.json.decode
_encode = msgspec.json.encode


def in_parts(data: bytes) -> bool:
    """Whether an answer or a chunk may have content in parts; cheap, and sometimes wrongly yes."""
    return b'"content":[' in data or b'"content": [' in data


def without_parts(choices: bytes) -> bytes:
    """A JSON list of choices, whole or of a chunk, whose contents are text."""
    found = _decode(choices)
    if not isinstance(found, list):
        return choices
    for choice in found:
        for name in ("message", "delta"):
            said = choice.get(name) if isinstance(choice, dict) else None
            if isinstance(said, dict) and isinstance(said.get("content"), list):
                _put_together(said, said["content"])
    return _encode(found)


def _put_together(said: dict[str, Any], parts: list[Any]) -> None:
    thoughts = "".join(_text(part.get("thinking")) for part in parts if isinstance(part, dict))
    said["content"] = "".join(_text(part) for part in parts)
    if thoughts:
        said["reasoning_content"] = _text(said.get("reasoning_content")) + thoughts


def _text(value: object) -> str:
    """The text of a text, of a part, or of a list of parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(_text(part) for part in value)
    if isinstance(value, dict):
        return _text(value.get("text"))
    return ""
