"""Providers that speak OpenAI's chat format: passed through, not translated.

The caller's fields go out as they came, beside the few that the job decides; answers come back
byte for byte, but for Mistral's content in parts, which OpenAI's clients cannot read. Of a stream
every event is looked at just enough to know that it is one, to find usage and errors, and to take
out usage that the caller did not ask for. Fields that are not what OpenAI has there are as good
as missing: an answer is not lost because a number stands where a name should.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from yarl import URL

from gateway.errors import UpstreamBroken
from gateway.jobs.forms import CHAT, EMBEDDINGS, RESPONSES
from gateway.jobs.routes import Provider, Target
from gateway.metering.reading import openai_chat, stated_cost
from gateway.upstreams.delivered import Delivered
from gateway.upstreams.exchanges import Exchange, Head, head_of
from gateway.upstreams.failures import broken, failure_inside, nonsense, told_failure
from gateway.upstreams.http import EventStream, Pool
from gateway.upstreams.native_replies import ResponseEvents, embeddings, response
from gateway.upstreams.protocol import Call, Meter, PlainReply, Prepared
from gateway.wire.errors import provider_message
from gateway.wire.mistral_reply import in_parts, without_parts
from gateway.wire.sse import DONE, data_of

_WITH_USAGE = msgspec.Raw(b'{"include_usage":true}')


_ABSENT = msgspec.Raw()
_NOTHING = (b"", b"null")
_NO_CHOICES = (b"", b"null", b"[]")
_SEARCHES_ALWAYS = frozenset({"openai", "azure"})
_SEARCH_MODEL = re.compile(r"-search-(?:preview|api)")
"""OpenAI's search models search before every answer, for a fee (OpenAI docs, web search)."""
_FINISHED = re.compile(rb'"finish_reason"\s*:\s*"[^"]')


_IN_A_CHOICE = b'"usage":'
_HEADS_AT_MOST = 64


class _Answer(msgspec.Struct):
    """The fields that we read of a chat completion or of a chunk of one."""

    id: Any = None
    model: Any = None
    choices: msgspec.Raw = _ABSENT
    usage: Any = None
    service_tier: Any = None
    error: msgspec.Raw = _ABSENT
    x_groq: Any = None
    object: msgspec.Raw = _ABSENT

    @property
    def tells_failure(self) -> bool:
        """Whether it is an error: in OpenAI's shape, or in Mistral's, which has no `error`."""
        return bytes(self.error) not in _NOTHING or bytes(self.object) == b'"error"'

    def told_usage(self, choices: bytes) -> dict[str, Any] | None:
        """The usage object, wherever it stands: beside the choices, under `x_groq` (Groq), or
        in a choice (Moonshot)."""
        if isinstance(self.usage, dict) and self.usage:
            return self.usage
        if isinstance(self.x_groq, dict) and isinstance(self.x_groq.get("usage"), dict):
            found: dict[str, Any] = self.x_groq["usage"]
            return found
        return _usage_in(choices) if _IN_A_CHOICE in choices else None


def _usage_in(choices: bytes) -> dict[str, Any] | None:
    """The usage that a choice has; what is said there is text, and not looked into."""
    try:
        found = msgspec.json.decode(choices)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    choices_told = found if isinstance(found, list) else []
    told = [each.get("usage") for each in choices_told if isinstance(each, dict)]
    return next((usage for usage in told if isinstance(usage, dict)), None)


_decode = msgspec.json.Decoder(_Answer).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class OpenAICompatible:
    """One provider that speaks OpenAI's formats."""

    def __init__(self, provider: Provider) -> None:
        self._pool = Pool(provider)
        base = provider.base_url or ""
        self._urls = {form: URL(base + path) for form, path in _PATHS.items()}
        self._headers = {**provider.headers, "Content-Type": "application/json"}
        self._heads: dict[tuple[str, str | None], Head] = {}
        """By form and credential, of which there are few."""

    def prepare(self, call: Call) -> Prepared:
        """The fields as they are; in streams the provider is asked for usage."""
        fields = call.fields
        if call.stream and call.form == CHAT:
            fields = _asking_for_usage(fields, call.target)
        return Prepared(call, _encode(fields))

    async def send(self, prepared: Prepared) -> PlainReply | EventStream:
        """Ask; raises UpstreamFailed."""
        call = prepared.call
        exchange = Exchange(self._head(call.form, call.credential), prepared.body)
        if call.stream:
            events = ResponseEvents(call) if call.form == RESPONSES else PassedEvents(call)
            return await self._pool.stream(call.target, exchange, events)
        return _PLAIN[call.form](call.target, await self._pool.whole(call.target, exchange))

    async def aclose(self) -> None:
        """Close the pool."""
        await self._pool.aclose()

    def _head(self, form: str, credential: str | None) -> Head:
        head = self._heads.get((form, credential))
        if head is None:
            headers = self._headers
            if credential:
                headers = {**headers, "Authorization": f"Bearer {credential}"}
            if len(self._heads) >= _HEADS_AT_MOST:
                self._heads.clear()
            head = self._heads[form, credential] = head_of(self._urls[form], headers)
        return head


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
            f"{target.name} answered {len(body):,} bytes that are not a chat completion",
            target=target.name,
            may_have_cost=True,
        ) from None
    choices = bytes(answer.choices)
    if choices in _NO_CHOICES and answer.tells_failure:
        raise failure_inside(target, body)
    if choices in _NOTHING:
        raise broken(target, f"answered without choices: {provider_message(body)}")
    meter = Meter()
    _read(answer, choices, meter, target.provider.flavour)
    if target.provider.flavour == "mistral" and in_parts(body):
        fields = _decode_fields(body)
        fields["choices"] = msgspec.Raw(without_parts(bytes(fields["choices"])))
        body = _encode(fields)
    return PlainReply(body, meter)


