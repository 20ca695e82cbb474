"""The long tail of providers, through LiteLLM's SDK: Bedrock, Vertex, Cohere, Azure and others.

Owns everything that is known of LiteLLM; no other module imports it. Promises that what goes in
is what OpenAI's chat has fields for and nothing that LiteLLM takes as an instruction to itself
(other hosts, other keys, made-up answers); that LiteLLM opens no connection but the call's own,
tries nothing twice, and counts no tokens in a provider's stead; and that none of its errors gets
out. It will not know a provider's raw usage: where LiteLLM does not repeat it, it is not told,
and the streamed answers name the model that was asked, not the one that answered.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import litellm
import msgspec
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

from gateway.errors import (
    BadRequest,
    ConfigurationError,
    UpstreamBroken,
    UpstreamFailed,
    UpstreamRefused,
)
from gateway.jobs.routes import Provider, Target
from gateway.metering.reading import litellm_chat, service_tier, stated_cost
from gateway.upstreams.delivered import Delivered
from gateway.upstreams.failures import Guard, broken, failure
from gateway.upstreams.http import Pool
from gateway.upstreams.litellm_transport import SENDING, PoolTransport, Sending
from gateway.upstreams.protocol import Call, Meter, PlainReply, Prepared
from gateway.upstreams.translated import whole_body
from gateway.wire.errors import provider_message
from gateway.wire.sse import DONE

_ALWAYS = frozenset({"messages", "model"})
_OURS = frozenset({"stream", "stream_options", "metadata"})
"""Fields that are the gateway's to answer, so leaving them out changes nothing."""
_PASSED = frozenset(
    {
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "modalities",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    }
)
"""Fields that may go to LiteLLM, if it says that the provider takes them. Any other name could be
one of its own settings: `api_base`, `mock_response`, `fallbacks` and some hundred more."""
_ANSWER = ("id", "object", "created", "model", "system_fingerprint", "service_tier")
_LOGGERS = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")

_encode = msgspec.json.Encoder().encode
Json = dict[str, Any]


class LiteLLM:
    """One provider that LiteLLM speaks for; raises ConfigurationError if it does not."""

    def __init__(self, provider: Provider) -> None:
        if provider.litellm_provider not in {each.value for each in litellm.LlmProviders}:
            raise ConfigurationError(
                [f"{provider.name}: LiteLLM knows no provider {provider.litellm_provider!r}"]
            )
        _tame()
        self._provider = provider
        self._pool = Pool(provider)
        self._takes: dict[str, frozenset[str]] = {}

    def prepare(self, call: Call) -> Prepared:
        """Keep the fields that the provider takes; raises BadRequest for files that LiteLLM would
        fetch from an address of the caller's."""
        body, takes = whole_body(call), self._fields_of(call.target.model)
        _refuse_addresses(body["messages"])
        kept = {
            name: value
            for name, value in body.items()
            if name in _ALWAYS or (name in takes and value is not None)
        }
        unsaid = body.keys() - kept.keys() - _OURS
        dropped = sorted(name for name in unsaid if body[name] is not None)
        if call.stream and "stream_options" in takes:
            kept["stream_options"] = {"include_usage": True}
        return Prepared(call, _encode(kept), tuple(dropped))

    async def send(self, prepared: Prepared) -> PlainReply | BridgedStream:
        """Ask; raises UpstreamFailed."""
        call, target = prepared.call, prepared.call.target
        timeouts = target.timeouts
        seconds = min(timeouts.first_byte, timeouts.total) if call.stream else timeouts.total
        sending = Sending(self._pool, target, self._provider.headers, mark=self._mark(target.model))
        token = SENDING.set(sending)
        try:
            async with Guard(target, seconds, "the first byte of an answer"):
                reply = await self._ask(prepared, sending)
                if not call.stream:
                    return _plain(target, reply)
                stream = BridgedStream(call, reply, sending)
                await stream.open()
                return stream
        except BaseException:
            sending.close()
            raise
        finally:
            SENDING.reset(token)

    async def aclose(self) -> None:
        """Close the pool."""
        await self._pool.aclose()

    def _mark(self, model: str) -> bytes:
        """What only a whole answer has, where LiteLLM cannot tell it from a cut one."""
        gemini = self._provider.litellm_provider == "gemini" or "gemini" in model
        return b'"finishReason"' if gemini else b""

    async def _ask(self, prepared: Prepared, sending: Sending) -> Any:
        call, provider = prepared.call, self._provider
        fields: Json = msgspec.json.decode(prepared.body)
        try:
            return await litellm.acompletion(
                **fields,
                custom_llm_provider=provider.litellm_provider,
                api_base=provider.base_url,
                api_key=call.credential,
                stream=call.stream,
                timeout=call.target.timeouts.total,
                num_retries=0,
                max_retries=0,
                drop_params=False,
                _skip_mcp_handler=True,
            )
        except Exception as error:
            raise as_ours(error, sending) from error

    def _fields_of(self, model: str) -> frozenset[str]:
        """What LiteLLM says that a model takes; of a provider it has no list for, everything."""
        known = self._takes.get(model)
        if known is None:
            listed = litellm.get_supported_openai_params(
                model=model, custom_llm_provider=self._provider.litellm_provider
            )
            every = _PASSED | {"stream_options"}
            known = self._takes[model] = every & frozenset(listed) if listed else every
        return known


