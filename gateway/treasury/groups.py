"""One group of admissions and endings, as one transaction (law 2).

Endings come first, because they free money; then admissions are decided in order of arrival on
the same locked balances; then everything is written. Nothing here waits, and nothing here
decides when: it is told a moment and a cursor.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec.structs import replace
from sqlalchemy import bindparam, select

from gateway.ledger.entries import (
    ADJUST,
    LAPSE,
    PRESUMED,
    RELEASE,
    Draft,
    Ending,
    Entry,
    EntryWriter,
    with_asides,
)
from gateway.store.database import Cursor
from gateway.store.statements import prepare
from gateway.store.tables import EntryRow
from gateway.treasury.balances import BalanceTable
from gateway.treasury.decisions import Line, Shortage, State, decide, give_back, stood
from gateway.treasury.holds import Hold, HoldTable, balance_list
from gateway.treasury.periods import Calendar
from gateway.treasury.posting import Posting, Postings
from gateway.treasury.rollover import Rollover

log = logging.getLogger(__name__)


class Admission(msgspec.Struct, eq=False):
    """One request that asks for room."""

    id: str
    draft: Draft
    lines: Callable[[int], Sequence[Line]]
    """The lines it wants, given the moment of the decision: a new period may have begun."""
    ceiling_nanos: int
    ceiling_tokens: int
    request_count: int
    open_micros: int
    """How long the hold may stay open before it lapses."""
    wait_until: float
    """Until when it waits for held money, on the monotonic clock."""
    future: asyncio.Future[Any]
    """Becomes a Hold, a Shortage, or an exception."""


class Closing(msgspec.Struct, eq=False):
    """One hold that ends."""

    hold: Hold
    ending: Ending
    future: asyncio.Future[Any] | None = None
    """Becomes the Entry, or an exception; None when nobody waits."""
    queued_at: float = msgspec.field(default_factory=time.monotonic)


@dataclass(slots=True)
class Result:
    """What a group came to: an entry for each closing, an answer for each admission."""

    entries: list[Entry] = field(default_factory=list)
    beside: list[Entry] = field(default_factory=list)
    """Entries of what an attempt used of other models, in the same transaction."""
    answers: list[tuple[Admission, Hold | Shortage]] = field(default_factory=list)


class Group:
    """Runs groups for one organisation on one database.

    `calendar` is the organisation's (UTC when there is none): it finds the open period of a
    budget when what is corrected is closed, and the periods that roll over. `source` says where
    the limits come from, for when they change.
    """

    def __init__(
        self,
        org: str,
        engine: str,
        instance: str,
        calendar: Calendar | None = None,
        source: str = "routes.yaml",
    ) -> None:
        self._org, self.source = org, source
        self._balances = BalanceTable(org, engine)
        calendar = calendar or Calendar(ZoneInfo("UTC"))
        self._postings = Postings(org, engine, calendar, self._balances)
        self._rollover = Rollover(org, engine, calendar)
        self._holds = HoldTable(org, engine, instance)
        self._writer = EntryWriter(org, engine)
        table = EntryRow.__table__  # type: ignore[attr-defined]
        self._booked = prepare(
            select(table.c.id, table.c.kind, table.c.amount_nanos, table.c.tokens)
            .where(
                table.c.org == bindparam("org"),
                table.c.id.in_([bindparam("id"), bindparam("correction")]),
            )
            .order_by(table.c.id),
            engine,
        )

    def forget(self) -> None:
        """Drop what was remembered of a transaction that was rolled back."""
        self._balances.forget()

    def run(
        self,
        cursor: Cursor,
        admissions: Sequence[Admission],
        closings: Sequence[Closing],
        now: int,
        instant: float,
    ) -> Result:
        """End, admit and write; the caller commits.

        `now` is microseconds since 1970, `instant` the same moment on the clock that admissions
        wait by. A group whose commit is in doubt may be run again: what has ended stays as it is.
        """
        # Nothing is admitted into a closed month, even by a machine whose clock is behind.
        now = max(now, self._postings.closed_until)
        late = self._late(cursor, closings, now)
        wants = [self._wants(cursor, admission, now) for admission in admissions]
        numbers = {number for want in wants for number, _ in want}
        for closing in closings:
            numbers.update(closing.hold.balances)
        numbers.update(number for posting in late.values() for number in posting.balances)
        locking = self._balances.locking(cursor, numbers)
        taking = self._holds.taking(cursor, [closing.hold.id for closing in closings])
        states = locking()
        result = Result()
        for entry, *beside in self._end(cursor, closings, taking(), states, now, late):
            result.entries.append(entry)
            result.beside += beside
        self._carry_over(cursor, wants, states)
        holds: list[Hold] = []
        waited_for: set[int] = set()
        for admission, want in zip(admissions, wants, strict=True):
            wanted = [(line, states[number]) for number, line in want]
            shortage = decide(wanted, waited_for, waits=instant < admission.wait_until)
            if shortage is not None:
                result.answers.append((admission, shortage))
                continue
            hold = _hold(admission, want, states, now)
            holds.append(hold)
            result.answers.append((admission, hold))
        if holds:
            self._holds.add(cursor, holds)
        self._balances.save(cursor, states.values())
        self._balances.note_changes(cursor, states.values(), now, self.source)
        return result

    def _carry_over(
        self,
        cursor: Cursor,
        wants: Sequence[Sequence[tuple[int, Line]]],
        states: Mapping[int, State],
    ) -> None:
        """Work out what is carried into balances that nobody has asked for anything yet."""
        if all(state.carried is not None for state in states.values()):
            return
        # What ended in this transaction may have ended in the period before.
        self._balances.save(cursor, states.values())
        for number, line in (each for want in wants for each in want):
            if states[number].carried is None:
                states[number].carry(self._rollover.into(cursor, line))

    def prove(self, cursor: Cursor) -> None:
        """Write something, so that a commit means that the books can be written.

        Ending a hold that is not there and looking for those that lapse write nothing.
        """
        self._balances.prove(cursor)

    def lapse(self, cursor: Cursor, now: int) -> list[Entry]:
        """Book holds whose time is over at their ceilings; returns their entries.

        It is called every second, so it is also where a month that was closed is noticed.
        """
        self._postings.look(cursor)
        return self._presume(cursor, self._holds.expired(cursor, now), now, "nobody came back")

    def lapse_foreign(self, cursor: Cursor, now: int) -> list[Entry]:
        """Book holds that another instance left behind: for a database with one owner."""
        return self._presume(
            cursor, self._holds.foreign(cursor), now, "the gateway ended while it was open"
        )

    def _presume(self, cursor: Cursor, holds: Sequence[Hold], now: int, reason: str) -> list[Entry]:
        states = self._balances.lock(cursor, {n for hold in holds for n in hold.balances})
        still_open = self._holds.lock_open(cursor, [hold.id for hold in holds]) if holds else ()
        lapsing = [Closing(h, _lapsed(h, reason)) for h in holds if h.id in still_open]
        taken = self._holds.taking(cursor, [closing.hold.id for closing in lapsing])()
        entries = self._end(cursor, lapsing, taken, states, now, {})
        self._balances.save(cursor, states.values())
        return [entry for (entry,) in entries]

    def _wants(self, cursor: Cursor, admission: Admission, now: int) -> list[tuple[int, Line]]:
        return [(self._balances.number(cursor, line), line) for line in admission.lines(now)]

    def _late(self, cursor: Cursor, closings: Sequence[Closing], now: int) -> dict[str, Posting]:
        """Where corrections go of holds that may have lapsed, by the holds' ids."""
        closed_until = self._postings.closed_until
        late = [
            closing.hold
            for closing in closings
            if closing.hold.lapses_at <= now or closing.hold.admitted_at < closed_until
        ]
        if not late:
            return {}
        self._postings.lock(cursor)
        find = self._postings.find
        return {hold.id: find(cursor, hold.admitted_at, hold.balances, now) for hold in late}

    def _end(
        self,
        cursor: Cursor,
        closings: Sequence[Closing],
        still_open: set[str],
        states: dict[int, State],
        now: int,
        late: Mapping[str, Posting],
    ) -> list[list[Entry]]:
        """End holds; of each the entry that tells how it went, and those beside it."""
        if not closings:
            return []
        told: list[list[Entry]] = []
        written: list[Entry] = []
        for closing in closings:
            hold = closing.hold
            entry = _entry(hold, closing.ending, now)
            if hold.id in still_open:
                still_open.discard(hold.id)
                made = tell = with_asides(entry)
                for number in hold.balances:
                    state = states[number]
                    unit, held = state.unit, hold.amount(state.unit)
                    for each in made:
                        give_back(state, held, _spent(each, unit), _ceiling(each, unit))
                        held = 0  # it was held once, for all of them
            else:
                posting = late.get(hold.id) or Posting(hold.admitted_at, hold.balances)
                made = self._correction(cursor, closing, now, posting)
                tell = made[1:]  # the first takes back what was presumed
                for correction in made:
                    for number in posting.balances:
                        state = states[number]
                        spent = _spent(correction, state.unit)
                        give_back(state, 0, spent, _ceiling(correction, state.unit))
            told.append(tell or [entry])
            written += made
        self._writer.write(cursor, written)
        return told

    def _correction(
        self, cursor: Cursor, closing: Closing, now: int, posting: Posting
    ) -> list[Entry]:
        """The hold has lapsed meanwhile: what was presumed is taken back, what was used booked.

        Nothing when it did not lapse: then this is the second try of an ending, or of giving back
        a hold, whose commit was in doubt, and the books are right as they are.
        """
        hold, ending = closing.hold, closing.ending
        ids = {"id": hold.id, "correction": f"{hold.id}.late-1"}
        rows = cursor.rows(self._booked, {"org": self._org, **ids})
        if len(rows) != 1 or rows[0][1] != LAPSE:
            return []
        presumed_nanos, presumed_tokens = rows[0][2:]
        log.warning("hold %s had lapsed before it was settled; the entry is corrected", hold.id)
        taken_back = Ending(
            kind=ADJUST,
            outcome=ending.outcome,
            quality=PRESUMED,
            amount_nanos=-presumed_nanos,
            tokens=-presumed_tokens,
            reason=posting.says("settled after the hold had lapsed: the ceiling is taken back"),
            author="gateway",
        )
        booked = replace(
            ending,
            kind=ADJUST,
            reason=posting.says(
                ending.reason or "settled after the hold had lapsed: what was used"
            ),
            author=ending.author or "gateway",
        )
        return [
            _adjustment(hold, "late-1", taken_back, now, posting),
            *with_asides(
                replace(
                    _adjustment(hold, "late-2", booked, now, posting),
                    ceiling_nanos=hold.ceiling_nanos,
                    ceiling_tokens=hold.ceiling_tokens,
                )
            ),
        ]


