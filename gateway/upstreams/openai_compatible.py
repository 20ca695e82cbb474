"""Providers that speak OpenAI's chat format: passed through, not translated.

The caller's fields go out as they came, beside the few that the job decides; answers come back
byte for byte. Of a stream every event is looked at just enough to know that it is one, to find
usage and errors, and to take out usage that the caller did not ask for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.errors import UpstreamBroken
from gateway.jobs.routes import Provider, Target
from gateway.metering.prompts import text_of_choices
from gateway.metering.reading import openai_chat, stated_cost
from gateway.upstreams.http import KEPT_FOR_COUNTING, EventStream, Exchange, Pool, broken
from gateway.upstreams.protocol import Call, Meter, PlainReply, Prepared
from gateway.wire.errors import provider_message
from gateway.wire.sse import data_of

_WITH_USAGE = msgspec.Raw(b'{"include_usage":true}')


_ABSENT = msgspec.Raw()
_NOTHING = (b"", b"null")


class _Answer(msgspec.Struct):
    """The fields that we read of a chat completion or of a chunk of one."""

    id: str | None = None
    model: str | None = None
    choices: msgspec.Raw = _ABSENT
    usage: dict[str, Any] | None = None
    service_tier: str | None = None
    error: msgspec.Raw = _ABSENT
    x_groq: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(_Answer).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class OpenAICompatible:
    """One provider that speaks OpenAI's chat format."""

    def __init__(self, provider: Provider) -> None:
        self._pool = Pool(provider)
        self._url = f"{provider.base_url}/chat/completions"
        self._headers = {**provider.headers, "Content-Type": "application/json"}

    def prepare(self, call: Call) -> Prepared:
        """The fields as they are; in streams the provider is asked for usage."""
        fields = _asking_for_usage(call.fields, call.target) if call.stream else call.fields
        return Prepared(call, _encode(fields))

    async def send(self, prepared: Prepared) -> PlainReply | EventStream:
        """Ask; raises UpstreamFailed."""
        call, headers = prepared.call, self._headers
        if call.credential:
            headers = {**headers, "Authorization": f"Bearer {call.credential}"}
        exchange = Exchange(self._url, headers, prepared.body)
        if call.stream:
            return await self._pool.stream(call.target, exchange, PassedEvents(call))
        return _plain(call.target, await self._pool.whole(call.target, exchange))

    async def aclose(self) -> None:
        """Close the pool."""
        await self._pool.aclose()


def _asking_for_usage(
    fields: Mapping[str, msgspec.Raw], target: Target
) -> Mapping[str, msgspec.Raw]:
    """Fields that make the provider send usage in the stream, if it lets itself be asked."""
    if not target.rules.stream_options:
        return {name: value for name, value in fields.items() if name != "stream_options"}
    return {**fields, "stream_options": _WITH_USAGE}


def _plain(target: Target, body: bytes) -> PlainReply:
    try:
        answer = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise UpstreamBroken(
            f"{target.name} answered something that is not a chat completion: {body[:80]!r}",
            target=target.name,
            may_have_cost=True,
        ) from None
    if bytes(answer.choices) in _NOTHING:
        raise UpstreamBroken(
            f"{target.name} answered without choices: {provider_message(body)}",
            target=target.name,
            may_have_cost=bytes(answer.error) in _NOTHING,
        )
    meter = Meter()
    _read(answer, meter)
    return PlainReply(body, meter)


def _read(answer: _Answer, meter: Meter) -> bool:
    """Note what an answer or a chunk tells; True when it told usage."""
    if answer.id:
        meter.upstream_id = answer.id
    if answer.model:
        meter.model = answer.model
    if answer.service_tier:
        meter.service_tier = answer.service_tier
    raw = answer.usage
    if raw is None and answer.x_groq is not None:
        raw = answer.x_groq.get("usage")
    usage = openai_chat(raw) if isinstance(raw, dict) else None
    if raw is None or usage is None:
        return False
    meter.usage = usage
    meter.stated_cost = stated_cost(raw)
    return True


class PassedEvents:
    """Reads the events of a stream that goes by: notes usage, passes the rest on untouched."""

    def __init__(self, call: Call) -> None:
        self.meter = Meter()
        self.complete = False
        self._call = call
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._usage_event: bytes | None = None
        self._finished = False

    def event(self, event: bytes) -> bytes | None:
        """What of an event is passed on; None when nothing is. Raises UpstreamBroken."""
        data = data_of(event)
        if data is None:
            return event  # a comment: it keeps the connection alive
        if data == b"[DONE]":
            self.complete = True
            return None
        try:
            answer = _decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise broken(
                self._call.target, f"sent an event that is not JSON: {data[:80]!r}"
            ) from None
        if bytes(answer.error) not in _NOTHING and bytes(answer.choices) in _NOTHING:
            message = provider_message(data)
            raise broken(self._call.target, f"ended the stream with an error: {message}")
        self._keep(answer)
        if _read(answer, self.meter):
            return self._without_usage(data, answer)
        if b'"usage"' in data and not self._call.caller_wants_usage:
            return event.replace(b',"usage":null', b"").replace(b', "usage": null', b"")
        return event

    def end(self) -> None:
        """The connection ended in good order; raises UpstreamBroken if the answer did not."""
        if not (self.complete or self._finished or self.meter.usage is not None):
            raise broken(self._call.target, "ended the stream before the answer was whole")
        self.complete = True

    def usage_event(self) -> bytes | None:
        """The one event with usage and no choices, as the provider sent it or made from it."""
        return self._usage_event

    def delivered_text(self) -> str:
        """All text that has arrived, tool calls included."""
        return text_of_choices(self._kept)

    def _keep(self, answer: _Answer) -> None:
        choices = bytes(answer.choices)
        if b'"finish_reason":"' in choices or b'"finish_reason": "' in choices:
            self._finished = True
        if self._kept_bytes < KEPT_FOR_COUNTING:
            self._kept.append(choices)
            self._kept_bytes += len(choices)

    def _without_usage(self, data: bytes, answer: _Answer) -> bytes | None:
        """Keep usage for the one last event; what else stood in this event goes on."""
        fields = _decode_fields(data)
        raw = fields.pop("usage", None)
        if raw is None or bytes(raw) == b"null":
            raw = msgspec.Raw(_encode((answer.x_groq or {}).get("usage")))
        choices = bytes(fields.get("choices", b"")).strip()
        last = {**fields, "choices": msgspec.Raw(b"[]"), "usage": raw}
        self._usage_event = b"data: " + _encode(last) + b"\n\n"
        if choices in (b"", b"[]", b"null"):
            return None
        return b"data: " + _encode(fields) + b"\n\n"
