"""Gemini's generateContent: candidates of parts, and usage restated in every chunk."""

from __future__ import annotations

from typing import Any

from msgspec.json import decode

from gateway.metering.usage import Usage
from tests.scripted.frames import Frame, Kind, encode
from tests.scripted.telling import Telling, only

_KNOWN = frozenset(
    {
        "input",
        "cache_read",
        "cache_read_audio",
        "output",
        "reasoning",
        "audio_input",
        "audio_output",
        "image_input",
        "image_output",
        "requests",
    }
)
_FINISHES = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
}
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def usage_of(usage: Usage, tool_prompt: int = 0) -> dict[str, Any]:
    """Usage in this format's words: the cache inside the prompt, thoughts beside candidates.

    `tool_prompt` is the part of the plain input that is told as tool use. Counts of nothing
    are left out, as the provider does. Raises ValueError for a class it has no word for.
    """
    only(usage, _KNOWN, "gemini")
    if tool_prompt > usage.input:
        raise ValueError("tool_prompt is more than the input that it is a part of")
    prompt = {
        "TEXT": usage.input + usage.cache_read - tool_prompt,
        "AUDIO": usage.audio_input + usage.cache_read_audio,
        "IMAGE": usage.image_input,
    }
    cached = {"TEXT": usage.cache_read, "AUDIO": usage.cache_read_audio}
    answer = {"TEXT": usage.output, "AUDIO": usage.audio_output, "IMAGE": usage.image_output}
    told: dict[str, Any] = {
        "promptTokenCount": sum(prompt.values()),
        "cachedContentTokenCount": sum(cached.values()),
        "candidatesTokenCount": sum(answer.values()),
        "toolUsePromptTokenCount": tool_prompt,
        "thoughtsTokenCount": usage.reasoning,
        "totalTokenCount": usage.total,
        "promptTokensDetails": _by_modality(prompt),
        "cacheTokensDetails": _by_modality(cached),
        "candidatesTokensDetails": _by_modality(answer),
        "toolUsePromptTokensDetails": _by_modality({"TEXT": tool_prompt}),
    }
    always = ("promptTokenCount", "totalTokenCount")
    return {key: value for key, value in told.items() if value or key in always}


def _by_modality(counts: dict[str, int]) -> list[dict[str, Any]]:
    return [{"modality": what, "tokenCount": count} for what, count in counts.items() if count]


def _told(telling: Telling, usage: Usage, *, early: bool = False) -> dict[str, Any]:
    script = telling.script
    if script.wire_usage is not None:
        return dict(script.wire_usage)
    told = usage_of(usage, script.tool_prompt)
    if early and script.usage_grows:
        told["promptTokenCount"] //= 2
        told.pop("promptTokensDetails", None)
    if script.service_tier:
        told["serviceTier"] = script.service_tier
    return told


def _calls(telling: Telling) -> list[dict[str, Any]]:
    return [
        {"functionCall": {"name": name, "args": decode(arguments)}}
        for name, arguments in telling.script.tool_calls
    ]


def _thoughts(telling: Telling) -> list[dict[str, Any]]:
    thinking = telling.script.thinking
    return [{"text": thinking, "thought": True}] if thinking else []


def _candidate(telling: Telling, index: int, parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"content": {"parts": parts, "role": "model"}, "index": index}


def _finish(telling: Telling) -> dict[str, Any]:
    """What only the last chunk of a candidate has."""
    last: dict[str, Any] = {"finishReason": _FINISHES.get(telling.finish, telling.finish)}
    if telling.usage.requests:
        queries = [f"query {at}" for at in range(telling.usage.requests)]
        last["groundingMetadata"] = {"webSearchQueries": queries}
    return last


def _tail(telling: Telling) -> dict[str, Any]:
    return {"modelVersion": telling.model, "responseId": telling.answer_id}


def plain(telling: Telling) -> bytes:
    """A finished answer."""
    text: list[dict[str, Any]] = [{"text": telling.text}] if telling.pieces else []
    parts = [*_thoughts(telling), *text, *_calls(telling)]
    candidates = [
        {**_candidate(telling, index, parts), **_finish(telling)}
        for index in range(telling.choices)
    ]
    answer: dict[str, Any] = {"candidates": candidates}
    if not telling.script.omit_usage:
        answer["usageMetadata"] = _told(telling, telling.usage)
    return encode({**answer, **_tail(telling)})


def frames(telling: Telling) -> list[Frame]:
    """An answer as a stream; the last chunk has the finish and an empty text."""
    choices = range(telling.choices)
    said = [*({"text": piece} for piece in telling.pieces), *_calls(telling)]
    total = len(said) * telling.choices
    chunks: list[tuple[dict[str, Any], Kind]] = []
    for thought in _thoughts(telling):
        opening = telling.part(0, total)
        chunks += [(_chunk(telling, i, [thought], opening), Kind.FRAME) for i in choices]
    done = 0
    for part in said:
        for index in choices:
            done += 1
            # the last piece too is early: what a stream ends on is told once, at its end
            usage = telling.part(done, total)
            chunks.append((_chunk(telling, index, [part], usage), Kind.PIECE))
    for index in choices:
        chunk = _chunk(telling, index, [{"text": ""}], telling.usage, _finish(telling))
        chunks.append((chunk, Kind.FRAME))
    tells = not telling.script.omit_usage
    last = len(chunks) - 1
    if telling.asked.sse:
        return [
            Frame(b"data: " + encode(chunk) + b"\r\n\r\n", kind, at == last and tells)
            for at, (chunk, kind) in enumerate(chunks)
        ]
    return [
        *(
            Frame((b",\r\n" if at else b"[") + encode(chunk), kind, at == last and tells)
            for at, (chunk, kind) in enumerate(chunks)
        ),
        Frame(b"]", Kind.END),
    ]


def _chunk(
    telling: Telling,
    index: int,
    parts: list[dict[str, Any]],
    usage: Usage,
    finish: dict[str, Any] | None = None,
) -> dict[str, Any]:
    candidate = {**_candidate(telling, index, parts), **(finish or {})}
    chunk: dict[str, Any] = {"candidates": [candidate]}
    if not telling.script.omit_usage:
        chunk["usageMetadata"] = _told(telling, usage, early=finish is None)
    return {**chunk, **_tail(telling)}


def error(status: int, message: str, retry_after: float | None = None) -> dict[str, Any]:
    """The body of a refusal or failure; how long to wait stands in it, in no header."""
    word = _STATUSES.get(status, "INVALID_ARGUMENT" if status < 500 else "INTERNAL")
    told: dict[str, Any] = {"code": status, "message": message, "status": word}
    if retry_after is not None:
        kind = "type.googleapis.com/google.rpc.RetryInfo"
        told["details"] = [{"@type": kind, "retryDelay": f"{retry_after:g}s"}]
    return {"error": told}


def error_event(message: str) -> bytes:
    """The event of a stream that fails."""
    return b"data: " + encode(error(503, message)) + b"\r\n\r\n"