class BridgedStream:
    """A stream that LiteLLM reads; see protocol.StreamReply for what it promises.

    LiteLLM ends every stream with a reason to finish and a usage, and makes them up if the
    provider sent none; so both are taken from what it remembers of the provider's own chunks.
    """

    def __init__(self, call: Call, chunks: Any, sending: Sending) -> None:
        self.meter = Meter(model=call.target.model)
        self.complete = False
        self._call, self._chunks, self._sending = call, chunks, sending
        self._flavour = call.target.provider.litellm_provider or ""
        self._first: Json | None = None
        self._delivered = Delivered()
        self._looked_at = 0
        self._head: Json = {}
        self._usage: Json | None = None
        self._began = time.monotonic()

    async def open(self) -> None:
        """Wait for the first chunk. Raises UpstreamFailed."""
        self._first = await self._read()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        target, chunk = self._call.target, self._first
        timeouts = target.timeouts
        while chunk is not None:
            if event := self._event(chunk):
                yield event
            left = max(0.001, timeouts.total - (time.monotonic() - self._began))
            async with Guard(target, min(timeouts.idle, left), "the next part"):
                chunk = await self._read()
        if not self._finished:
            raise broken(target, "ended the stream before the answer was whole")
        self.complete = True

    def last_events(self) -> bytes:
        """The event with usage and no choices, if the caller asked, and the end marker."""
        if self._usage is None or not self._call.caller_wants_usage:
            return DONE
        last = {**self._head, "choices": [], "usage": self._usage}
        return b"data: " + _encode(last) + b"\n\n" + DONE

    def delivered_text(self) -> str:
        """All text that has arrived."""
        return self._delivered.text()

    async def aclose(self) -> None:
        """Let go of the connection."""
        self._sending.close()

    @property
    def _finished(self) -> bool:
        """Whether the provider itself gave a reason to finish."""
        chunks = self._chunks
        if self._sending.mark:
            return self._sending.marked
        return bool(chunks.received_finish_reason or chunks.intermittent_finish_reason)

    async def _read(self) -> Json | None:
        """The next chunk; None when there are no more. Raises UpstreamFailed."""
        sending = self._sending
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            return None
        except Exception as error:
            if sending.failure is not None:
                raise sending.failure from error
            said = f"ended the stream with an error: {_message(error)}"
            raise broken(sending.target, said) from error
        finally:
            self._note_usage()
        made: Json = chunk.model_dump(exclude_none=True, warnings=False)
        return made

    def _note_usage(self) -> None:
        """Each usage restates the one before, so the last that holds counts is the one."""
        remembered, meter = self._chunks.chunks, self.meter
        for chunk in remembered[self._looked_at :]:
            raw = getattr(chunk, "usage", None)
            if raw is not None:
                told = raw.model_dump(exclude_none=True, warnings=False)
                if (usage := litellm_chat(told)) is not None:
                    meter.usage, self._usage = usage, told
                    meter.stated_cost = stated_cost(told, self._flavour)
                    meter.service_tier = service_tier(told) or meter.service_tier
        self._looked_at = len(remembered)

    def _event(self, chunk: Json) -> bytes | None:
        """What of a chunk goes to the caller."""
        self._head = _head(chunk)
        self.meter.model = chunk.get("model") or self.meter.model
        self.meter.upstream_id = chunk.get("id") or self.meter.upstream_id
        self.meter.service_tier = chunk.get("service_tier") or self.meter.service_tier
        choices = [_choice(choice, "delta") for choice in chunk.get("choices") or ()]
        if self._chunks.sent_last_chunk and not self._finished:
            return None  # made up
        choices = [each for each in choices if each["delta"] or each["finish_reason"]]
        if not choices:
            return None
        self._delivered.add(_encode(choices))
        return b"data: " + _encode({**self._head, "choices": choices}) + b"\n\n"


