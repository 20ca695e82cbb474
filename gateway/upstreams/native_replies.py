"""Answers in a form that is not chat, passed through: embeddings, Responses and Messages.

They go to the caller byte for byte. Of each just enough is read to know that it is an answer, to
find its usage, and to hold back the event that ends a stream until the entry is committed.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.jobs.routes import Target
from gateway.metering import reading
from gateway.upstreams.delivered import Delivered
from gateway.upstreams.failures import broken, failure_inside, nonsense, told_failure
from gateway.upstreams.noting import note_anthropic, note_response
from gateway.upstreams.protocol import Call, Meter, PlainReply
from gateway.wire.anthropic_reply import AnthropicStream
from gateway.wire.sse import data_of, name_of

_LAST_OF_A_RESPONSE = frozenset({"response.completed", "response.incomplete", "response.failed"})

_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


class _Embeddings(msgspec.Struct):
    """What is read of embeddings; the vectors are not."""

    data: msgspec.Raw
    model: Any = None
    usage: Any = None


_decode_embeddings = msgspec.json.Decoder(_Embeddings).decode


def embeddings(target: Target, body: bytes) -> PlainReply:
    """Embeddings, with what they used. Raises UpstreamFailed."""
    try:
        answer = _decode_embeddings(body)
    except _UNREADABLE:
        raise failure_inside(target, body) from None
    meter = Meter(model=answer.model if isinstance(answer.model, str) else "")
    if isinstance(answer.usage, dict):
        meter.usage = reading.openai_chat(answer.usage)
        meter.stated_cost = reading.stated_cost(answer.usage, target.provider.flavour)
    return PlainReply(body, meter, text="")


def response(target: Target, body: bytes) -> PlainReply:
    """A whole response of OpenAI's Responses API. Raises UpstreamFailed."""
    answer = _object(target, body)
    if not isinstance(answer.get("output"), list):
        raise failure_inside(target, body)
    meter = Meter()
    note_response(answer, meter, target.provider.flavour)
    return PlainReply(body, meter, text="".join(_texts_of_output(answer)))


def message(target: Target, body: bytes) -> PlainReply:
    """A whole message of Anthropic's Messages API. Raises UpstreamFailed."""
    answer = _object(target, body)
    if not isinstance(answer.get("content"), list):
        raise failure_inside(target, body)
    raw = answer.get("usage")
    meter = Meter(model=str(answer.get("model") or ""), upstream_id=str(answer.get("id") or ""))
    note_anthropic(raw if isinstance(raw, dict) else {}, meter, answer.get("stop_reason"))
    return PlainReply(body, meter, text="".join(_texts_of_content(answer["content"])))


class ResponseEvents:
    """Reads the typed events of a streamed response."""

    def __init__(self, call: Call) -> None:
        self.meter = Meter()
        self.complete = False
        self._target = call.target
        self._texts: list[str] = []
        self._last = b""

    def event(self, event: bytes) -> bytes | None:
        """The event as it is; the last is kept back. Raises UpstreamBroken for an error event."""
        data = data_of(event)
        if data is None or not data.strip() or data.strip() == b"[DONE]":
            return event if event.startswith(b":") else None
        try:
            told = _decode(data)
        except _UNREADABLE:
            raise nonsense(self._target, data) from None
        kind = told.get("type") or name_of(event)
        if kind == "error":
            raise told_failure(self._target, data)
        inside = told.get("response")
        if isinstance(inside, dict):
            note_response(inside, self.meter, self._target.provider.flavour)
        if kind in _LAST_OF_A_RESPONSE:
            self._last, self.complete = event, True
            return None
        delta = told.get("delta")
        if isinstance(delta, str):
            self._texts.append(delta)
        return event

    def whole(self, body: bytes) -> bytes:
        """A JSON body in place of a stream: an error, or a response that was not streamed."""
        response(self._target, body)
        done = {"type": "response.completed", "response": msgspec.Raw(body)}
        return b"event: response.completed\ndata: " + _encode(done) + b"\n\n"

    def end(self) -> None:
        """The connection ended; raises UpstreamBroken when the response had not."""
        if not self.complete:
            raise broken(self._target, "ended the stream before the answer was whole")

    def last_events(self) -> bytes:
        """The event that ends the stream."""
        return self._last

    def delivered_text(self) -> str:
        """All text that has arrived."""
        return "".join(self._texts)


class MessageEvents:
    """Reads the events of a streamed message; usage is merged as for translated ones."""

    def __init__(self, call: Call) -> None:
        self.meter = Meter()
        self.complete = False
        self._target = call.target
        self._reader = AnthropicStream(created=0)
        self._delivered = Delivered()
        self._last = b""

    def event(self, event: bytes) -> bytes | None:
        """The event as it is; the last is kept back. Raises UpstreamBroken for an error event."""
        data = data_of(event)
        if data is None or not data.strip():
            return event if event.startswith(b":") else None
        reader, meter = self._reader, self.meter
        try:
            chunks = reader.feed(name_of(event), _decode(data))
        except _UNREADABLE:
            raise nonsense(self._target, data) from None
        for chunk in chunks:
            self._delivered.add(_encode(chunk["choices"]))
        note_anthropic(reader.usage, meter, reader.stop_reason)
        meter.model, meter.upstream_id = reader.model, reader.id
        if reader.error is not None:
            raise told_failure(self._target, data)
        if reader.finished:
            self._last, self.complete = event, True
            return None
        return event

    def whole(self, body: bytes) -> bytes:
        """A JSON body in place of a stream is an error, whatever else it says."""
        raise failure_inside(self._target, body)

    def end(self) -> None:
        """The connection ended; raises UpstreamBroken when the message had not."""
        if not self._reader.ended:
            raise broken(self._target, "ended the stream before the answer was whole")
        self.complete = True

    def last_events(self) -> bytes:
        """The event that ends the stream."""
        return self._last

    def delivered_text(self) -> str:
        """All text that has arrived."""
        return self._delivered.text()


def _object(target: Target, body: bytes) -> dict[str, Any]:
    try:
        return _decode(body)
    except _UNREADABLE:
        raise nonsense(target, body) from None


def _texts_of_output(answer: dict[str, Any]) -> list[str]:
    """The text in a response's output items, for counting."""
    found: list[str] = []
    for item in answer["output"]:
        if isinstance(item, dict):
            found += _texts_of_content(item.get("content"))
            found += [str(item[name]) for name in ("arguments", "input") if name in item]
    return found


def _texts_of_content(content: Any) -> list[str]:
    """The text in a list of parts."""
    found = []
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict):
            found += [
                part[n] for n in ("text", "thinking", "refusal") if isinstance(part.get(n), str)
            ]
            if "input" in part:
                found.append(_encode(part["input"]).decode())
    return found
