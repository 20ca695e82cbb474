"""What one line of the ledger says, and how lines and their roll-ups are written.

An entry is made once and never changed. Its id is the id of the hold it ends, so a hold can end
only once: a second ending would need the same key again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import add, itemgetter
from typing import Any

import msgspec
from sqlalchemy import bindparam, insert

from gateway.metering.usage import NOTHING, Usage
from gateway.prices.rates import Rates
from gateway.store.database import Cursor
from gateway.store.statements import INSERTS, RowStatement
from gateway.store.tables import (
    ROLLUP_DIMENSIONS,
    ROLLUP_SUMS,
    EntryRow,
    Rollup,
)

HOUR = 3_600_000_000
"""Microseconds in an hour."""
_TOLD_AT_MOST = 1000
"""Characters of a text that a caller or a provider made up."""

MODEL, HEADER, DEFAULT = "model", "header", "default"
"""What picks a job: the field `model`, X-Jobgate-Job, or the key's default job."""
NO_SUCH_FORM = "no_such_form"
"""Why a target is passed over that does not understand the form of a request; others are errors."""

REPORTED, COUNTED, PRESUMED = "reported", "counted", "presumed"
"""Qualities: told by the provider; counted by us; the ceiling, because nobody came back."""

CHARGE, RELEASE, LAPSE, ADJUST = "charge", "release", "lapse", "adjust"
"""Kinds: an attempt ended; a hold ended unused; a hold was abandoned; a correction."""

CHARGE_STATED = "the provider stated the charge"
"""The reason of an entry whose amount is the provider's word and not the product of prices."""

UNBILLED = "the provider refused before any output, which it does not bill"
"""The reason of an entry that has usage and no price."""


class Decision(msgspec.Struct, frozen=True, omit_defaults=True):
    """How an attempt came about, as far as the rest of its entry does not say it.

    It has no word of the caller's: names are those of routes.yaml, reasons are codes of errors.
    """

    by: str = MODEL
    """What picked the job: `model`, `header`, or the key's `default`."""
    alias: str = ""
    """The alias of the job that was named there, if it was one."""
    passed: tuple[tuple[str, str, str], ...] = ()
    """Targets passed over before this attempt, in order: target, the error's code, and the budget
    that was short, or an empty text."""
    budgets: str = ""
    """How the entry's balances stood at its admission, in their order and before it took
    anything: spent/held/limit of each, such as "120/0/500 3/1/60"."""


ORDINARY = Decision()
"""The model names the job, the first target is asked."""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an entry when its hold is opened; all text, kept beside the hold."""

    request_id: str
    attempt: int
    key_id: str
    team: str
    app: str
    job: str
    target: str
    provider: str
    residency: str
    confined: bool
    model: str
    stream: bool
    tags: dict[str, str]
    rates: Rates | None
    changed: tuple[str, ...] = ()
    decision: Decision = ORDINARY


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended and what it cost."""

    kind: str = CHARGE
    outcome: str
    quality: str
    usage: Usage = NOTHING
    amount_nanos: int = 0
    tokens: int = 0
    """What token budgets are charged with: the usage's total, or a presumed ceiling."""
    rates: Rates | None = None
    """The unit prices that the amount was computed with, if they are not the draft's."""
    model_served: str = ""
    upstream_id: str = ""
    service_tier: str = ""
    reason: str = ""
    author: str = ""
    beside: tuple[Aside, ...] = ()
    """What the same attempt cost at other models' prices."""

    @property
    def total_nanos(self) -> int:
        """All that the attempt cost, in nano-dollars."""
        return self.amount_nanos + sum(aside.ending.amount_nanos for aside in self.beside)


