"""OpenAI's chat answer, put together from what another provider said.

Owns the shapes of a completion, of a stream's chunks, and of the usage in them: cached and
written tokens inside `prompt_tokens`, reasoning inside `completion_tokens`. It will not know
where the values come from, and nothing is charged by these figures: money reads the provider's.
"""

from __future__ import annotations

from typing import Any

import msgspec

Json = dict[str, Any]

_DIGITS = 10


def usage(prompt: int, completion: int, prompt_details: Json, completion_details: Json) -> Json:
    """A usage object; both counts in tokens and complete, the details parts of them."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": prompt_details,
        "completion_tokens_details": completion_details,
    }


def tokens(raw: Json, key: str) -> int:
    """A count in a provider's usage, which may be text; 0 when it is absent or not a count."""
    value = raw.get(key)
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value[:_DIGITS])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and value > 0 else 0


def tool_call(call_id: str, name: str, arguments: object) -> Json:
    """A whole call of a function."""
    encoded = msgspec.json.encode(arguments if isinstance(arguments, dict) else {}).decode()
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": name, "arguments": encoded},
    }


def message(text: str, reasoning: str, calls: list[Json]) -> Json:
    """An assistant's message; without text its content is null, as OpenAI has it with calls."""
    answer: Json = {"role": "assistant", "content": text or (None if calls else "")}
    if reasoning:
        answer["reasoning_content"] = reasoning
    if calls:
        answer["tool_calls"] = calls
    return answer


def choice(index: int, answer: Json, finish_reason: str, logprobs: Json | None = None) -> Json:
    """One of a completion's answers."""
    return {
        "index": index,
        "message": answer,
        "logprobs": logprobs,
        "finish_reason": finish_reason,
    }


class Chunks:
    """The chunks of one streamed answer, all with the same id, model and time."""

    __slots__ = ("created", "id", "model")

    def __init__(self, created: int, answer_id: str = "") -> None:
        self.created = created
        self.id = answer_id
        self.model = ""

    def delta(
        self,
        delta: Json,
        *,
        index: int = 0,
        finish_reason: str | None = None,
        logprobs: Json | None = None,
    ) -> Json:
        """A chunk that adds something to the answer, or ends it."""
        made: Json = {"index": index, "delta": delta, "finish_reason": finish_reason}
        if logprobs is not None:
            made["logprobs"] = logprobs
        return self._chunk([made])

    def last(self, counted: Json | None) -> Json:
        """The chunk after the answer, which has the usage and no choices."""
        return {**self._chunk([]), "usage": counted}

    def _chunk(self, choices: list[Json]) -> Json:
        return {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }
