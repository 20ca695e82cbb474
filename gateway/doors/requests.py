"""The doors that models are reached through: chat, embeddings, Responses, Messages.

They differ in how a body is read and in the shape of an error; everything else is the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from gateway.doors.answers import (
    EVENTS,
    JSON,
    as_gateway_error,
    error_body,
    error_headers,
    message_error_body,
    send_whole,
)
from gateway.doors.entrance import Entrance, read_headers
from gateway.doors.refusals import Refusals
from gateway.errors import CallerLeft, GatewayError, ShuttingDown, Unavailable
from gateway.metrics import Metrics
from gateway.pipeline.asked import Asked, Trace, new_request_id, parse_tags
from gateway.pipeline.endings import outcome_of
from gateway.pipeline.kept_answers import KeptAnswer
from gateway.pipeline.live import Live
from gateway.pipeline.presence import Presence
from gateway.pipeline.repeat_keys import Question
from gateway.pipeline.repeats import RecordedStream, Repeats
from gateway.pipeline.streams import MeteredStream
from gateway.upstreams.protocol import PlainReply
from gateway.wire.chat_body import read_chat, read_messages
from gateway.wire.native_bodies import read_embeddings, read_responses
from gateway.wire.request_body import RequestBody


@dataclass(frozen=True, slots=True)
class Manners:
    """How a form of request is read, and how its errors look."""

    read: Callable[[bytes], RequestBody]
    error: Callable[[GatewayError], bytes] = error_body
    event_name: bytes = b""
    """The line before the data of an error event, where the form's events have names."""


MANNERS = {
    "/v1/chat/completions": Manners(read_chat),
    "/v1/embeddings": Manners(read_embeddings),
    "/v1/responses": Manners(read_responses, event_name=b"event: error\n"),
    "/v1/messages": Manners(read_messages, message_error_body, b"event: error\n"),
}
"""The doors, by their path."""

_REPLAYED = (b"x-jobgate-replayed", b"true")


class RequestDoor:
    """An ASGI endpoint for requests of one form."""

    def __init__(
        self,
        entrance: Entrance,
        live: Live,
        repeats: Repeats,
        metrics: Metrics,
        refusals: Refusals,
        manners: Manners,
    ) -> None:
        self._entrance, self._live, self._metrics = entrance, live, metrics
        self._repeats, self._refusals, self._manners = repeats, refusals, manners
        self._watchers: set[asyncio.Task[None]] = set()
        self.closing = False
        """True while the process shuts down: nothing new is let in."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        trace = Trace(new_request_id())
        presence = Presence(lambda watched: self._watch(watched, receive))
        try:
            reply = await self._run(scope, receive, trace, presence)
        except CallerLeft:
            self._metrics.ended(trace.job, trace.target, "caller_left")
            return
        except Exception as error:
            refusal = as_gateway_error(error)
            self._metrics.ended(trace.job, trace.target, outcome_of(refusal))
            self._refusals.note(refusal, trace)
            await self._refuse(send, refusal, trace)
            return
        except asyncio.CancelledError:
            await self._refuse(send, _broken_off(), trace)
            raise
        if isinstance(reply, PlainReply):
            headers = [JSON, *trace.headers(with_cost=True)]
            self._observe(trace)
            await send_whole(send, 200, reply.body, headers)
            self._metrics.ended(trace.job, trace.target, "ok")
        elif isinstance(reply, KeptAnswer):
            form = EVENTS if reply.is_stream else [JSON]
            await send_whole(send, 200, reply.body, [*form, *reply.headers, _REPLAYED])
            self._metrics.ended(reply.job, reply.target, "duplicate")
        else:
            await self._stream(send, reply, trace, presence)

    async def _run(
        self, scope: Scope, receive: Receive, trace: Trace, presence: Presence
    ) -> PlainReply | MeteredStream | RecordedStream | KeptAnswer:
        if self.closing:
            raise ShuttingDown("the gateway is about to restart; try again", retry_after=2.0)
        knock = read_headers(scope)
        caller = trace.caller = await self._entrance.caller(scope, knock)
        body = await self._entrance.body(receive, knock)
        asked = Asked(caller, self._manners.read(body), knock.job, parse_tags(knock.tags))
        if knock.repeat_key is None:
            return await self._live.pipeline.run(asked, trace, presence)
        chosen = (scope["path"], knock.job or "", knock.tags or "")
        question = Question(
            knock.repeat_key, caller.key_id, (*(text.encode() for text in chosen), body)
        )
        return await self._repeats.run(
            question, trace, lambda: self._live.pipeline.run(asked, trace, presence)
        )

    async def _stream(
        self,
        send: Send,
        stream: MeteredStream | RecordedStream,
        trace: Trace,
        presence: Presence,
    ) -> None:
        """Events as they come; a caller who has left is not sent any more."""
        presence.when_gone(stream.caller_left)
        self._observe(trace)
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": 200,
                    "headers": [*EVENTS, *trace.headers(with_cost=False)],
                }
            )
            async for events in stream.events():
                if not presence.gone:
                    await send({"type": "http.response.body", "body": events, "more_body": True})
        except Exception as error:
            await self._send_last(send, as_gateway_error(error))
        except asyncio.CancelledError:
            await _end(stream)
            await self._send_last(send, _broken_off())
            raise
        finally:
            await _end(stream)
            self._metrics.ended(trace.job, trace.target, stream.outcome)
        await send({"type": "http.response.body", "body": b""})

    async def _refuse(self, send: Send, error: GatewayError, trace: Trace) -> None:
        headers = [JSON, *error_headers(error), *trace.headers(with_cost=False)]
        await send_whole(send, error.status, self._manners.error(error), headers)

    async def _send_last(self, send: Send, error: GatewayError) -> None:
        """An error as the last event of a stream that has begun."""
        event = self._manners.event_name + b"data: " + self._manners.error(error) + b"\n\n"
        await send({"type": "http.response.body", "body": event, "more_body": True})

    def _observe(self, trace: Trace) -> None:
        added = time.perf_counter() - trace.began - trace.upstream_seconds
        self._metrics.observe(self._metrics.added, (trace.job,), added)

    def _watch(self, presence: Presence, receive: Receive) -> None:
        """Wait beside the request for the caller to hang up."""

        async def until_gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            presence.left()

        task = asyncio.ensure_future(until_gone())
        self._watchers.add(task)
        task.add_done_callback(self._watchers.discard)


async def _end(stream: MeteredStream | RecordedStream) -> None:
    """Close it. That its bill cannot be written now, `events` has told already, if anybody heard
    it; the bill is kept and written later."""
    with contextlib.suppress(Unavailable):
        await stream.aclose()


def _broken_off() -> ShuttingDown:
    """What is told when the server cancels a request: its patience with this process is over."""
    return ShuttingDown("the gateway had to end before the answer was whole", retry_after=2.0)
