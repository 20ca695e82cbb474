"""What moves money: a queue that is drained and committed in groups.

Everything that arrives while a commit is under way goes into the next one, so the cost of a
request falls as the load rises. One group is one transaction: lock the balances concerned in a
fixed order, end what has ended, admit what fits in order of arrival, write, commit, and only
then wake those who wait for it.

When the database is away, admissions are refused at once and endings are kept and tried again
until it is back: nothing that happened is lost while the process lives, and what it could not
write is there as a hold. When and where turns run is the driver's affair (`drivers`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from gateway.clock import Clock
from gateway.errors import Unavailable
from gateway.ledger.entries import RELEASE, REPORTED, Ending, Entry
from gateway.metering.usage import CLASSES
from gateway.metrics import Metrics
from gateway.store.database import Database, DatabaseBusy, DatabaseConflict, DatabaseDown
from gateway.treasury.decisions import Shortage
from gateway.treasury.drivers import Driver
from gateway.treasury.groups import Admission, Closing, Group, Result
from gateway.treasury.holds import Hold

log = logging.getLogger(__name__)

WAITING_AT_MOST = 10_000
"""Admissions that may wait for room at once; one more is told that the budget is busy."""
TOGETHER_AT_MOST = 256
"""Admissions, and endings, in one commit."""
SETTLE_PATIENCE = 15.0
"""Seconds that an answer waits for its entry; after that the caller is told, the ending stays."""
_POLL_SECONDS = 0.05
"""How often waiting admissions look again: other processes may have freed money."""
_SWEEP_SECONDS = 1.0
_RETRY_SECONDS = 0.25
_BUSY_RETRY_SECONDS = 0.003
_BUSY_AT_MOST_SECONDS = 5.0
"""How long another writer may keep the database before it counts as down."""
HANGS_AFTER = 12.0
"""Seconds after which a commit hangs: longer than a server works at one statement (`store`)."""

ABANDONED = Ending(
    kind=RELEASE,
    outcome="caller_left",
    quality=REPORTED,
    reason="the caller left before the provider was asked",
)

IN_DOUBT = Ending(
    kind=RELEASE,
    outcome="books_down",
    quality=REPORTED,
    reason="the books broke off while it was admitted; the provider was not asked",
)

_by_class = attrgetter(*CLASSES)
_Answer = tuple[asyncio.Future[Any], object]
"""Who is told what after a commit."""


class Committer:
    """The queue of one process, and the connection that it is written on."""

    def __init__(
        self, database: Database, group: Group, clock: Clock, metrics: Metrics, driver: Driver
    ) -> None:
        self._group, self._clock, self._metrics = group, clock, metrics
        self._session = database.session(patient=not driver.on_the_loop)
        self._driver = driver
        self._admissions: deque[Admission] = deque()
        self._closings: deque[Closing] = deque()
        self._waiting: list[Admission] = []
        self._open: set[str] = set()
        self._stopping = False
        self._down = False
        self._retry_at = 0.0
        self._busy_since = 0.0
        self._sweep_at = 0.0
        self._turn_began = 0.0
        self._hangs = False
        self._under_way: tuple[Sequence[Admission], Sequence[Closing]] = ((), ())

    def start(self) -> None:
        """Begin to commit; answers are delivered on the running loop."""
        self._driver.start(self.turn, self.look)

    async def stop(self) -> None:
        """Commit what has arrived, as far as the database lets us; then end."""
        self._stopping = True
        if await self._driver.stop():
            await asyncio.to_thread(self._session.close)
        else:
            log.error("the books did not answer; what is open is there as holds, and lapses")

    @property
    def healthy(self) -> bool:
        """Whether the books could be written when it was last tried, and do not hang."""
        return not (self._down or self._hangs)

    @property
    def idle(self) -> bool:
        """Whether nothing is left to commit, or nothing can be."""
        return self._down or not (self._closings or self._admissions)

    def look(self) -> None:
        """Refuse who waits for a commit that hangs; called on the loop, from time to time.

        A server that is cut off without a word answers nothing, not even that it is down. A hold
        that comes after all is given back, an ending is written when it can be.
        """
        began, now = self._turn_began, time.monotonic()
        hangs = began > 0 and now - began > HANGS_AFTER
        if hangs and not self._hangs:
            log.error("the books do not answer, admissions are refused")
            self._metrics.commit_failures.inc()
        self._hangs = hangs
        if hangs:
            late = [self._admissions.popleft() for _ in range(len(self._admissions))]
            admissions, closings = self._under_way
            self._refuse([*admissions, *late])
            self._tell_the_late([*closings, *self._closings], now)

    def admit(self, admission: Admission) -> None:
        """Queue an admission; called on the loop."""
        if self._down or self._hangs or self._stopping:
            _tell(admission.future, _books_are_down())
            return
        self._admissions.append(admission)
        self._driver.wake()

    def close(self, closing: Closing) -> None:
        """Queue an ending; called on the loop."""
        self._closings.append(closing)
        self._driver.wake()

    def turn(self) -> float:
        """Commit what has arrived; returns in how many seconds to look again unless woken."""
        now = self._turn_began = time.monotonic()
        try:
            return self._turn(now)
        finally:
            self._turn_began, self._hangs, self._under_way = 0.0, False, ((), ())

    def _turn(self, now: float) -> float:
        if now < self._retry_at:
            return self._retry_at - now
        admissions, closings = _some(self._admissions), _some(self._closings)
        if admissions or closings or self._waiting:
            self._commit(admissions, closings)
        if now >= self._sweep_at and self._retry_at <= now:
            self._sweep_at = now + _SWEEP_SECONDS
            self._sweep()
        self._metrics.queue.set(len(self._admissions) + len(self._closings))
        if self._stopping and self.idle:
            self._refuse([*self._waiting, *_some(self._admissions)])
            self._waiting = []
        if self._retry_at > now:
            return self._retry_at - now
        if self._admissions or self._closings:
            return 0.0
        return _POLL_SECONDS if self._waiting else _SWEEP_SECONDS

    def _commit(self, admissions: list[Admission], closings: list[Closing]) -> None:
        candidates = [a for a in (*self._waiting, *admissions) if not a.future.done()]
        self._under_way = candidates, closings
        began = time.perf_counter()
        result: Result | None = None
        try:
            with self._session.transaction() as cursor:
                if self._down:
                    self._group.prove(cursor)
                now, instant = self._clock.now(), time.monotonic()
                result = self._group.run(cursor, candidates, closings, now, instant)
        except DatabaseBusy as busy:
            self._group.forget()
            self._try_again(busy, admissions, closings)
            return
        except DatabaseConflict as conflict:
            self._group.forget()
            self._one_by_one(admissions, closings, conflict)
            return
        except DatabaseDown as error:
            self._group.forget()
            self._closings.extendleft(reversed(closings))
            if result is not None:
                self._in_doubt(result)
            self._went_down(error, admissions)
            return
        except Exception as bug:  # ours: it may cost the one it is about, and nobody else
            self._group.forget()
            self._one_by_one(admissions, closings, bug)
            return
        self._came_back()
        self._metrics.commit.observe(time.perf_counter() - began)
        self._metrics.batch.observe(len(admissions) + len(closings))
        self._after_commit(closings, result)

    def _after_commit(self, closings: list[Closing], result: Result) -> None:
        answers: list[_Answer] = []
        for closing, entry in zip(closings, result.entries, strict=True):
            self._count(entry)
            self._open.discard(closing.hold.id)
            if closing.future is not None:
                answers.append((closing.future, entry))
        for entry in result.beside:
            self._count(entry)
        now = time.monotonic()
        waiting: list[Admission] = []
        for admission, answer in result.answers:
            if (
                isinstance(answer, Shortage)
                and not answer.for_good
                and now < admission.wait_until
                and len(waiting) < WAITING_AT_MOST
            ):
                waiting.append(admission)
            else:
                answers.append((admission.future, answer))
                if isinstance(answer, Hold):
                    self._open.add(answer.id)
        self._waiting = waiting
        self._metrics.holds_waiting.set(len(waiting))
        self._metrics.holds_open.set(len(self._open))
        self._deliver(answers)

    # ---- when the database does not take it

    def _try_again(
        self, busy: DatabaseBusy, admissions: list[Admission], closings: list[Closing]
    ) -> None:
        """Another writer has the database: keep everything, in order, and ask again at once."""
        now = time.monotonic()
        self._busy_since = self._busy_since or now
        self._closings.extendleft(reversed(closings))
        if now - self._busy_since > _BUSY_AT_MOST_SECONDS:
            self._went_down(busy, admissions)
        else:
            self._admissions.extendleft(reversed(admissions))
            self._retry_at = now + _BUSY_RETRY_SECONDS

    def _one_by_one(
        self, admissions: list[Admission], closings: list[Closing], why: Exception
    ) -> None:
        """A group that the database would not take is taken apart, to find the one at fault.

        Those who wait are taken apart too, and wait on if there is still no room for them.
        """
        candidates, self._waiting = [*self._waiting, *admissions], []
        if len(candidates) + len(closings) > 1:
            for closing in closings:
                self._commit([], [closing])
            for admission in candidates:
                self._commit([admission], [])
            return
        if isinstance(why, DatabaseConflict):
            log.error("the database refused one operation: %s", why)
        else:
            log.error("one operation failed by a mistake of ours", exc_info=why)
        self._metrics.commit_failures.inc()
        self._refuse(candidates)
        self._deliver([(c.future, _books_are_down()) for c in closings if c.future is not None])

    def _in_doubt(self, result: Result) -> None:
        """It failed in the commit: holds that may be there are given back later.

        Those who asked for them are refused. Endings are tried again; they end a hold only once,
        and one that was never written not at all.
        """
        holds = [answer for _, answer in result.answers if isinstance(answer, Hold)]
        self._closings.extend(Closing(hold, IN_DOUBT) for hold in holds)

    def _went_down(self, error: DatabaseDown, admissions: Sequence[Admission]) -> None:
        """Refuse what wants money, keep what has ended, look again in a moment."""
        if not self._down:
            log.error("the books are out of reach, admissions are refused: %s", error)
        self._down = True
        self._metrics.commit_failures.inc()
        now = time.monotonic()
        self._retry_at = now + _RETRY_SECONDS
        late = [self._admissions.popleft() for _ in range(len(self._admissions))]
        self._refuse([*self._waiting, *admissions, *late])
        self._waiting = []
        self._tell_the_late(tuple(self._closings), now)

    def _came_back(self) -> None:
        if self._down:
            log.warning("the books can be written again")
        self._down, self._retry_at, self._busy_since = False, 0.0, 0.0

    def _sweep(self) -> None:
        """Let holds lapse whose time is over. It also finds out whether the books are there."""
        try:
            with self._session.transaction() as cursor:
                if self._down:
                    self._group.prove(cursor)
                entries = self._group.lapse(cursor, self._clock.now())
        except (DatabaseBusy, DatabaseConflict):
            return  # the next sweep is soon enough
        except DatabaseDown as error:
            self._went_down(error, ())
            return
        self._came_back()
        for entry in entries:
            self._count(entry)
            self._open.discard(entry.id)
            self._metrics.holds_lapsed.inc()
            log.warning("hold %s lapsed at its ceiling of %d nanos", entry.id, entry.ceiling_nanos)

    # ---- telling

    def _count(self, entry: Entry) -> None:
        draft, ending, metrics = entry.draft, entry.ending, self._metrics
        place = (draft.job, draft.target)
        if ending.amount_nanos > 0:
            metrics.count(metrics.spend, (*place, ending.quality), ending.amount_nanos)
        for name, number in zip(CLASSES, _by_class(ending.usage), strict=True):
            if number:
                metrics.count(metrics.tokens, (*place, name), number)
        if ending.amount_nanos > entry.ceiling_nanos:
            over = ending.amount_nanos - entry.ceiling_nanos
            metrics.count(metrics.overrun, place, over)
            log.warning("entry %s is %d nanos over the ceiling of its hold", entry.id, over)

    def _tell_the_late(self, closings: Sequence[Closing], now: float) -> None:
        """Who has waited long enough for an entry is told; the ending stays, to be written."""
        late = [one for one in closings if now - one.queued_at > SETTLE_PATIENCE]
        self._deliver([(one.future, _books_are_down()) for one in late if one.future is not None])

    def _refuse(self, admissions: Sequence[Admission]) -> None:
        self._deliver([(a.future, _books_are_down()) for a in admissions])

    def _deliver(self, answers: list[_Answer]) -> None:
        if answers:
            self._driver.on_loop(lambda: self._tell_all(answers))

    def _tell_all(self, answers: list[_Answer]) -> None:
        for future, answer in answers:
            if future.done() and isinstance(answer, Hold):  # nobody waits for it any more
                self.close(Closing(answer, ABANDONED if future.cancelled() else IN_DOUBT))
            else:
                _tell(future, answer)


def _some(queue: deque[Any]) -> list[Any]:
    return [queue.popleft() for _ in range(min(len(queue), TOGETHER_AT_MOST))]


def _tell(future: asyncio.Future[Any], answer: object) -> None:
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def _books_are_down() -> Unavailable:
    return Unavailable(
        "the books cannot be written now, so nothing can be spent; try again shortly",
        retry_after=2.0,
    )
