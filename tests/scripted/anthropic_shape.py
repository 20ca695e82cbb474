"""Anthropic's Messages: content blocks, and usage that is cumulative in a stream."""

from __future__ import annotations

from typing import Any

from msgspec.json import decode

from gateway.metering.usage import Usage
from tests.scripted.frames import Frame, Kind, encode, sse
from tests.scripted.telling import Telling, only

_KNOWN = frozenset(
    {"input", "cache_read", "cache_write", "cache_write_1h", "output", "reasoning", "requests"}
)
_STOPS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
OPENING_FRAGMENT = 1
"""Output tokens that `message_start` states, whatever is to come."""


def usage_of(usage: Usage, tier: str | None) -> dict[str, Any]:
    """Usage in this format's words; cached input stands beside `input_tokens`."""
    only(usage, _KNOWN, "anthropic")
    told: dict[str, Any] = {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write + usage.cache_write_1h,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        },
        "output_tokens": usage.output + usage.reasoning,
        "service_tier": tier or "standard",
    }
    if usage.reasoning:
        told["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    if usage.requests:
        told["server_tool_use"] = {"web_search_requests": usage.requests}
    return told


def _told(telling: Telling) -> dict[str, Any]:
    script = telling.script
    if script.wire_usage is not None:
        return dict(script.wire_usage)
    return usage_of(telling.usage, script.service_tier)


def _blocks(telling: Telling) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if telling.script.thinking:
        thought = {"thinking": telling.script.thinking, "signature": "c2NyaXB0ZWQ="}
        blocks.append({"type": "thinking", **thought})
    if telling.pieces:
        blocks.append({"type": "text", "text": telling.text})
    for at, (name, arguments) in enumerate(telling.script.tool_calls):
        call = {"id": f"toolu_{at}", "name": name, "input": decode(arguments)}
        blocks.append({"type": "tool_use", **call})
    return blocks


def _message(telling: Telling) -> dict[str, Any]:
    return {
        "id": telling.answer_id,
        "type": "message",
        "role": "assistant",
        "model": telling.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def plain(telling: Telling) -> bytes:
    """A finished message."""
    stop = _STOPS.get(telling.finish, telling.finish)
    answer = {**_message(telling), "content": _blocks(telling), "stop_reason": stop}
    if not telling.script.omit_usage:
        answer["usage"] = _told(telling)
    return encode(answer)


def _event(kind: str, fields: dict[str, Any] | None = None) -> bytes:
    return sse({"type": kind, **(fields or {})}, kind)


def frames(telling: Telling) -> list[Frame]:
    """A message as a stream: what is known of the input first, all of the output last."""
    out = [Frame(_event("message_start", {"message": _opening(telling)}))]
    for index, block in enumerate(_blocks(telling)):
        out += _block_frames(telling, index, block)
        if index == 0:
            out.insert(2, Frame(_event("ping")))
    stop = _STOPS.get(telling.finish, telling.finish)
    last: dict[str, Any] = {"delta": {"stop_reason": stop, "stop_sequence": None}}
    if not telling.script.omit_usage:
        whole = _told(telling)
        if telling.script.wire_usage is None:
            whole = {k: v for k, v in whole.items() if k not in ("cache_creation", "service_tier")}
        last["usage"] = whole
    delta = _event("message_delta", last)
    out.append(Frame(delta, has_usage=not telling.script.omit_usage))
    return [*out, Frame(_event("message_stop"), Kind.END)]


def _opening(telling: Telling) -> dict[str, Any]:
    message = _message(telling)
    if telling.script.omit_usage:
        return message
    known = _told(telling)
    if telling.script.wire_usage is None:
        known.pop("output_tokens_details", None)
        known.pop("server_tool_use", None)
        known["output_tokens"] = min(OPENING_FRAGMENT, known["output_tokens"])
        if telling.script.usage_grows:
            known["input_tokens"] //= 2
    return {**message, "usage": known}


def _block_frames(telling: Telling, index: int, block: dict[str, Any]) -> list[Frame]:
    empty: dict[str, Any]
    if block["type"] == "text":
        empty = {"type": "text", "text": ""}
        deltas = [({"type": "text_delta", "text": piece}, True) for piece in telling.pieces]
    elif block["type"] == "thinking":
        empty = {"type": "thinking", "thinking": "", "signature": ""}
        deltas = [
            ({"type": "thinking_delta", "thinking": block["thinking"]}, False),
            ({"type": "signature_delta", "signature": block["signature"]}, False),
        ]
    else:
        empty = {**block, "input": {}}
        given = encode(block["input"]).decode()
        deltas = [({"type": "input_json_delta", "partial_json": given}, True)]
    out = [Frame(_event("content_block_start", {"index": index, "content_block": empty}))]
    for delta, is_piece in deltas:
        data = _event("content_block_delta", {"index": index, "delta": delta})
        out.append(Frame(data, Kind.PIECE if is_piece else Kind.FRAME))
    return [*out, Frame(_event("content_block_stop", {"index": index}))]


def error(status: int, message: str) -> dict[str, Any]:
    """The body of a refusal or failure."""
    kind = _KINDS.get(status, "invalid_request_error" if status < 500 else "api_error")
    told = {"type": kind, "message": message}
    return {"type": "error", "error": told, "request_id": "req_scripted"}


def error_event(message: str) -> bytes:
    """The event of a stream that fails."""
    return _event("error", {"error": {"type": "overloaded_error", "message": message}})
