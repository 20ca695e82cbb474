"""One answer, ready to be played: the head, the steps, and what it will cost."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from gateway.metering.usage import Usage
from tests.scripted import anthropic_shape, gemini_shape, openai_shape, responses_shape
from tests.scripted.asked import Asked
from tests.scripted.frames import (
    Cut,
    Frame,
    Kind,
    Pause,
    Send,
    Step,
    compressed,
    cut_at_bytes,
    encode,
    framed,
    stage_body,
    stage_stream,
)
from tests.scripted.script import Script
from tests.scripted.telling import Telling, partly, tell

JSON = "application/json"
STREAM = "text/event-stream; charset=utf-8"
_MISTRAL_FORBIDS = {"stream_options", "max_completion_tokens"}


@dataclass(frozen=True, slots=True)
class Answer:
    """The steps of one answer; `usage` is its price if whole, None for a refusal."""

    steps: tuple[Step, ...]
    status: int = 200
    usage: Usage | None = None
    model: str = ""
    answer_id: str = ""
    streamed: bool = False
    pieces: int = 0
    ahead: int = 0

    def used_after(self, pieces: int) -> Usage | None:
        """What is charged when it breaks after so many pieces of its content.

        A stream is charged for what was generated; a plain answer was generated whole before
        its first byte.
        """
        if self.usage is None or not self.streamed:
            return self.usage
        return partly(self.usage, pieces, self.pieces, self.ahead)


def answer_to(asked: Asked, script: Script, serial: int) -> Answer:
    """Build the answer. Raises ValueError for a script that cannot be played."""
    if script.hang_up:
        mode = "eof" if script.cut_mode == "end" else script.cut_mode
        return Answer(steps=(*_delay(script), Cut(mode)), status=0)
    wrong = _wrong_with(asked)
    if wrong is not None:
        return refusal(asked, wrong[0], Script(), wrong[1])
    if script.status >= 400:
        return refusal(asked, script.status, script)
    telling = tell(asked, script, _answer_id(asked, serial))
    if script.wire_usage is None:
        _check_words(telling)
    streamed = asked.stream and script.body is None and asked.api != "embeddings"
    frames = _frames(telling) if streamed else []
    steps: list[Step]
    if streamed:
        steps = stage_stream(frames, script, _error_event(telling))
        pieces = sum(frame.kind is Kind.PIECE for frame in frames)
    else:
        body = _plain(telling) if script.body is None else script.body.encode()
        told = not (script.omit_usage or script.wire_usage is not None or script.body is not None)
        pieces = len(telling.pieces) + len(script.tool_calls)
        steps = stage_body(body, script, pieces, told=told)
    return Answer(
        steps=_dressed(steps, asked, script, streamed=streamed),
        status=script.status,
        usage=telling.usage,
        model=telling.model,
        answer_id=telling.answer_id,
        streamed=streamed,
        pieces=pieces,
        ahead=script.generated_ahead,
    )


def refusal(
    asked: Asked | None, status: int, script: Script, body: dict[str, Any] | None = None
) -> Answer:
    """An error in the provider's own shape, which costs nothing."""
    api = asked.api if asked else "chat"
    message = script.error or f"Scripted refusal with status {status}."
    if script.body is not None:
        raw = script.body.encode()
    elif body is not None:
        raw = encode(body)
    elif api == "messages":
        raw = encode(anthropic_shape.error(status, message))
    elif api == "generate":
        raw = encode(gemini_shape.error(status, message, script.retry_after))
    else:
        raw = encode(openai_shape.error(status, message, asked.flavour if asked else "openai"))
    headers = list(script.headers)
    if script.retry_after is not None and api != "generate":
        headers.append(("retry-after", f"{script.retry_after:g}"))
    head = _head(status, script.content_type or JSON, len(raw), headers)
    return Answer(steps=(*_delay(script), Send(head + raw, 0)), status=status)


def ok(body: bytes) -> Answer:
    """A plain answer that costs nothing: lists of models, the test's own controls."""
    return Answer(steps=(Send(_head(200, JSON, len(body), []) + body, 0),))


