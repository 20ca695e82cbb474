"""Posting attempts that are over already, many in one transaction: how a history is written.

An attempt that ended before anybody asked the treasury still has to pass it: in the order of
admission each is decided on the locked balances, takes its ceiling, gives it back for what it
came to, and becomes an entry. Hold and ending fall into one transaction, so no row of a hold is
ever seen, and balances, roll-ups and entries come out as if the gateway had been there.

Promises: what a hard budget had no room for is not posted, and said; nothing is posted into a
closed month. It does not know who made the attempts up, or why.

Limits by the minute and the hour are left out: they say how fast money may be spent now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

import msgspec
from msgspec.structs import replace

from gateway.jobs.routes import Budget
from gateway.ledger.entries import RELEASE, Draft, Ending, Entry, EntryWriter, with_asides
from gateway.store.database import Cursor
from gateway.treasury.balances import BalanceTable
from gateway.treasury.budgets import Amounts, Payer, in_scope, lines
from gateway.treasury.decisions import Line, Shortage, State, decide, give_back, stood
from gateway.treasury.holds import balance_list
from gateway.treasury.periods import SHORT_PERIODS, Calendar
from gateway.treasury.posting import Postings
from gateway.treasury.rollover import Rollover


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt that is over; amounts in nano-dollars, tokens and requests, times in micros."""

    id: str
    """The id of the hold it would have had, which becomes the entry's."""
    draft: Draft
    ending: Ending
    admitted_at: int
    recorded_at: int
    ceiling: Amounts


@dataclass(slots=True)
class Posted:
    """What became of a batch: entries written, and what no hard budget had room for."""

    entries: list[Entry] = field(default_factory=list)
    refused: list[tuple[Finished, Shortage]] = field(default_factory=list)


class FinishedAttempts:
    """Posts finished attempts for one organisation, inside somebody else's transaction."""

    def __init__(
        self,
        org: str,
        engine: str,
        calendar: Calendar,
        budgets: Sequence[Budget],
        source: str = "routes.yaml",
    ) -> None:
        """`budgets` are those in force at the time; `source` says where their limits come from."""
        self._budgets = tuple(b for b in budgets if b.period not in SHORT_PERIODS)
        self._calendar, self._source = calendar, source
        self._balances = BalanceTable(org, engine)
        self._postings = Postings(org, engine, calendar, self._balances)
        self._rollover = Rollover(org, engine, calendar)
        self._writer = EntryWriter(org, engine)

    def forget(self) -> None:
        """Drop what was remembered of a transaction that was rolled back."""
        self._balances.forget()

    def post(self, cursor: Cursor, finished: Sequence[Finished]) -> Posted:
        """Decide and write a batch, which is in order of admission; the caller commits.

        A further attempt of a request whose first one was refused is left out. Raises ValueError
        when one was admitted in a month that is closed, DatabaseConflict when one was posted
        before.
        """
        posted = Posted()
        if not finished:
            return posted
        closed_until = self._postings.lock(cursor)
        if finished[0].admitted_at < closed_until:
            raise ValueError(f"{finished[0].id} was admitted in a month that is closed")
        wants = [self._wants(cursor, attempt) for attempt in finished]
        states = self._balances.lock(cursor, {n for want in wants for n, _ in want})
        refused: set[str] = set()
        for attempt, want in zip(finished, wants, strict=True):
            if attempt.draft.request_id in refused:
                continue
            self._carry_over(cursor, want, states)
            wanted = [(line, states[number]) for number, line in want]
            shortage = decide(wanted, set(), waits=False)
            if shortage is not None:
                refused.add(attempt.draft.request_id)
                posted.refused.append((attempt, shortage))
                continue
            entries = with_asides(_entry(attempt, want, states))
            _give_back(wanted, entries)
            posted.entries += entries
        self._balances.save(cursor, states.values())
        latest = finished[-1].admitted_at
        self._balances.note_changes(cursor, states.values(), latest, self._source)
        self._writer.write(cursor, posted.entries)
        return posted

    def _wants(self, cursor: Cursor, attempt: Finished) -> list[tuple[int, Line]]:
        draft = attempt.draft
        payer = Payer(draft.team, draft.app, draft.key_id, draft.job, draft.tags)
        scoped = in_scope(self._budgets, payer)
        wanted = lines(scoped, attempt.ceiling, self._calendar, attempt.admitted_at)
        return [(self._balances.number(cursor, line), line) for line in wanted]

    def _carry_over(
        self,
        cursor: Cursor,
        want: Sequence[tuple[int, Line]],
        states: Mapping[int, State],
    ) -> None:
        """Work out what is carried into balances that nobody has asked for anything yet."""
        for number, line in want:
            if states[number].carried is None:
                # What the period before left is read from the table, so it has to be there.
                self._balances.save(cursor, states.values())
                states[number].carry(self._rollover.into(cursor, line))


def _give_back(wanted: Sequence[tuple[Line, State]], entries: Sequence[Entry]) -> None:
    """End the hold that the lines have just taken, by what its entries came to."""
    for line, state in wanted:
        give_back(state, line.amount, 0, 0)
        for entry in entries:
            spent = Amounts(entry.ending.amount_nanos, entry.ending.tokens, entry.request_count)
            most = Amounts(entry.ceiling_nanos, entry.ceiling_tokens, entry.request_count)
            give_back(state, 0, spent.of(state.unit), most.of(state.unit))


def _entry(
    attempt: Finished, want: Sequence[tuple[int, Line]], states: Mapping[int, State]
) -> Entry:
    """The entry of an attempt that has just taken what it wanted, and how it found its balances."""
    draft, taken = attempt.draft, sorted(want, key=itemgetter(0))
    found = stood((line, states[number]) for number, line in taken)
    decision = replace(draft.decision, budgets=found)
    return Entry(
        id=attempt.id,
        draft=replace(draft, decision=decision),
        ending=attempt.ending,
        admitted_at=attempt.admitted_at,
        recorded_at=attempt.recorded_at,
        request_count=0 if attempt.ending.kind == RELEASE else attempt.ceiling.requests,
        ceiling_nanos=attempt.ceiling.nanos,
        ceiling_tokens=attempt.ceiling.tokens,
        balances=balance_list([number for number, _ in taken]),
    )
