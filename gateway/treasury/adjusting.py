"""Correcting what is booked: another entry, with a reason and an author (law 7).

A correction moves the balances and roll-ups of its own period in the transaction that writes it,
like every entry. It has no ceiling, so what it adds counts as beyond one (law 4).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import bindparam, select

from gateway.callers.changes import By, Change, ChangeLog
from gateway.ledger.entries import ADJUST, Draft, Ending, Entry, EntryWriter
from gateway.metering.usage import NOTHING, Usage
from gateway.prices.rates import Rates
from gateway.store.database import Cursor
from gateway.store.statements import ListStatement
from gateway.store.tables import EntryRow
from gateway.treasury.balances import BalanceTable
from gateway.treasury.decisions import State, give_back
from gateway.treasury.holds import balance_list, parse_balances
from gateway.treasury.periods import Calendar
from gateway.treasury.posting import Posting, Postings

_TABLE = EntryRow.__table__  # type: ignore[attr-defined]
_KNOWN = (
    *("id", "admitted_at", "balances", "outcome", "quality", "model_served", "service_tier"),
    *("request_id", "attempt", "key_id", "team", "app", "job", "target", "provider"),
    *("residency", "confined", "model", "stream", "tags"),
)


class UnknownEntry(Exception):
    """There is no entry of that id."""


class Correction(msgspec.Struct, frozen=True, kw_only=True):
    """What a person, or a program for them, wants corrected.

    `amount_nanos` is the difference to book, negative to give money back. `usage`, `tokens` and
    `rates` are differences too, where tokens were wrong and not only money; `quality` is that of
    the corrected entry when empty. `name` makes the new entry's id: naming a correction makes
    sure that it is not posted twice (DatabaseConflict).
    """

    corrects: str
    amount_nanos: int
    reason: str
    author: str
    usage: Usage = NOTHING
    tokens: int = 0
    rates: Rates | None = None
    quality: str = ""
    name: str = ""


class Adjustments:
    """Posts corrections for one organisation, inside somebody else's transaction."""

    def __init__(self, org: str, engine: str, calendar: Calendar) -> None:
        self._org = org
        self._balances = BalanceTable(org, engine)
        self._postings = Postings(org, engine, calendar, self._balances)
        self._writer = EntryWriter(org, engine)
        self._log = ChangeLog(org, engine)
        self._find = ListStatement(
            lambda items: select(*(_TABLE.c[name] for name in _KNOWN)).where(
                _TABLE.c.org == bindparam("org"), _TABLE.c.id.in_(items)
            ),
            engine,
        )

    def post(
        self, cursor: Cursor, corrections: Sequence[Correction], by: By, now: int
    ) -> list[Entry]:
        """Write an entry for each correction; the caller commits. `now` is in microseconds.

        The log of changes has one row for all of them; each says more itself.

        Raises UnknownEntry when what is corrected is not there, ValueError when a correction
        does not say why or who says so, and DatabaseConflict when one was posted before.
        """
        for correction in corrections:
            if not correction.reason.strip() or not correction.author.strip():
                raise ValueError("a correction says why, and who says so")
        self._postings.lock(cursor)
        known = self._read(cursor, [correction.corrects for correction in corrections])
        entries = []
        for correction in corrections:
            row = known.get(correction.corrects)
            if row is None:
                raise UnknownEntry(correction.corrects)
            numbers = parse_balances(row["balances"])
            posting = self._postings.find(cursor, row["admitted_at"], numbers, now)
            entries.append(_entry(correction, row, posting, now))
        self._move(cursor, entries)
        self._writer.write(cursor, entries)
        self._log.append(cursor, _logged(entries), by, now)
        return entries

    def _read(self, cursor: Cursor, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        found = {}
        for text, values in self._find.batches(sorted(set(ids)), org=self._org) if ids else ():
            for row in cursor.rows(text, values):
                found[str(row[0])] = dict(zip(_KNOWN, row, strict=True))
        return found

    def _move(self, cursor: Cursor, entries: Sequence[Entry]) -> None:
        moved = [(entry, parse_balances(entry.balances)) for entry in entries]
        states = self._balances.lock(cursor, {n for _, numbers in moved for n in numbers})
        for entry, numbers in moved:
            for number in numbers:
                give_back(states[number], 0, _spent(entry, states[number]), 0)
        self._balances.save(cursor, states.values())


def _logged(entries: Sequence[Entry]) -> list[Change]:
    """What the log of changes says of corrections that are posted together."""
    if not entries:
        return []
    first, teams = entries[0], {entry.draft.team for entry in entries}
    after = {
        "corrections": len(entries),
        "amount_nanos": sum(entry.ending.amount_nanos for entry in entries),
        "first": first.id,
        "reason": first.ending.reason,
    }
    team = teams.pop() if len(teams) == 1 else ""
    return [Change(what="entry.adjust", subject=first.corrects, team=team, after=after)]


def _entry(correction: Correction, row: dict[str, Any], posting: Posting, now: int) -> Entry:
    ending = Ending(
        kind=ADJUST,
        outcome=row["outcome"],
        quality=correction.quality or row["quality"],
        usage=correction.usage,
        amount_nanos=correction.amount_nanos,
        tokens=correction.tokens,
        rates=correction.rates,
        model_served=row["model_served"],
        service_tier=row["service_tier"],
        reason=posting.says(correction.reason),
        author=correction.author,
    )
    return Entry(
        id=f"{correction.corrects}.{correction.name or f'adjust-{secrets.token_hex(4)}'}",
        draft=_draft(row),
        ending=ending,
        admitted_at=posting.admitted_at,
        recorded_at=now,
        request_count=0,
        ceiling_nanos=0,
        ceiling_tokens=0,
        balances=balance_list(posting.balances),
        corrects=correction.corrects,
    )


def _draft(row: dict[str, Any]) -> Draft:
    """What was known of the request, but for its prices, which are the corrected entry's."""
    fields = {name: row[name] for name in Draft.__struct_fields__ if name in row}
    tags = msgspec.json.decode(row["tags"], type=dict[str, str]) if row["tags"] else {}
    flags = {name: bool(row[name]) for name in ("confined", "stream")}
    return Draft(**fields | flags | {"tags": tags, "rates": None})


def _spent(entry: Entry, state: State) -> int:
    if state.unit == "usd":
        return entry.ending.amount_nanos
    return entry.ending.tokens if state.unit == "tokens" else entry.request_count
