"""OpenAI's Responses: one object, or a stream of typed and numbered events."""

from __future__ import annotations

from typing import Any

from gateway.metering.usage import Usage
from tests.scripted.frames import Frame, Kind, encode, sse
from tests.scripted.telling import CREATED, Telling, only

_KNOWN = frozenset({"input", "cache_read", "cache_write", "output", "reasoning", "requests"})
_STATUS = {"length": "incomplete", "content_filter": "incomplete", "failed": "failed"}
_WHY = {"length": "max_output_tokens", "content_filter": "content_filter"}


def usage_of(usage: Usage) -> dict[str, Any]:
    """Usage in this format's words; fees of web searches show as output items instead."""
    only(usage, _KNOWN, "a response")
    cached: dict[str, int] = {"cached_tokens": usage.cache_read}
    if usage.cache_write:
        cached["cache_write_tokens"] = usage.cache_write
    return {
        "input_tokens": usage.input_total,
        "input_tokens_details": cached,
        "output_tokens": usage.output_total,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.total,
    }


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _items(telling: Telling) -> list[dict[str, Any]]:
    """The finished output items, in order."""
    items: list[dict[str, Any]] = []
    if telling.usage.reasoning or telling.script.thinking:
        told = [{"type": "summary_text", "text": t} for t in [telling.script.thinking] if t]
        items.append({"id": "rs_0", "type": "reasoning", "summary": told})
    for at in range(telling.usage.requests):
        action = {"type": "search", "query": f"query {at}"}
        call = {"id": f"ws_{at}", "type": "web_search_call", "status": "completed"}
        items.append({**call, "action": action})
    if telling.pieces:
        message = {"id": "msg_0", "type": "message", "status": "completed", "role": "assistant"}
        items.append({**message, "content": [_text_part(telling.text)]})
    for at, (name, arguments) in enumerate(telling.script.tool_calls):
        call = {"id": f"fc_{at}", "type": "function_call", "status": "completed"}
        items.append({**call, "arguments": arguments, "call_id": f"call_{at}", "name": name})
    return items


def _response(telling: Telling, status: str) -> dict[str, Any]:
    """The response object as it stands at `status`."""
    script, running = telling.script, status == "in_progress"
    usage: Any = None
    if not running and not script.omit_usage:
        usage = usage_of(telling.usage) if script.wire_usage is None else dict(script.wire_usage)
    failed = {"code": "server_error", "message": script.error or "The model failed."}
    tier = script.service_tier or "default"
    return {
        "id": telling.answer_id,
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "background": False,
        "error": failed if status == "failed" else None,
        "incomplete_details": {"reason": _WHY[telling.finish]} if status == "incomplete" else None,
        "instructions": telling.asked.body.get("instructions"),
        "max_output_tokens": telling.asked.limit,
        "metadata": {},
        "model": telling.model,
        "output": [] if running else _items(telling),
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "auto" if running else tier,
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": usage,
        "user": None,
    }


def plain(telling: Telling) -> bytes:
    """A finished response."""
    return encode(_response(telling, _STATUS.get(telling.finish, "completed")))


class _Events:
    """Events that number themselves."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def add(self, kind: str, fields: dict[str, Any], count: Kind = Kind.FRAME) -> None:
        data = {"type": kind, **fields, "sequence_number": len(self.frames)}
        self.frames.append(Frame(sse(data, kind), count, count is Kind.END))


def frames(telling: Telling) -> list[Frame]:
    """A response as a stream; its last event carries the whole of it, usage too."""
    events = _Events()
    for kind in ("response.created", "response.in_progress"):
        events.add(kind, {"response": _response(telling, "in_progress")})
    for at, item in enumerate(_items(telling)):
        if item["type"] == "message":
            _message_events(events, telling, item, at)
        elif item["type"] == "function_call":
            _call_events(events, item, at)
        else:
            for kind in ("response.output_item.added", "response.output_item.done"):
                events.add(kind, {"output_index": at, "item": item})
    status = _STATUS.get(telling.finish, "completed")
    events.add(f"response.{status}", {"response": _response(telling, status)}, Kind.END)
    return events.frames


def _message_events(events: _Events, telling: Telling, item: dict[str, Any], at: int) -> None:
    begun = {**item, "status": "in_progress", "content": []}
    place = {"item_id": item["id"], "output_index": at, "content_index": 0}
    events.add("response.output_item.added", {"output_index": at, "item": begun})
    events.add("response.content_part.added", {**place, "part": _text_part("")})
    for piece in telling.pieces:
        delta = {**place, "delta": piece, "logprobs": []}
        events.add("response.output_text.delta", delta, Kind.PIECE)
    events.add("response.output_text.done", {**place, "text": telling.text, "logprobs": []})
    events.add("response.content_part.done", {**place, "part": _text_part(telling.text)})
    events.add("response.output_item.done", {"output_index": at, "item": item})


def _call_events(events: _Events, item: dict[str, Any], at: int) -> None:
    begun = {**item, "status": "in_progress", "arguments": ""}
    place = {"item_id": item["id"], "output_index": at}
    arguments = item["arguments"]
    events.add("response.output_item.added", {"output_index": at, "item": begun})
    delta = {**place, "delta": arguments}
    events.add("response.function_call_arguments.delta", delta, Kind.PIECE)
    events.add("response.function_call_arguments.done", {**place, "arguments": arguments})
    events.add("response.output_item.done", {"output_index": at, "item": item})


def error_event(message: str) -> bytes:
    """The event of a stream that fails."""
    told = {"type": "error", "code": "server_error", "message": message, "param": None}
    return sse({**told, "sequence_number": 0}, "error")