def _hold(
    admission: Admission,
    want: Sequence[tuple[int, Line]],
    states: Mapping[int, State],
    now: int,
) -> Hold:
    """The hold that takes what it wanted of these balances, and how it found them."""
    draft = admission.draft
    taken = sorted(want, key=itemgetter(0))
    if taken:
        found = stood((line, states[number]) for number, line in taken)
        draft = replace(draft, decision=replace(draft.decision, budgets=found))
    return Hold(
        id=admission.id,
        draft=draft,
        admitted_at=now,
        lapses_at=now + admission.open_micros,
        ceiling_nanos=admission.ceiling_nanos,
        ceiling_tokens=admission.ceiling_tokens,
        request_count=admission.request_count,
        balances=tuple(number for number, _ in taken),
    )


def _lapsed(hold: Hold, reason: str) -> Ending:
    return Ending(
        kind=LAPSE,
        outcome="lapsed",
        quality=PRESUMED,
        amount_nanos=hold.ceiling_nanos,
        tokens=hold.ceiling_tokens,
        reason=reason,
        author="gateway",
    )


def _entry(hold: Hold, ending: Ending, now: int) -> Entry:
    return Entry(
        id=hold.id,
        draft=hold.draft,
        ending=ending,
        admitted_at=hold.admitted_at,
        recorded_at=now,
        request_count=0 if ending.kind == RELEASE else hold.request_count,
        ceiling_nanos=hold.ceiling_nanos,
        ceiling_tokens=hold.ceiling_tokens,
        balances=balance_list(hold.balances),
    )


def _adjustment(hold: Hold, suffix: str, ending: Ending, now: int, posting: Posting) -> Entry:
    """A correction of the entry of a hold."""
    return Entry(
        id=f"{hold.id}.{suffix}",
        draft=hold.draft,
        ending=ending,
        admitted_at=posting.admitted_at,
        recorded_at=now,
        request_count=0,
        ceiling_nanos=0,
        ceiling_tokens=0,
        balances=balance_list(posting.balances),
        corrects=hold.id,
    )


def _spent(entry: Entry, unit: str) -> int:
    if unit == "usd":
        return entry.ending.amount_nanos
    return entry.ending.tokens if unit == "tokens" else entry.request_count


def _ceiling(entry: Entry, unit: str) -> int:
    if unit == "usd":
        return entry.ceiling_nanos
    return entry.ceiling_tokens if unit == "tokens" else entry.request_count
