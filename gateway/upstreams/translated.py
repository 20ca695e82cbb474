"""Providers with a format of their own, translated: Anthropic Messages and Gemini.

The translation itself is pure and lives in `wire`; here it meets addresses, headers and streams.
Usage is read from the provider's own figures, never from the translated ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from gateway.jobs.forms import MESSAGES
from gateway.jobs.routes import Provider, Target
from gateway.upstreams.delivered import Delivered
from gateway.upstreams.exchanges import Exchange, head_of
from gateway.upstreams.failures import broken, failure_inside, nonsense, told_failure
from gateway.upstreams.http import EventStream, Pool
from gateway.upstreams.native_replies import MessageEvents, message
from gateway.upstreams.noting import note_anthropic, note_gemini
from gateway.upstreams.protocol import Call, Meter, PlainReply, Prepared
from gateway.wire.anthropic_reply import AnthropicStream, from_anthropic
from gateway.wire.anthropic_request import to_anthropic
from gateway.wire.errors import provider_message
from gateway.wire.gemini_reply import GeminiStream, from_gemini, searches_of
from gateway.wire.gemini_request import to_gemini
from gateway.wire.sse import DONE, data_of, name_of

ANTHROPIC_VERSION = "2023-06-01"
"""The version of the Messages API that we speak (Anthropic API reference, versions)."""

_encode = msgspec.json.Encoder().encode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


class Anthropic:
    """Anthropic's Messages API."""

    def __init__(self, provider: Provider) -> None:
        self._pool = Pool(provider)
        base = (provider.base_url or "").removesuffix("/v1")
        self._url = f"{base}/v1/messages"
        self._headers = {
            **provider.headers,
            "Content-Type": "application/json",
            "anthropic-version": ANTHROPIC_VERSION,
        }

    def prepare(self, call: Call) -> Prepared:
        """Translate a chat; raises BadRequest for what the format cannot say."""
        if call.form == MESSAGES:
            return Prepared(call, _encode(call.fields))
        translated = to_anthropic(
            whole_body(call), model=call.target.model, max_tokens=call.output_limit
        )
        return Prepared(call, _encode(translated.body), translated.dropped)

    async def send(self, prepared: Prepared) -> PlainReply | EventStream:
        """Ask; raises UpstreamFailed."""
        call, headers = prepared.call, self._headers
        if call.credential:
            headers = {**headers, "x-api-key": call.credential}
        exchange = Exchange(head_of(self._url, headers), prepared.body)
        now = int(time.time())
        if call.stream and call.form == MESSAGES:
            return await self._pool.stream(call.target, exchange, MessageEvents(call))
        if call.stream:
            translator = AnthropicStream(created=now)
            events = TranslatedEvents(
                call,
                translator,
                translator.feed,
                lambda raw, meter: note_anthropic(raw, meter, translator.stop_reason),
            )
            return await self._pool.stream(call.target, exchange, events)
        body = await self._pool.whole(call.target, exchange)
        if call.form == MESSAGES:
            return message(call.target, body)
        reply = _object(call.target, body, "content")
        meter = Meter(model=str(reply.get("model") or ""), upstream_id=str(reply.get("id") or ""))
        note_anthropic(_part(reply, "usage"), meter, reply.get("stop_reason"))
        return PlainReply(_encode(from_anthropic(reply, created=now)), meter)

    async def aclose(self) -> None:
        """Close the pool."""
        await self._pool.aclose()


class Gemini:
    """Gemini's generateContent API."""

    def __init__(self, provider: Provider) -> None:
        self._pool = Pool(provider)
        base = (provider.base_url or "").removesuffix("/v1beta")
        self._models = f"{base}/v1beta/models/"
        self._headers = {**provider.headers, "Content-Type": "application/json"}

    def prepare(self, call: Call) -> Prepared:
        """Translate; raises BadRequest for what the format cannot say."""
        translated = to_gemini(
            whole_body(call), max_tokens=call.output_limit, model=call.target.model
        )
        return Prepared(call, _encode(translated.body), translated.dropped)

    async def send(self, prepared: Prepared) -> PlainReply | EventStream:
        """Ask; raises UpstreamFailed."""
        call, headers = prepared.call, self._headers
        if call.credential:
            headers = {**headers, "x-goog-api-key": call.credential}
        action = ":streamGenerateContent?alt=sse" if call.stream else ":generateContent"
        head = head_of(self._models + call.target.model + action, headers)
        exchange = Exchange(head, prepared.body)
        now = int(time.time())
        if call.stream:
            translator = GeminiStream(created=now, answer_id=call.request_id)
            events = TranslatedEvents(
                call,
                translator,
                lambda _name, data: translator.feed(data),
                lambda raw, meter: note_gemini(raw, meter, translator.searches),
            )
            return await self._pool.stream(call.target, exchange, events)
        body = await self._pool.whole(call.target, exchange)
        reply = _object(call.target, body, "candidates", "promptFeedback", "usageMetadata")
        upstream_id = str(reply.get("responseId") or call.request_id)
        meter = Meter(model=str(reply.get("modelVersion") or ""), upstream_id=upstream_id)
        note_gemini(_part(reply, "usageMetadata"), meter, searches_of(reply))
        return PlainReply(_encode(from_gemini(reply, created=now, answer_id=upstream_id)), meter)

    async def aclose(self) -> None:
        """Close the pool."""
        await self._pool.aclose()


