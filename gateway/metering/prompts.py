"""What of a chat request and of a chat answer counts as text, for counting it ourselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

TOKENS_PER_MESSAGE = 4
"""What a chat template adds for each message (OpenAI cookbook, counting tokens for chat)."""
TOKENS_PER_REPLY = 3
"""What a chat template adds to open the reply (the same place)."""

_TEXT_FIELDS = (
    "content",
    "text",
    "refusal",
    "reasoning",
    "reasoning_content",
    "thinking",
    "audio",
    "transcript",
    "tool_calls",
    "function",
    "function_call",
    "name",
    "arguments",
    "output",
    "input",
)
_BRINGS = frozenset(
    {
        "file",
        "input_file",
        "document",
        "container_upload",
        "item_reference",
        "video_url",
        "input_video",
        "video",
        "audio_url",
    }
)
"""Parts of a message whose tokens have nothing to do with the bytes that they are said in."""
_SAID_IN_FULL = frozenset({"text", "content"})
"""Sources of documents that have as many tokens as their bytes allow."""
_IMAGE_KINDS = frozenset({"image_url", "image", "input_image"})


@dataclass(frozen=True, slots=True)
class Prompt:
    """The countable parts of a request."""

    text: str
    messages: int
    images: int
    tokens: int = 0
    """Input that was given as token numbers already, as embeddings may be."""


def read_prompt(messages: bytes, tools: Sequence[bytes]) -> Prompt:
    """Text, number of messages and number of images of a request, given as raw JSON.

    `messages` may be a list of messages or of texts, or one text, or token numbers. What cannot
    be decoded counts as text as it stands.
    """
    try:
        decoded = msgspec.json.decode(messages)
    except (msgspec.MsgspecError, RecursionError):
        decoded = [{"content": messages.decode("utf-8", "replace")}]
    if not isinstance(decoded, list):
        decoded = [decoded]
    texts = [text for message in decoded for text in _texts(message)]
    texts += [tool.decode("utf-8", "replace") for tool in tools]
    images = sum(1 for message in decoded for _ in _images(message))
    return Prompt("\n".join(texts), len(decoded), images, sum(map(_numbers, decoded)))


def brings_files(messages: bytes) -> bool:
    """Whether messages, given as raw JSON, bring a file, a video or an earlier item with them.

    What cannot be decoded brings none: the provider cannot read it either.
    """
    try:
        return _brings(msgspec.json.decode(messages))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


def _brings(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_brings, value))
    if not isinstance(value, dict):
        return False
    kind, source = value.get("type"), value.get("source")
    if kind == "document" and isinstance(source, dict) and source.get("type") in _SAID_IN_FULL:
        return _brings(source)
    if "file_id" in value or (kind is None and value.keys() == {"id"}):
        return True
    if isinstance(kind, str) and kind in _BRINGS:
        return True
    return any(_brings(value[name]) for name in ("content", "output", "source") if name in value)


def text_of_choices(lists: Sequence[bytes]) -> str:
    """All text in lists of choices, whole or in chunks; tool calls and reasoning included.

    Never raises, because it is asked for when a hold has to end: what cannot be decoded counts
    as text as it stands.
    """
    found: list[str] = []
    for raw in lists:
        try:
            choices = msgspec.json.decode(raw or b"[]")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            choices = [raw.decode("utf-8", "replace")]
        for choice in choices if isinstance(choices, list) else [choices]:
            said = choice
            if isinstance(choice, dict):
                said = choice.get("delta") or choice.get("message") or choice
            found.extend(_texts(said))
    return "".join(found)


def _numbers(value: Any) -> int:
    """How many numbers a value is, or holds."""
    if isinstance(value, list):
        return sum(map(_numbers, value))
    return 1 if isinstance(value, int) else 0


def _texts(value: Any) -> Iterator[str]:
    """Every text below the fields of a message that hold text, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for name in _TEXT_FIELDS:
            if name in value and not (name == "reasoning_content" and _said_twice(value)):
                yield from _texts(value[name])


def _said_twice(message: dict[str, Any]) -> bool:
    """Some servers send the same thoughts under both of the names that are in use for them."""
    return bool(message.get("reasoning") == message["reasoning_content"])


def _images(message: Any) -> Iterator[Any]:
    content = message.get("content") if isinstance(message, dict) else None
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict) and part.get("type") in _IMAGE_KINDS:
            yield part