class Aside(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt used of another model, or of a tool with a fee: an entry of its own."""

    target: str
    model: str
    ending: Ending


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the ledger."""

    id: str
    draft: Draft
    ending: Ending
    admitted_at: int
    recorded_at: int
    request_count: int
    ceiling_nanos: int
    ceiling_tokens: int
    balances: str
    corrects: str = ""

    def row(self, org: str) -> dict[str, Any]:
        """The columns of table `entries`, by their names."""
        return dict(zip(COLUMNS, self.values(org), strict=True))

    def values(self, org: str) -> tuple[Any, ...]:
        """The columns of table `entries`, in the order of COLUMNS."""
        draft, ending, usage = self.draft, self.ending, self.ending.usage
        return (
            org,
            self.id,
            ending.kind,
            draft.request_id,
            draft.attempt,
            self.admitted_at,
            self.recorded_at,
            draft.key_id,
            draft.team,
            draft.app,
            draft.job,
            draft.target,
            draft.provider,
            draft.residency,
            draft.confined,
            draft.model,
            _told(ending.model_served),
            _told(ending.upstream_id),
            _told(ending.service_tier),
            draft.tags.get("stage", ""),
            _json(draft.tags),
            draft.stream,
            ending.outcome,
            ending.quality,
            usage.input,
            usage.cache_read,
            usage.cache_read_audio,
            usage.cache_write,
            usage.cache_write_1h,
            usage.output,
            usage.reasoning,
            usage.audio_input,
            usage.audio_output,
            usage.image_input,
            usage.image_output,
            usage.requests,
            ending.tokens,
            self.request_count,
            ending.amount_nanos,
            self.ceiling_nanos,
            self.ceiling_tokens,
            _json(ending.rates or draft.rates),
            self.balances,
            _told("; ".join(draft.changed)),
            _decided(draft.decision) if not self.corrects else "",
            self.corrects,
            _told(ending.reason),
            ending.author,
        )


def with_asides(entry: Entry) -> list[Entry]:
    """The entry, and one for each thing beside it, which are written in the same transaction.

    They share the ceiling of their hold: what the whole attempt cost beyond it is counted once.
    Beside a correction they are corrections too, for the same reason.
    """
    kind, author = entry.ending.kind, entry.ending.author
    nanos, tokens = entry.ceiling_nanos, entry.ceiling_tokens
    room_nanos = max(0, nanos - entry.ending.amount_nanos)
    room_tokens = max(0, tokens - entry.ending.tokens)
    beside = []
    for number, aside in enumerate(entry.ending.beside, 1):
        share_nanos = min(room_nanos, aside.ending.amount_nanos)
        share_tokens = min(room_tokens, aside.ending.tokens)
        room_nanos, room_tokens = room_nanos - share_nanos, room_tokens - share_tokens
        nanos, tokens = nanos - share_nanos, tokens - share_tokens
        made = msgspec.structs.replace(
            entry,
            id=f"{entry.id}.beside-{number}",
            draft=msgspec.structs.replace(entry.draft, target=aside.target, model=aside.model),
            ending=msgspec.structs.replace(
                aside.ending,
                kind=kind,
                author=author,
                reason=entry.ending.reason if kind == ADJUST else aside.ending.reason,
            ),
            request_count=0,
            ceiling_nanos=share_nanos,
            ceiling_tokens=share_tokens,
        )
        beside.append(made)
    if not beside:
        return [entry]
    return [msgspec.structs.replace(entry, ceiling_nanos=nanos, ceiling_tokens=tokens), *beside]


class EntryWriter:
    """Writes entries and moves their roll-ups, inside somebody else's transaction."""

    def __init__(self, org: str, engine: str) -> None:
        self._org = org
        self._insert = RowStatement(insert(EntryRow.__table__), engine)  # type: ignore[attr-defined]
        self._upsert = RowStatement(_upsert(engine), engine)

    def write(self, cursor: Cursor, entries: Iterable[Entry]) -> None:
        """Insert the entries and add them to the roll-ups of their hours."""
        rows = [entry.values(self._org) for entry in entries]
        if rows:
            cursor.run_in_order(self._insert, rows)
            cursor.run_in_order(self._upsert, rollup_rows(rows))


def rollup_rows(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows of table `rollups` that together say what rows of `entries` say; in a fixed order."""
    sums: dict[tuple[Any, ...], Iterable[int]] = {}
    for row in rows:
        org, admitted_at, *dimensions = _place(row)
        key = (org, admitted_at // HOUR, *dimensions)
        amounts = (1, *_amounts(row))
        sums[key] = tuple(map(add, sums[key], amounts)) if key in sums else amounts
    return [(*key, *sums[key]) for key in sorted(sums)]


def _reader(*names: str) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    return itemgetter(*map(COLUMNS.index, names))


COLUMNS: tuple[str, ...] = tuple(EntryRow.__table__.columns.keys())  # type: ignore[attr-defined]
"""The columns of table `entries`, in its order."""
_place = _reader("org", "admitted_at", *ROLLUP_DIMENSIONS)
_amounts = _reader(*ROLLUP_SUMS[1:])
"""All that is summed but the number of entries, which comes first."""


def _upsert(engine: str) -> Any:
    table = Rollup.__table__  # type: ignore[attr-defined]
    statement = INSERTS[engine](table).values(
        {column.name: bindparam(column.name) for column in table.columns}
    )
    return statement.on_conflict_do_update(
        index_elements=["org", "hour", *ROLLUP_DIMENSIONS],
        set_={name: table.c[name] + statement.excluded[name] for name in ROLLUP_SUMS},
    )


_encoder = msgspec.json.Encoder()


def _told(text: str) -> str:
    """What somebody outside has said, as far as any database can keep it."""
    if text.isprintable():
        return text[:_TOLD_AT_MOST]
    return "".join(c if c.isprintable() else " " for c in text[:_TOLD_AT_MOST])


def _decided(decision: Decision) -> str:
    return "" if decision == ORDINARY else _encoder.encode(decision).decode()


def _json(value: object) -> str:
    return _encoder.encode(value).decode() if value else ""
