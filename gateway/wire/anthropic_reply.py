"""What Anthropic answers, said as OpenAI says it, whole or chunk by chunk.

Owns the blocks of an answer, the reasons why it ended, and the usage that a stream tells in
parts. Promises that the raw usage stays at hand for those who count money, that repeated or
unknown events do no harm, and that signed thoughts come out in a form (`thinking_blocks`) that
`to_anthropic` takes back. Pure; it will not know how the events got here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.errors import UpstreamBroken
from gateway.wire import openai_reply
from gateway.wire.openai_reply import Chunks, Json, tokens

_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "compaction": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def from_anthropic(reply: Json, *, created: int) -> Json:
    """The chat completion that says what this message says; `created` in seconds since 1970.

    Raises UpstreamBroken for an object that is not a message.
    """
    blocks = reply.get("content")
    if not isinstance(blocks, list):
        raise UpstreamBroken("the provider's answer is not a message")
    text, reasoning = "", ""
    calls: list[Json] = []
    thoughts: list[Json] = []
    for block in blocks:
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "text":
            text += str(block.get("text") or "")
        elif kind == "tool_use":
            call_id, name = str(block.get("id") or ""), str(block.get("name") or "")
            calls.append(openai_reply.tool_call(call_id, name, block.get("input")))
        elif kind in ("thinking", "redacted_thinking"):
            reasoning += str(block.get("thinking") or "")
            thoughts.append(block)
    answer = openai_reply.message(text, reasoning, calls)
    if thoughts:
        answer["thinking_blocks"] = thoughts
    raw = reply.get("usage")
    return {
        "id": str(reply.get("id") or ""),
        "object": "chat.completion",
        "created": created,
        "model": str(reply.get("model") or ""),
        "choices": [openai_reply.choice(0, answer, finish_reason(reply.get("stop_reason")))],
        "usage": anthropic_usage(raw if isinstance(raw, dict) else {}),
    }


def finish_reason(stop_reason: object) -> str:
    """OpenAI's word for why an answer ended; a reason unknown to us is a plain stop."""
    return _FINISH_REASONS.get(str(stop_reason), "stop")


def anthropic_usage(raw: Json) -> Json | None:
    """OpenAI's usage object of a raw one, in tokens; None when nothing was reported.

    Cached and written tokens are beside `input_tokens` there and inside `prompt_tokens` here. So
    are compactions of the context, which are billed and told only in `iterations`; an advisor's
    tokens are not, because they are another model's.
    """
    if raw.get("input_tokens") is None and raw.get("output_tokens") is None:
        return None
    rounds = [raw, *_compactions(raw)]
    cached = sum(tokens(each, "cache_read_input_tokens") for each in rounds)
    written = sum(map(_written, rounds))
    details = raw.get("output_tokens_details")
    thought = tokens(details, "thinking_tokens") if isinstance(details, dict) else 0
    return openai_reply.usage(
        sum(tokens(each, "input_tokens") for each in rounds) + cached + written,
        sum(tokens(each, "output_tokens") for each in rounds),
        {"cached_tokens": cached, "cache_write_tokens": written},
        {"reasoning_tokens": thought},
    )


def _compactions(raw: Json) -> list[Json]:
    told = raw.get("iterations")
    rounds = told if isinstance(told, list) else []
    return [each for each in rounds if isinstance(each, dict) and each.get("type") == "compaction"]


def _written(raw: Json) -> int:
    """Tokens written to the cache: the sum, or what its lifetimes add up to."""
    if raw.get("cache_creation_input_tokens") is not None:
        return tokens(raw, "cache_creation_input_tokens")
    split = raw.get("cache_creation")
    lifetimes = split if isinstance(split, dict) else {}
    return sum(tokens(lifetimes, lifetime) for lifetime in lifetimes)