_PATHS = {CHAT: "/chat/completions", EMBEDDINGS: "/embeddings", RESPONSES: "/responses"}
_PLAIN = {CHAT: _plain, EMBEDDINGS: embeddings, RESPONSES: response}


def _read(answer: _Answer, choices: bytes, meter: Meter, flavour: str) -> bool:
    """Note what an answer or a chunk tells, `choices` its own; True when it told usage."""
    if isinstance(answer.id, str) and answer.id:
        meter.upstream_id = answer.id
    if isinstance(answer.model, str) and answer.model:
        meter.model = answer.model
    if isinstance(answer.service_tier, str) and answer.service_tier:
        meter.service_tier = answer.service_tier
    raw = answer.told_usage(choices)
    if raw is None or (usage := openai_chat(raw)) is None:
        return False
    if usage.total or meter.usage is None:  # zeros do not take back what was told
        if flavour in _SEARCHES_ALWAYS and _SEARCH_MODEL.search(meter.model):
            usage = msgspec.structs.replace(usage, requests=max(1, usage.requests))
        meter.usage = usage
        meter.stated_cost = stated_cost(raw, flavour)
    return True


def _as_delta(choice: Any) -> Any:
    """A whole choice as the only piece of itself."""
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        return choice
    delta, calls = dict(message), message.get("tool_calls")
    if isinstance(calls, list):
        numbered = [{"index": n, **call} for n, call in enumerate(calls) if isinstance(call, dict)]
        delta["tool_calls"] = numbered
    return {"delta": delta, **{name: choice[name] for name in choice if name != "message"}}


class PassedEvents:
    """Reads the events of a stream that goes by: notes usage, passes the rest on untouched."""

    def __init__(self, call: Call) -> None:
        self.meter = Meter()
        self.complete = False
        self._call = call
        self._flavour = call.target.provider.flavour
        self._delivered = Delivered()
        self._usage_event: bytes | None = None
        self._finished = False

    def event(self, event: bytes) -> bytes | None:
        """What of an event is passed on; None when nothing is. Raises UpstreamBroken."""
        data = (data_of(event) or b"").strip()
        if not data:
            # A comment keeps the connection alive; the rest has nothing for a caller.
            return event if event.startswith(b":") else None
        if data == b"[DONE]":
            self.complete = True
            return None
        try:
            answer = _decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise nonsense(self._call.target, data) from None
        choices = bytes(answer.choices)
        is_empty = choices in _NO_CHOICES
        if is_empty and answer.tells_failure:
            raise told_failure(self._call.target, data)
        self._keep(choices)
        if self._flavour == "mistral" and in_parts(data):
            fields = _decode_fields(data)
            fields["choices"] = msgspec.Raw(without_parts(choices))
            data = _encode(fields)
            event = b"data: " + data + b"\n\n"
        if _read(answer, choices, self.meter, self._flavour):
            return self._without_usage(data, answer.told_usage(choices))
        if is_empty:
            return None  # Azure's filter results and the like: clients look at choices[0]
        if b'"usage"' in data and not self._call.caller_wants_usage:
            return event.replace(b',"usage":null', b"").replace(b', "usage": null', b"")
        return event

    def whole(self, body: bytes) -> bytes:
        """An answer that came in one piece, as raw events. Raises UpstreamFailed for an error."""
        target = self._call.target
        try:
            answer, fields = _decode(body), _decode_fields(body)
            choices = msgspec.json.decode(answer.choices or b"[]")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise nonsense(target, body) from None
        is_empty = bytes(answer.choices) in _NO_CHOICES
        if is_empty and answer.tells_failure:
            raise failure_inside(target, body)
        if is_empty or not isinstance(choices, list):
            raise broken(target, f"answered without choices: {provider_message(body)}")
        fields["choices"] = msgspec.Raw(_encode([_as_delta(choice) for choice in choices]))
        fields["object"] = msgspec.Raw(b'"chat.completion.chunk"')
        return b"data: " + _encode(fields) + b"\n\ndata: [DONE]\n\n"

    def end(self) -> None:
        """The connection ended in good order; raises UpstreamBroken if the answer did not."""
        if not (self.complete or self._finished):
            raise broken(self._call.target, "ended the stream before the answer was whole")
        self.complete = True

    def last_events(self) -> bytes:
        """The one event with usage and no choices, if the caller asked, and the end marker."""
        wanted = self._usage_event if self._call.caller_wants_usage else None
        return (wanted or b"") + DONE

    def delivered_text(self) -> str:
        """All text that has arrived, tool calls included."""
        return self._delivered.text()

    def _keep(self, choices: bytes) -> None:
        if not self._finished and _FINISHED.search(choices):
            self._finished = True
        self._delivered.add(choices)

    def _without_usage(self, data: bytes, told: dict[str, Any] | None) -> bytes | None:
        """Keep usage for the one last event; what else stood in this event goes on."""
        fields = _decode_fields(data)
        raw = fields.pop("usage", None)
        if raw is None or bytes(raw) == b"null":
            raw = msgspec.Raw(_encode(told))
        choices = bytes(fields.get("choices", b"")).strip()
        last = {**fields, "choices": msgspec.Raw(b"[]"), "usage": raw}
        self._usage_event = b"data: " + _encode(last) + b"\n\n"
        if choices in (b"", b"[]", b"null"):
            self._finished = True  # usage alone comes after the answer
            return None
        return b"data: " + _encode(fields) + b"\n\n"
