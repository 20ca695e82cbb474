"""OpenAI's chat completions, embeddings and models, in the dialects of those who copy them."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable, Mapping
from typing import Any

from gateway.metering.usage import Usage
from tests.scripted.frames import Frame, Kind, encode, sse
from tests.scripted.telling import CREATED, Telling, only, partly

DIMENSIONS = 8
_OF_OPENAI = {"input", "cache_read", "cache_write", "output", "reasoning"}
KNOWN: Mapping[str, frozenset[str]] = {
    "openai": frozenset({*_OF_OPENAI, "audio_input", "audio_output"}),
    "mistral": frozenset({"input", "cache_read", "output"}),
    "ollama": frozenset({"input", "output"}),
    "vllm": frozenset({"input", "cache_read", "output"}),
    "groq": frozenset({"input", "cache_read", "output", "reasoning"}),
    "deepseek": frozenset({"input", "cache_read", "output", "reasoning"}),
    "xai": frozenset({"input", "cache_read", "output", "reasoning"}),
    "gemini": frozenset({"input", "output", "reasoning"}),
}
"""The classes of usage that each dialect has words for."""
UNASKED = frozenset({"mistral", "groq", "deepseek"})
"""Who sends usage in streams without being asked."""
_PLACES = {"mistral": "finish", "deepseek": "finish", "groq": "x_groq"}
_EMPTY_ENDS = ("mistral", "ollama")
_THOUGHTS = {"ollama": "reasoning", "groq": "reasoning"}


def usage_of(usage: Usage, flavour: str) -> dict[str, Any]:
    """Usage in a dialect's words. Raises ValueError for a class that it has no word for."""
    only(usage, KNOWN[flavour], flavour)
    prompt, completion = usage.input_total, usage.output_total
    told: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    if flavour in ("gemini", "xai"):
        told["completion_tokens"] = usage.output
    if flavour in ("openai", "groq", "xai"):
        told["prompt_tokens_details"] = {"cached_tokens": usage.cache_read}
        told["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
    if flavour == "openai":
        told["prompt_tokens_details"]["audio_tokens"] = usage.audio_input
        if usage.cache_write:
            told["prompt_tokens_details"]["cache_write_tokens"] = usage.cache_write
        told["completion_tokens_details"] |= {
            "audio_tokens": usage.audio_output,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        }
    if flavour in ("mistral", "vllm") and usage.cache_read:
        told["prompt_tokens_details"] = {"cached_tokens": usage.cache_read}
    if flavour == "deepseek":
        told["prompt_cache_hit_tokens"] = usage.cache_read
        told["prompt_cache_miss_tokens"] = usage.input
        told["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
    return told


def _told(telling: Telling, usage: Usage) -> Any:
    script = telling.script
    if script.wire_usage is not None:
        return dict(script.wire_usage)
    return usage_of(usage, telling.asked.flavour)


def _head(telling: Telling, what: str) -> dict[str, Any]:
    head = {"id": telling.answer_id, "object": what, "created": CREATED, "model": telling.model}
    if telling.asked.flavour == "openai":
        head["service_tier"] = telling.script.service_tier or "default"
        head["system_fingerprint"] = "fp_scripted"
    elif telling.script.service_tier:
        head["service_tier"] = telling.script.service_tier
    if telling.asked.flavour == "ollama":
        head["system_fingerprint"] = "fp_ollama"
    return {key: value for key, value in head.items() if key != "id" or value}


def _calls(telling: Telling) -> list[dict[str, Any]]:
    return [
        {"id": f"call_{at}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for at, (name, arguments) in enumerate(telling.script.tool_calls)
    ]


def plain(telling: Telling) -> bytes:
    """A chat completion."""
    flavour = telling.asked.flavour
    message: dict[str, Any] = {"role": "assistant", "content": telling.text}
    if flavour == "openai":
        message |= {"content": telling.text or None, "refusal": None, "annotations": []}
    if telling.script.thinking:
        message[_THOUGHTS.get(flavour, "reasoning_content")] = telling.script.thinking
    if telling.script.tool_calls:
        message["tool_calls"] = _calls(telling)
    choices = [
        _choice(telling, index, {"message": message}, telling.finish)
        for index in range(telling.choices)
    ]
    answer = {**_head(telling, "chat.completion"), "choices": choices}
    if not telling.script.omit_usage:
        answer["usage"] = _told(telling, telling.usage)
    return encode(answer)


def frames(telling: Telling) -> list[Frame]:
    """A chat completion as a stream of chunks."""
    script, flavour = telling.script, telling.asked.flavour
    asked = telling.asked.include_usage or script.usage_unasked or flavour in UNASKED
    tells = asked and not script.omit_usage
    place = script.usage_place or _PLACES.get(flavour, "own")
    base = _head(telling, "chat.completion.chunk")
    nothing = {"usage": None} if telling.asked.include_usage and flavour == "openai" else {}
    pieces = _pieces(telling)
    total = sum(1 for _, is_piece in pieces if is_piece)
    out: list[Frame] = []
    done = 0
    for (index, delta), is_piece in pieces:
        done += is_piece
        chunk = {**base, "choices": [_choice(telling, index, {"delta": delta}, None)], **nothing}
        if script.usage_in_every_chunk:
            chunk["usage"] = _told(telling, partly(telling.usage, done, total))
        out.append(Frame(sse(chunk), Kind.PIECE if is_piece else Kind.FRAME))
    ended: dict[str, Any] = {"delta": {"content": ""} if flavour in _EMPTY_ENDS else {}}
    for index in range(telling.choices):
        last = tells and index == telling.choices - 1
        chunk = {**base, "choices": [_choice(telling, index, ended, telling.finish)], **nothing}
        if (last and place == "finish") or script.usage_in_every_chunk:
            chunk["usage"] = _told(telling, telling.usage)
        elif last and place == "x_groq":
            chunk["x_groq"] = {"id": "req_groq", "usage": _told(telling, telling.usage)}
        out.append(Frame(sse(chunk), has_usage=last and place != "own"))
    if tells and place == "own":
        chunk = {**base, "choices": [], "usage": _told(telling, telling.usage)}
        out.append(Frame(sse(chunk), has_usage=True))
    return [*out, Frame(b"data: [DONE]\n\n", Kind.END)]


def _choice(
    telling: Telling, index: int, said: Mapping[str, Any], finish: str | None
) -> dict[str, Any]:
    odds = {"logprobs": None} if telling.asked.flavour == "openai" else {}
    return {"index": index, **said, **odds, "finish_reason": finish}


def _pieces(telling: Telling) -> list[tuple[tuple[int, dict[str, Any]], bool]]:
    """Index and delta of every chunk with a choice, and whether it is content."""
    flavour, script = telling.asked.flavour, telling.script
    choices = range(telling.choices)
    role: dict[str, Any] = {"role": "assistant", "content": ""}
    out: list[tuple[tuple[int, dict[str, Any]], bool]] = []
    if flavour != "ollama":
        opening = {**role, "refusal": None} if flavour == "openai" else role
        out += [((index, opening), False) for index in choices]
    if script.thinking:
        field = _THOUGHTS.get(flavour, "reasoning_content")
        out += [((index, {field: script.thinking}), False) for index in choices]
    for piece in telling.pieces:
        delta = {**role, "content": piece} if flavour == "ollama" else {"content": piece}
        out += [((index, delta), True) for index in choices]
    for at, call in enumerate(_calls(telling)):
        whole = {"index": at, **call}
        named = {**whole, "function": {**call["function"], "arguments": ""}}
        rest = {"index": at, "function": {"arguments": call["function"]["arguments"]}}
        for index in choices:
            if flavour == "openai":
                out.append(((index, {"tool_calls": [named]}), False))
                out.append(((index, {"tool_calls": [rest]}), True))
            else:
                out.append(((index, {"tool_calls": [whole]}), True))
    return out


def embedding_usage_of(usage: Usage) -> dict[str, int]:
    """Usage of embeddings. Raises ValueError for all but plain input."""
    only(usage, frozenset({"input"}), "an embedding")
    return {"prompt_tokens": usage.input, "total_tokens": usage.input}


def embeddings(telling: Telling) -> bytes:
    """One short vector for each input; as base64 when asked, as OpenAI's own client does."""
    given = telling.asked.body.get("input", "")
    one = isinstance(given, str) or (isinstance(given, list) and given[:1] and _is_int(given[0]))
    count = 1 if one else len(given)
    vector = [round(1 / (1 + at), 6) for at in range(DIMENSIONS)]
    packed = base64.b64encode(struct.pack(f"<{DIMENSIONS}f", *vector)).decode()
    shown = packed if telling.asked.body.get("encoding_format") == "base64" else vector
    answer: dict[str, Any] = {
        "object": "list",
        "data": [{"object": "embedding", "index": at, "embedding": shown} for at in range(count)],
        "model": telling.model,
    }
    if not telling.script.omit_usage:
        forged = telling.script.wire_usage
        answer["usage"] = embedding_usage_of(telling.usage) if forged is None else dict(forged)
    return encode(answer)


def _is_int(value: object) -> bool:
    return type(value) is int


def models(names: Iterable[str]) -> bytes:
    """The list of models."""
    listed = [
        {"id": name, "object": "model", "created": CREATED, "owned_by": "scripted"}
        for name in names
    ]
    return encode({"object": "list", "data": listed})


_KINDS = {401: "invalid_request_error", 429: "rate_limit_error", 403: "permission_error"}
_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}


def error(status: int, message: str, flavour: str) -> dict[str, Any]:
    """The body of a refusal or failure."""
    kind = _KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
    if flavour == "mistral":
        kind = "rate_limited" if status == 429 else kind
        code = str(status * 10)
        return {"object": "error", "message": message, "type": kind, "param": None, "code": code}
    if flavour == "ollama":
        told = {"message": message, "type": "api_error", "param": None, "code": None}
        return {"error": told}
    code_name = _CODES.get(status)
    return {"error": {"message": message, "type": kind, "param": None, "code": code_name}}


def extra_forbidden(where: list[str], given: Any) -> dict[str, Any]:
    """Mistral's answer to a field that it does not know."""
    detail = {
        "type": "extra_forbidden",
        "loc": ["body", *where],
        "msg": "Extra inputs are not permitted",
        "input": given,
    }
    return {
        "object": "error",
        "message": {"detail": [detail]},
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
