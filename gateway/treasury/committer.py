"""The one thread that moves money: it drains a queue and commits in groups.

Everything that arrives while a commit is under way goes into the next one, so the cost of a
request falls as the load rises. One group is one transaction: lock the balances concerned in a
fixed order, end what has ended, admit what fits in order of arrival, write, commit, and only
then wake those who wait for it.

When the database is away, admissions are refused at once and endings are kept and tried again
until it is back: nothing that happened is lost while the process lives, and what it could not
write is there as a hold.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from gateway.clock import Clock
from gateway.errors import Unavailable
from gateway.ledger.entries import RELEASE, REPORTED, Ending, Entry
from gateway.metering.usage import CLASSES
from gateway.metrics import Metrics
from gateway.store.database import Database, DatabaseConflict, DatabaseDown
from gateway.treasury.decisions import Shortage
from gateway.treasury.groups import Admission, Closing, Group, Result
from gateway.treasury.holds import Hold

log = logging.getLogger(__name__)

WAITING_AT_MOST = 10_000
"""Admissions that may wait for room at once; one more is told that the budget is busy."""
TOGETHER_AT_MOST = 256
"""Admissions and endings in one commit."""
_POLL_SECONDS = 0.05
"""How often waiting admissions look again: other processes may have freed money."""
_SWEEP_SECONDS = 1.0
_RETRY_SECONDS = 0.25


_Answer = tuple[asyncio.Future[Any], object]
"""Who is told what after a commit."""


class Committer:
    """Owns the thread, its queue and its connection. Start it once, stop it once."""

    def __init__(self, database: Database, group: Group, clock: Clock, metrics: Metrics) -> None:
        self._group, self._clock, self._metrics = group, clock, metrics
        self._session = database.session()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrived = threading.Condition()
        self._admissions: deque[Admission] = deque()
        self._closings: deque[Closing] = deque()
        self._waiting: list[Admission] = []
        self._stopping = False
        self._down_until = 0.0
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to commit; answers are delivered on this loop."""
        self._loop = loop
        self._thread.start()

    def stop(self) -> None:
        """Commit what has arrived, then end the thread. Blocks until it has ended."""
        with self._arrived:
            self._stopping = True
            self._arrived.notify()
        self._thread.join()
        self._session.close()

    @property
    def healthy(self) -> bool:
        """Whether the last commit went through."""
        return self._down_until == 0.0

    def admit(self, admission: Admission) -> None:
        """Queue an admission; called on the loop."""
        if self._down_until > time.monotonic() or self._stopping:
            _tell(admission.future, _books_are_down())
            return
        with self._arrived:
            self._admissions.append(admission)
            self._arrived.notify()

    def close(self, closing: Closing) -> None:
        """Queue an ending; called on the loop."""
        with self._arrived:
            self._closings.append(closing)
            self._arrived.notify()

    # ---- the thread

    def _run(self) -> None:
        next_sweep = 0.0
        while True:
            admissions, closings, stopping = self._take()
            if admissions or closings or self._waiting:
                self._commit(admissions, closings)
            now = time.monotonic()
            if now >= next_sweep and not self._down_until:
                next_sweep = now + _SWEEP_SECONDS
                self._sweep()
            if stopping and not self._closings:
                self._refuse([*self._waiting, *self._admissions])
                return
            if self._down_until:
                if stopping:
                    return  # the holds are in the books; they lapse at their ceilings
                time.sleep(_RETRY_SECONDS)

    def _take(self) -> tuple[list[Admission], list[Closing], bool]:
        with self._arrived:
            if not (self._admissions or self._closings or self._stopping):
                self._arrived.wait(_POLL_SECONDS if self._waiting else _SWEEP_SECONDS)
            closings = [
                self._closings.popleft() for _ in range(min(len(self._closings), TOGETHER_AT_MOST))
            ]
            admissions = [
                self._admissions.popleft()
                for _ in range(min(len(self._admissions), TOGETHER_AT_MOST))
            ]
            self._metrics.queue.set(len(self._admissions) + len(self._closings))
            return admissions, closings, self._stopping

    def _commit(self, admissions: list[Admission], closings: list[Closing]) -> None:
        candidates = [a for a in (*self._waiting, *admissions) if not a.future.cancelled()]
        began = time.perf_counter()
        try:
            with self._session.transaction() as cursor:
                result = self._group.run(cursor, candidates, closings, self._clock.now())
        except DatabaseConflict as conflict:
            self._group.forget()
            self._one_by_one(admissions, closings, conflict)
            return
        except DatabaseDown as error:
            self._group.forget()
            self._went_down(error, admissions, closings)
            return
        self._down_until = 0.0
        self._metrics.commit.observe(time.perf_counter() - began)
        self._metrics.batch.observe(len(admissions) + len(closings))
        self._after_commit(closings, result)

    def _after_commit(self, closings: list[Closing], result: Result) -> None:
        answers: list[_Answer] = []
        for closing, entry in zip(closings, result.entries, strict=True):
            self._count(entry)
            if closing.future is not None:
                answers.append((closing.future, entry))
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
        self._waiting = waiting
        self._metrics.holds_waiting.set(len(waiting))
        self._metrics.holds_open.inc(result.opened - len(closings))
        self._deliver(answers)

    def _one_by_one(
        self, admissions: list[Admission], closings: list[Closing], conflict: DatabaseConflict
    ) -> None:
        """A group that the database would not take is taken apart, to find the one at fault."""
        if len(admissions) + len(closings) > 1:
            for closing in closings:
                self._commit([], [closing])
            for admission in admissions:
                self._commit([admission], [])
            return
        log.error("the database refused one operation: %s", conflict)
        self._metrics.commit_failures.inc()
        self._refuse(admissions)
        for closing in closings:
            if closing.future is not None:
                self._deliver([(closing.future, _books_are_down())])

    def _went_down(
        self, error: DatabaseDown, admissions: list[Admission], closings: list[Closing]
    ) -> None:
        if not self._down_until:
            log.error("the books are out of reach, admissions are refused: %s", error)
        self._metrics.commit_failures.inc()
        self._down_until = time.monotonic() + 2 * _RETRY_SECONDS
        with self._arrived:
            self._closings.extendleft(reversed(closings))
            late = list(self._admissions)
            self._admissions.clear()
        self._refuse([*self._waiting, *admissions, *late])
        self._waiting = []

    def _sweep(self) -> None:
        """Let holds lapse whose time is over; their owners are gone or far too late."""
        try:
            with self._session.transaction() as cursor:
                entries = self._group.lapse(cursor, self._clock.now())
        except (DatabaseDown, DatabaseConflict) as error:
            log.warning("the sweep for lapsed holds has to be tried again: %s", error)
            return
        for entry in entries:
            self._count(entry)
            self._metrics.holds_lapsed.inc()
            log.warning("hold %s lapsed at its ceiling of %d nanos", entry.id, entry.ceiling_nanos)

    def _count(self, entry: Entry) -> None:
        draft, ending, metrics = entry.draft, entry.ending, self._metrics
        place = (draft.job, draft.target)
        if ending.amount_nanos > 0:
            metrics.count(metrics.spend, (*place, ending.quality), ending.amount_nanos)
        for name in CLASSES:
            if number := getattr(ending.usage, name):
                metrics.count(metrics.tokens, (*place, name), number)
        if ending.amount_nanos > entry.ceiling_nanos:
            over = ending.amount_nanos - entry.ceiling_nanos
            metrics.count(metrics.overrun, place, over)
            log.warning("entry %s is %d nanos over the ceiling of its hold", entry.id, over)

    def _refuse(self, admissions: Sequence[Admission]) -> None:
        self._deliver([(a.future, _books_are_down()) for a in admissions])

    def _deliver(self, answers: list[_Answer]) -> None:
        if not answers or self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(self._tell_all, answers)
        except RuntimeError:  # the loop has been closed: nobody is left to be told
            log.debug("nobody waits for %d answers", len(answers))

    def _tell_all(self, answers: list[_Answer]) -> None:
        for future, answer in answers:
            if future.cancelled() and isinstance(answer, Hold):
                self.close(Closing(answer, ABANDONED))
            else:
                _tell(future, answer)


ABANDONED = Ending(
    kind=RELEASE,
    outcome="caller_left",
    quality=REPORTED,
    reason="the caller left before the provider was asked",
)


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