class _Translator(Protocol):
    """What the two streams of `wire` have in common."""

    usage: dict[str, Any]
    error: dict[str, Any] | None

    @property
    def id(self) -> str: ...

    @property
    def model(self) -> str: ...

    @property
    def finished(self) -> bool: ...

    @property
    def ended(self) -> bool: ...

    def final_usage_chunk(self) -> dict[str, Any]: ...


class TranslatedEvents:
    """Reads the events of a foreign stream and gives back chunks of OpenAI's."""

    def __init__(
        self,
        call: Call,
        translator: _Translator,
        feed: Callable[[str, dict[str, Any]], list[dict[str, Any]]],
        note: Callable[[dict[str, Any], Meter], None],
    ) -> None:
        self.meter = Meter()
        self.complete = False
        self._call, self._translator, self._feed, self._note_usage = call, translator, feed, note
        self._delivered = Delivered()

    def event(self, event: bytes) -> bytes | None:
        """The chunks that a raw event comes to. Raises UpstreamBroken."""
        data = data_of(event)
        if data is None or not data.strip():
            return event if event.startswith(b":") else None
        translator, target = self._translator, self._call.target
        try:
            chunks = self._feed(name_of(event), _decode_object(data))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise nonsense(target, data) from None
        if translator.error is not None:
            self._note()
            raise told_failure(target, data)
        for chunk in chunks:
            self._delivered.add(_encode(chunk["choices"]))
        self._note()
        return b"".join(b"data: " + _encode(chunk) + b"\n\n" for chunk in chunks) or None

    def whole(self, body: bytes) -> bytes:
        """An answer that came in one piece, as raw events: some servers of Gemini send one JSON
        array. Raises UpstreamFailed, also for an error."""
        try:
            found = msgspec.json.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise nonsense(self._call.target, body) from None
        pieces = found if isinstance(found, list) else [found]
        if pieces and isinstance(pieces[0], dict) and pieces[0].get("error"):
            raise failure_inside(self._call.target, body)
        return b"".join(b"data: " + _encode(piece) + b"\n\n" for piece in pieces)

    def end(self) -> None:
        """The connection ended; raises UpstreamBroken when the answer had not."""
        if not self._translator.ended:
            raise broken(self._call.target, "ended the stream before the answer was whole")
        self.complete = True

    def last_events(self) -> bytes:
        """The event with usage, made from the provider's figures, if asked; the end marker."""
        if self.meter.usage is None or not self._call.caller_wants_usage:
            return DONE
        return b"data: " + _encode(self._translator.final_usage_chunk()) + b"\n\n" + DONE

    def delivered_text(self) -> str:
        """All text that has arrived."""
        return self._delivered.text()

    def _note(self) -> None:
        translator, meter = self._translator, self.meter
        meter.model, meter.upstream_id = translator.model, translator.id
        if translator.finished and isinstance(translator, AnthropicStream):
            self.complete = True
        self._note_usage(translator.usage, meter)


def whole_body(call: Call) -> dict[str, Any]:
    """The whole body, decoded."""
    body: dict[str, Any] = msgspec.json.decode(_encode(call.fields))
    return body


def _object(target: Target, body: bytes, *expected: str) -> dict[str, Any]:
    """A reply that has at least one of the expected fields. Raises UpstreamBroken."""
    try:
        reply = _decode_object(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise broken(target, f"answered {len(body):,} bytes that are not JSON") from None
    if not any(name in reply for name in expected):
        if reply.get("error"):
            raise failure_inside(target, body)
        raise broken(target, f"answered without an answer: {provider_message(body)}")
    return reply


def _part(reply: dict[str, Any], name: str) -> dict[str, Any]:
    value = reply.get(name)
    return value if isinstance(value, dict) else {}