def _wrong_with(asked: Asked) -> tuple[int, dict[str, Any]] | None:
    """What the real provider would refuse in this request: status and body."""
    if asked.flavour == "mistral" and asked.api == "chat":
        for name in sorted(_MISTRAL_FORBIDS & asked.body.keys()):
            given = asked.body[name]
            inner = next(iter(given)) if isinstance(given, dict) and given else None
            if inner is None:
                return 422, openai_shape.extra_forbidden([name], given)
            return 422, openai_shape.extra_forbidden([name, inner], given[inner])
    if asked.api == "messages" and asked.limit is None:
        return 400, anthropic_shape.error(400, "max_tokens: Field required")
    if not asked.model:
        return 400, openai_shape.error(400, "you must provide a model parameter", asked.flavour)
    return None


def _answer_id(asked: Asked, serial: int) -> str:
    prefix = {"chat": "chatcmpl-", "responses": "resp_", "messages": "msg_"}.get(asked.api, "")
    return f"{prefix}scripted{serial:06d}"


def _check_words(telling: Telling) -> None:
    """Raise ValueError if the format cannot tell the usage, even where it is not asked to."""
    match telling.asked.api:
        case "responses":
            responses_shape.usage_of(telling.usage)
        case "messages":
            anthropic_shape.usage_of(telling.usage, None)
        case "generate":
            gemini_shape.usage_of(telling.usage, telling.script.tool_prompt)
        case "embeddings":
            openai_shape.embedding_usage_of(telling.usage)
        case _:
            openai_shape.usage_of(telling.usage, telling.asked.flavour)


def _plain(telling: Telling) -> bytes:
    match telling.asked.api:
        case "embeddings":
            return openai_shape.embeddings(telling)
        case "responses":
            return responses_shape.plain(telling)
        case "messages":
            return anthropic_shape.plain(telling)
        case "generate":
            return gemini_shape.plain(telling)
        case _:
            return openai_shape.plain(telling)


def _frames(telling: Telling) -> list[Frame]:
    match telling.asked.api:
        case "responses":
            return responses_shape.frames(telling)
        case "messages":
            return anthropic_shape.frames(telling)
        case "generate":
            return gemini_shape.frames(telling)
        case _:
            return openai_shape.frames(telling)


def _error_event(telling: Telling) -> bytes:
    message = telling.script.error or "The scripted stream failed."
    match telling.asked.api:
        case "responses":
            return responses_shape.error_event(message)
        case "messages":
            return anthropic_shape.error_event(message)
        case "generate":
            return gemini_shape.error_event(message)
        case _:
            error = openai_shape.error(500, message, telling.asked.flavour)
            return b"data: " + encode(error) + b"\n\n"


def _dressed(
    steps: list[Step], asked: Asked, script: Script, *, streamed: bool
) -> tuple[Step, ...]:
    """The steps with compression, cuts by bytes, and HTTP around them."""
    if script.gzip:
        steps = list(compressed(steps))
    whole = sum(len(step.data) for step in steps if isinstance(step, Send))
    steps = cut_at_bytes(steps, script, streamed=streamed)
    if not any(isinstance(step, Cut) for step in steps):
        whole = sum(len(step.data) for step in steps if isinstance(step, Send))
    usual = STREAM if streamed and asked.sse else JSON
    headers = list(script.headers)
    if script.gzip:
        headers.append(("content-encoding", "gzip"))
    length = None if streamed else whole
    head = _head(script.status, script.content_type or usual, length, headers)
    dressed = framed(steps, head, chunked=streamed, burst=script.burst)
    return (*_delay(script), *dressed)


def _delay(script: Script) -> list[Step]:
    return [Pause(script.first_byte_delay)] if script.first_byte_delay else []


def _head(
    status: int, content_type: str, length: int | None, headers: list[tuple[str, str]]
) -> bytes:
    """Status line and headers; without a length the body comes in chunks."""
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Scripted"
    size = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    lines = [f"HTTP/1.1 {status} {reason}", f"content-type: {content_type}", size]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
