"""The same request twice: the second gets what the first got, and is not charged.

A caller marks a request with an Idempotency-Key. The first with a key is claimed in the database
before anything is asked of a provider; who comes later with the same key waits for it, gets its
answer again while this process keeps it, or is told what became of it. What was refused, and what
failed without having cost anything, leaves the key free, so that a retry may succeed.

Promises: of all requests with one key (of one API key) that are remembered, at most one has
entries that cost something; a key names one body and no other.

It does not know how answers look; the doors do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gateway.clock import MICROS, Clock
from gateway.errors import (
    CallerLeft,
    GatewayError,
    ShuttingDown,
    UpstreamFailed,
)
from gateway.jobs.routes import Routes
from gateway.pipeline.asked import Trace
from gateway.pipeline.kept_answers import KeptAnswer, KeptAnswers, Recording
from gateway.pipeline.repeat_keys import (
    Question,
    another_body,
    books_are_down,
    check_key,
    digests,
    over,
    under_way,
)
from gateway.pipeline.streams import DRAIN_SECONDS, MeteredStream
from gateway.store.database import DatabaseDown
from gateway.treasury.claims import DONE, Booked, Claim, Claims, Name
from gateway.upstreams.protocol import PlainReply

log = logging.getLogger(__name__)

T = TypeVar("T")

REMEMBERED_SECONDS = 24 * 3600
"""How long a key is remembered, from its first request."""
WAIT_SECONDS = 60.0
"""How long a repeat waits for the first, when that is under way in the same process."""
_SWEEP_SECONDS = 60
_ATTEMPT_MARGIN_SECONDS = 5.0
_LIFE_MARGIN_SECONDS = 120.0


@dataclass(slots=True, eq=False)
class First:
    """The first request with a key, while it is under way in this process."""

    name: Name
    body_digest: str
    request_id: str
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Repeats:
    """Tells first requests from repeats; one for all doors of a process."""

    def __init__(
        self,
        claims: Claims,
        clock: Clock,
        instance: str,
        *,
        alone: bool,
        life_seconds: float,
        writable: Callable[[], bool],
    ) -> None:
        """`alone`: no other process uses the database, so what another instance left is dead.
        `life_seconds`: no request takes longer than this, whatever happens to it.
        `writable`: whether the books could be written when it was last tried."""
        self._claims, self._clock, self._instance = claims, clock, instance
        self._writable = writable
        self._alone, self._life = alone, round(life_seconds * MICROS)
        self._answers = KeptAnswers()
        self._firsts: dict[Name, First] = {}
        self._background: set[asyncio.Task[Any]] = set()
        self._swept_at = 0
        self.wait_seconds = WAIT_SECONDS

    def allow_for(self, seconds: float) -> None:
        """From now on a request may take as long as this, if it could not before."""
        self._life = max(self._life, round(seconds * MICROS))

    async def run(
        self,
        question: Question,
        trace: Trace,
        work: Callable[[], Awaitable[PlainReply | MeteredStream]],
    ) -> PlainReply | RecordedStream | KeptAnswer:
        """Do the work, if this request is the first with its key; else what the first got.

        Raises what the work raises; BadRequest for a key that names another body; UnderWay;
        Duplicate when the first ended and its answer is not here; Unavailable.
        """
        check_key(question.key)
        name, body_digest = await digests(question)
        found = await self._first(name, body_digest, trace.request_id)
        if isinstance(found, KeptAnswer):
            return found
        try:
            reply = await work()
        except BaseException as error:
            await self.end(found, _status_to_remember(trace, error))
            raise
        if isinstance(reply, MeteredStream):
            return RecordedStream(self, found, reply, trace, Recording(self._answers))
        self.keep(found, reply.body, trace, is_stream=False)
        await self.end(found, 200)
        return reply

    def keep(self, first: First, body: bytes, trace: Trace, *, is_stream: bool) -> None:
        """Keep the answer of a first for those who repeat it."""
        answer = KeptAnswer(
            body_digest=first.body_digest,
            body=body,
            is_stream=is_stream,
            headers=tuple(trace.headers(with_cost=True)),
            job=trace.job,
            target=trace.target,
            kept_at=self._clock.now(),
        )
        self._answers.keep(first.name, answer)

    async def end(self, first: First, status: int | None) -> None:
        """The first is over: remember it with its HTTP status, or (None) free its key.

        No cancellation undoes it. A row that cannot be written now stays open; the books are
        asked when somebody comes with the key again.
        """
        await asyncio.shield(self._in_background(self._end(first, status)))

    async def drain(self) -> None:
        """Wait for what is still being written."""
        while self._background:
            await asyncio.wait(tuple(self._background))

    # ---- who is the first

    async def _first(self, name: Name, body_digest: str, request_id: str) -> First | KeptAnswer:
        loop = asyncio.get_running_loop()
        until = loop.time() + self.wait_seconds
        while True:
            kept = self._answers.get(name, self._clock.now())
            other = kept or self._firsts.get(name)
            if other is None:
                return await self._claimed(First(name, body_digest, request_id))
            if other.body_digest != body_digest:
                raise another_body()
            if isinstance(other, KeptAnswer):
                return other
            try:
                await asyncio.wait_for(other.over.wait(), max(0.0, until - loop.time()))
            except TimeoutError:
                raise under_way(other.request_id) from None

    async def _claimed(self, first: First) -> First:
        """Claim the key in the database. Raises as `run` does when somebody else has it."""
        if not self._writable():  # nobody is left waiting in a thread for what is known
            raise books_are_down()
        self._firsts[first.name] = first
        claiming = self._in_background(asyncio.to_thread(self._claim, first))
        try:
            await asyncio.shield(claiming)
        except asyncio.CancelledError:
            self._in_background(self._undo(claiming, first))
            raise
        except BaseException as error:
            self._is_over(first)
            if isinstance(error, DatabaseDown):
                raise books_are_down() from error
            raise
        return first

    async def _undo(self, claiming: asyncio.Task[None], first: First) -> None:
        """The request was cancelled while its claim was being written."""
        with contextlib.suppress(DatabaseDown, GatewayError):
            try:
                await claiming
                await asyncio.to_thread(self._claims.free, first.name, first.request_id)
            finally:
                self._is_over(first)

    def _claim(self, first: First) -> None:
        """In a thread. Returns when the claim is this request's."""
        now = self._clock.now()
        if now >= self._swept_at + _SWEEP_SECONDS * MICROS:
            self._swept_at = now
            with contextlib.suppress(DatabaseDown):  # the next sweep is soon enough
                self._claims.sweep(now)
        wanted = Claim(
            body_digest=first.body_digest,
            request_id=first.request_id,
            instance=self._instance,
            created_at=now,
            open_until=now + self._life,
            expires_at=now + max(self._life, REMEMBERED_SECONDS * MICROS),
        )
        standing = self._claims.claim(first.name, wanted)
        if standing is wanted:
            return
        if standing.body_digest != first.body_digest:
            raise another_body()
        booked = self._claims.booked(standing.request_id)
        if self._is_open(standing, booked, now):
            raise under_way(standing.request_id)
        if standing.state == DONE or booked.counts:
            raise over(standing, booked)
        if self._claims.take(first.name, standing, wanted) is not wanted:
            raise under_way(standing.request_id)

    def _is_open(self, claim: Claim, booked: Booked, now: int) -> bool:
        """Whether the request may still be under way somewhere.

        Not when it was this process's, which would know, nor when its process is dead.
        """
        if claim.state == DONE or booked.lapsed:
            return False
        dead = claim.instance == self._instance or self._alone or now >= claim.open_until
        return booked.held or not dead

    # ---- how it ends

    async def _end(self, first: First, status: int | None) -> None:
        try:
            if status is None:
                await asyncio.to_thread(self._claims.free, first.name, first.request_id)
            else:
                await asyncio.to_thread(self._claims.finish, first.name, first.request_id, status)
        except DatabaseDown as error:
            log.warning("the claim of %s stays open: %s", first.request_id, error)
        finally:
            self._is_over(first)

    def _is_over(self, first: First) -> None:
        self._firsts.pop(first.name, None)
        first.over.set()

    def _in_background(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has got it; if they left, nobody has to be told


class RecordedStream:
    """A metered stream whose events are kept for those who repeat its request."""

    def __init__(
        self,
        repeats: Repeats,
        first: First,
        stream: MeteredStream,
        trace: Trace,
        recording: Recording,
    ) -> None:
        self._repeats, self._first = repeats, first
        self._stream, self._trace, self._recording = stream, trace, recording
        self._whole = False
        self._ended = False

    @property
    def outcome(self) -> str:
        """The word for how it ended; empty while it has not."""
        return self._stream.outcome

    async def events(self) -> AsyncIterator[bytes]:
        """What goes to the caller, and is recorded whether or not the caller is still there."""
        async for events in self._stream.events():
            self._recording.add(events)
            yield events
        self._whole = True

    def caller_left(self) -> None:
        """The caller hung up; what is read on is recorded on."""
        self._stream.caller_left()

    async def aclose(self) -> None:
        """End it if it has not ended, then its claim; idempotent, shielded from cancellation."""
        try:
            await self._stream.aclose()
        finally:
            if not self._ended:
                self._ended = True
                await self._end()

    async def _end(self) -> None:
        """A stream that has begun has used something: one that broke is remembered as well, but
        what there is of it is not given to anybody else."""
        body = self._recording.take()
        if self._whole and body is not None:
            self._repeats.keep(self._first, body, self._trace, is_stream=True)
        await self._repeats.end(self._first, 200)


def life_seconds(routes: Routes) -> float:
    """The longest that any request can take: every attempt of the longest job in full, and the
    reading on after its caller has left."""
    lives = [
        sum(
            (1 + job.retries) * (job.wait_for_room + t.timeouts.total + _ATTEMPT_MARGIN_SECONDS)
            for t in job.reachable
        )
        for job in routes.jobs.values()
    ]
    return max(lives, default=0.0) + DRAIN_SECONDS + _LIFE_MARGIN_SECONDS


def _status_to_remember(trace: Trace, error: BaseException) -> int | None:
    """The status of a failed request that cost something, or may have; None frees its key.

    An error of ours tells it exactly: what it cost is booked before it is raised. When the
    caller left or the process ends, what was asked of the provider is booked behind our back.
    """
    known = isinstance(error, GatewayError) and not isinstance(error, CallerLeft)
    if isinstance(error, UpstreamFailed) and error.may_have_cost:
        return error.status  # in tokens, where the model is free
    if trace.cost_nanos == 0 and (known or trace.attempts == 0):
        return None
    if isinstance(error, GatewayError):
        return error.status
    return ShuttingDown.status if isinstance(error, asyncio.CancelledError) else GatewayError.status