class AnthropicStream:
    """Turns the events of one streamed message into chunks, and remembers how it went.

    `usage` is the provider's own, merged so far (empty: none yet); `finished` is true once the
    message has ended as it should, and `stop_reason` says why; `error` is what an error event
    said.
    """

    __slots__ = (
        "_call_count",
        "_chunks",
        "_ended",
        "_fragment",
        "_message",
        "_open",
        "error",
        "finished",
        "stop_reason",
        "usage",
    )

    def __init__(self, *, created: int) -> None:
        self.usage: dict[str, Any] = {}
        self.finished = False
        self.error: dict[str, Any] | None = None
        self._chunks = Chunks(created)
        self._open: dict[int, _Block] = {}
        self._call_count = 0
        self.stop_reason: object = None
        self._ended = False
        self._fragment = True
        self._message: object = None

    @property
    def id(self) -> str:
        """The provider's id of the message; empty until it has begun."""
        return self._chunks.id

    @property
    def ended(self) -> bool:
        """Whether it has said why it ended, even if nothing came after that."""
        return self.finished or self._ended

    @property
    def model(self) -> str:
        """The model that answers, as the provider names it; empty until it has begun."""
        return self._chunks.model

    def feed(self, event_name: str, data: Json) -> list[Json]:
        """The chunks that an event gives: none, one, or a few."""
        kind = data.get("type") or event_name
        if kind == "content_block_delta":
            return self._delta(data)
        if kind == "content_block_start":
            return self._block_start(data)
        if kind == "content_block_stop":
            return self._block_stop(data)
        if kind == "message_start":
            return self._start(data)
        if kind == "message_delta":
            return self._end(data)
        if kind == "message_stop":
            self.finished = True
        elif kind == "error":
            error = data.get("error")
            self.error = error if isinstance(error, dict) else {"message": str(error or "")}
        return []

    def final_usage_chunk(self) -> Json:
        """The chunk without choices that tells the usage; null if the provider told none."""
        return self._chunks.last(anthropic_usage(self.usage))

    def _count(self, usage: object) -> None:
        """Take over what a report says; what it leaves out keeps its earlier value.

        Counts are cumulative, so one that is smaller than before was not counted anew: some
        servers repeat the input as 0 at the end.
        """
        _grow(self.usage, usage if isinstance(usage, dict) else {})

    def _start(self, data: Json) -> list[Json]:
        message = data.get("message")
        if not isinstance(message, dict):
            return []
        if message.get("id") != self._message:  # another message has counts of its own
            self._message, self.usage, self._fragment = message.get("id"), {}, True
        self._count(message.get("usage"))
        self._open.clear()
        if self._chunks.model:  # begun again: the caller has its role already
            return []
        self._chunks.id = str(message.get("id") or "")
        self._chunks.model = str(message.get("model") or "unknown")
        return [self._chunks.delta({"role": "assistant", "content": ""})]

    def _block_start(self, data: Json) -> list[Json]:
        given = data.get("content_block")
        if not isinstance(given, dict):
            return []
        block = _Block(given)
        self._open[_index(data)] = block
        if block.kind == "tool_use":
            block.call = self._call_count
            self._call_count += 1
            function = {"name": str(given.get("name") or ""), "arguments": ""}
            call = {
                "id": str(given.get("id") or ""),
                "type": "function",
                "function": function,
            }
            return self._call_delta(block, call)
        if block.kind == "text" and given.get("text"):
            return [self._chunks.delta({"content": given["text"]})]
        if block.kind == "thinking" and given.get("thinking"):
            return [self._chunks.delta({"reasoning_content": given["thinking"]})]
        return []

    def _delta(self, data: Json) -> list[Json]:
        delta = data.get("delta")
        if not isinstance(delta, dict):
            return []
        kind = delta.get("type")
        if kind == "text_delta":
            return [self._chunks.delta({"content": str(delta.get("text") or "")})]
        block = self._open.get(_index(data))
        if block is None:
            return []
        if kind == "input_json_delta" and block.kind == "tool_use":
            piece = str(delta.get("partial_json") or "")
            if not piece:
                return []
            block.arguments_came = True
            return self._call_delta(block, {"function": {"arguments": piece}})
        if kind == "thinking_delta":
            piece = str(delta.get("thinking") or "")
            block.add("thinking", piece)
            return [self._chunks.delta({"reasoning_content": piece})]
        if kind == "signature_delta":
            block.add("signature", str(delta.get("signature") or ""))
        return []

    def _block_stop(self, data: Json) -> list[Json]:
        block = self._open.pop(_index(data), None)
        if block is None:
            return []
        if block.kind == "tool_use" and not block.arguments_came:
            # A call without arguments has no pieces; its arguments must be JSON all the same.
            arguments = msgspec.json.encode(block.given.get("input") or {}).decode()
            return self._call_delta(block, {"function": {"arguments": arguments}})
        if block.kind in ("thinking", "redacted_thinking"):
            return [self._chunks.delta({"thinking_blocks": [block.whole()]})]
        return []

    def _call_delta(self, block: _Block, call: Json) -> list[Json]:
        return [self._chunks.delta({"tool_calls": [{"index": block.call, **call}]})]

    def _end(self, data: Json) -> list[Json]:
        told = data.get("usage")
        if self._fragment and isinstance(told, dict):
            written = told.get("output_tokens")
            if type(written) is int and written >= 0:  # in place of the start's fragment
                self._fragment = False
                self.usage.pop("output_tokens", None)
        self._count(told)
        delta = data.get("delta")
        reason = delta.get("stop_reason") if isinstance(delta, dict) else None
        if reason is None or self._ended:
            return []
        self._ended, self.stop_reason = True, reason
        return [self._chunks.delta({}, finish_reason=finish_reason(reason))]


class _Block:
    """A block of the answer that is still arriving."""

    __slots__ = ("_grown", "arguments_came", "call", "given", "kind")

    def __init__(self, given: Json) -> None:
        self.given = given
        self.kind = given.get("type")
        self.call = 0
        self.arguments_came = False
        self._grown: dict[str, list[str]] = {}

    def add(self, key: str, piece: str) -> None:
        self._grown.setdefault(key, [str(self.given.get(key) or "")]).append(piece)

    def whole(self) -> Json:
        return {
            **self.given,
            **{key: "".join(pieces) for key, pieces in self._grown.items()},
        }


def _grow(usage: Json, told: Json) -> None:
    for key, value in told.items():
        before = usage.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            usage[key] = before = dict(before)
            _grow(before, value)
        elif value is None or (type(value) is int and type(before) is int and value < before):
            continue
        else:
            usage[key] = value


def _index(data: Json) -> int:
    index = data.get("index")
    return index if isinstance(index, int) else 0