def as_ours(error: Exception, sending: Sending) -> UpstreamFailed:
    """The error for one of LiteLLM's: by what happened on the wire, else by its status.

    What failed before anything was sent is a request that LiteLLM cannot put into the provider's
    format, unless a package is missing or the status says something else.
    """
    if sending.failure is not None:
        return sending.failure
    target, text = sending.target, _message(error)
    if sending.answered:
        return broken(target, f"answered something that cannot be read: {text}")
    if _lacks_a_package(error):
        return UpstreamBroken(f"{target.name} needs another package: {text}", target=target.name)
    status = getattr(error, "status_code", None)
    if isinstance(status, int) and 400 <= status < 600 and status != 500:
        return failure(target, status, text.encode())
    said = f"{target.name}: this request cannot be put into the provider's format: {text}"
    return UpstreamRefused(said, status=400, target=target.name)


def _plain(target: Target, reply: Any) -> PlainReply:
    answer: Json = reply.model_dump(exclude_none=True, warnings=False)
    choices = [_choice(choice, "message") for choice in answer.get("choices") or ()]
    if not choices:
        raise broken(target, "answered without choices")
    told = answer.get("usage") or {}
    meter = Meter(
        usage=litellm_chat(told),
        model=answer.get("model") or target.model,
        upstream_id=answer.get("id") or "",
        service_tier=answer.get("service_tier") or service_tier(told),
        stated_cost=stated_cost(told, target.provider.litellm_provider or ""),
    )
    body = {**_head(answer), "choices": choices}
    if meter.usage is not None:
        body["usage"] = told
    return PlainReply(_encode(body), meter)


def _head(answer: Json) -> Json:
    return {name: answer[name] for name in _ANSWER if name in answer}


def _choice(choice: Json, part: str) -> Json:
    """One choice as OpenAI has it, without LiteLLM's own fields that say nothing."""
    said = {
        name: value
        for name, value in (choice.get(part) or {}).items()
        if name != "provider_specific_fields" and value not in ([], {})
    }
    if part == "message":
        said.setdefault("content", None)
    made = {"index": choice.get("index", 0), part: said}
    if choice.get("logprobs"):
        made["logprobs"] = choice["logprobs"]
    made["finish_reason"] = choice.get("finish_reason")
    return made


def _refuse_addresses(messages: list[Json]) -> None:
    """Raise BadRequest for a part that is an address: for some providers LiteLLM would fetch it,
    from inside our network."""
    for index, message in enumerate(messages):
        content = message.get("content")
        for at, part in enumerate(content if isinstance(content, list) else ()):
            if isinstance(part, dict) and part.get("type") != "text" and _holds_address(part):
                path = f"messages[{index}].content[{at}]"
                raise BadRequest(f"{path}: send the file itself, as a data: URI", param=path)


def _holds_address(value: object) -> bool:
    if isinstance(value, str):
        return "://" in value[:32]
    if isinstance(value, dict):
        return any(_holds_address(each) for each in value.values())
    return isinstance(value, list) and any(_holds_address(each) for each in value)


def _message(error: BaseException) -> str:
    """What an error says, without LiteLLM's own prefix and stack."""
    text = str(getattr(error, "message", "") or error).partition("\n")[0]
    if text.startswith("litellm."):
        text = text.partition(": ")[2] or text
    return provider_message(text.encode())


def _lacks_a_package(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ImportError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _tame() -> None:
    """Make LiteLLM silent and take its connections away from it; doing it twice is harmless."""
    for name in _LOGGERS:
        logging.getLogger(name).disabled = True
    litellm.suppress_debug_info = True
    litellm.turn_off_message_logging = True
    litellm.disable_streaming_logging = True
    litellm.disable_token_counter = True
    litellm.drop_params = False
    litellm.num_retries = 0
    litellm.callbacks, litellm.success_callback, litellm.failure_callback = [], [], []
    AsyncHTTPHandler.create_async_transport = staticmethod(_way_out)


def _way_out(**_options: object) -> PoolTransport:
    return PoolTransport()
