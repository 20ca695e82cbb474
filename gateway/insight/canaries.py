"""How a job's canary does beside its own targets: cost, time, failures and length of answers.

Everything comes from the ledger. A request is on the new side when an entry of it says so; the
old side are the job's other requests since the first of those, so both saw the same days. What
sticks by a tag is compared with requests that carry the tag too.

A request counts as failed when none of its own side's targets answered, because they failed, were
left alone after failing, or could not be asked: that the job's own targets then stepped in helps
the caller and does not excuse the canary. Time and length are those of requests that were
answered; cost is that of all. Time is from the first hold to the last entry, and of a stream it
has the caller's own pace of reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import bindparam, case, func, literal_column, or_, select
from sqlalchemy.sql.elements import ColumnElement

from gateway.clock import MICROS, to_text
from gateway.insight.comparing import CONFIDENCE, Difference, Group, compare
from gateway.jobs.canary import AFTER_IT, IN_IT
from gateway.ledger.entries import ADJUST
from gateway.metrics import OUTCOMES
from gateway.money import for_people
from gateway.store.database import Cursor, Database
from gateway.store.statements import prepare
from gateway.store.tables import EntryRow

OLD, NEW = "old", "new"
_SIDES = (OLD, NEW)
_ENTRIES = EntryRow.__table__  # type: ignore[attr-defined]
_BY = re.compile(r"^(?:after )?canary \([^ ()]+% by ([a-z][a-z0-9_-]*)\)")
_ONE: ColumnElement[int] = literal_column("1")
_NONE: ColumnElement[int] = literal_column("0")
_IN = _ENTRIES.c.changed.like(bindparam("in_it"))
_AFTER = _ENTRIES.c.changed.like(bindparam("after_it"))
_FAILED = or_(
    *(
        _ENTRIES.c.outcome == literal_column(f"'{outcome}'")
        for outcome, fault in OUTCOMES.items()
        if fault == "provider"
    )
)
_IS_ATTEMPT = (_ENTRIES.c.kind != bindparam("adjust")) & ~_ENTRIES.c.id.like(bindparam("beside"))
_NAMES = ("cost", "time", "failures", "length")


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the trial: its requests, the apps or values they came from, the targets asked
    and how often."""

    requests: int
    values: int
    targets: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure on both sides: nano-dollars, seconds, failures or tokens, for each request."""

    name: str
    difference: Difference


@dataclass(frozen=True, slots=True)
class Trial:
    """What the books know of a canary between two moments (microseconds since 1970, UTC)."""

    job: str
    by: str
    """What requests stick by: app, or the name of a tag."""
    since: int
    until: int
    sides: Mapping[str, Side]
    measures: tuple[Measure, ...]


def look_at(database: Database, org: str, job: str, since: int, until: int) -> Trial | None:
    """The trial of a job in a period, from its first request on; None if there was none.

    Raises DatabaseDown. Blocks.
    """
    values: dict[str, Any] = {
        "org": org,
        "job": job,
        "since": since,
        "until": until,
        "in_it": f"{IN_IT}%",
        "after_it": f"{AFTER_IT}%",
        "adjust": ADJUST,
        "beside": "%.beside-%",
    }
    with database.reading() as cursor:
        began = _first(cursor, database.engine_name, values)
        if began is None:
            return None
        values["since"], by = began
        groups = _groups(cursor, database.engine_name, values, by)
        targets = _targets(cursor, database.engine_name, values)
    sides = {
        side: Side(
            requests=sum(found.requests for found in groups[side]["cost"]),
            values=len(groups[side]["cost"]),
            targets=targets[side],
        )
        for side in _SIDES
    }
    noun = "app" if by == "app" else f"{by} value"
    measures = tuple(
        Measure(
            name,
            compare(groups[OLD][name], groups[NEW][name], noun, rare=name == "failures"),
        )
        for name in _NAMES
    )
    return Trial(job, by, values["since"], until, sides, measures)


def _where() -> tuple[ColumnElement[bool], ...]:
    return (
        _ENTRIES.c.org == bindparam("org"),
        _ENTRIES.c.job == bindparam("job"),
        _ENTRIES.c.admitted_at >= bindparam("since"),
        _ENTRIES.c.admitted_at < bindparam("until"),
    )


def _first(cursor: Cursor, engine: str, values: Mapping[str, Any]) -> tuple[int, str] | None:
    """When the trial began, and what its latest request stuck by."""
    marked = (*_where(), or_(_IN, _AFTER))
    time = _ENTRIES.c.admitted_at
    ends = prepare(select(func.min(time), func.max(time)).where(*marked), engine)
    ((began, latest),) = cursor.rows(ends, values)
    if began is None:
        return None
    note = select(func.max(_ENTRIES.c.changed)).where(*marked, time == bindparam("latest"))
    ((changed,),) = cursor.rows(prepare(note, engine), {**values, "latest": latest})
    said = _BY.match(changed)
    return int(began), said[1] if said else "app"


def _groups(
    cursor: Cursor, engine: str, values: Mapping[str, Any], by: str
) -> dict[str, dict[str, list[Group]]]:
    """For each side and measure the sums of each app, or value of the tag."""
    sums: dict[tuple[str, str], list[int]] = {}
    for is_new, app, tags, *figures in cursor.stream(prepare(_by_value(), engine), values):
        value = app if by == "app" else _tag(tags, by)
        if value is None:
            continue
        found = sums.setdefault((_SIDES[int(is_new)], value), [0] * len(figures))
        for place, figure in enumerate(figures):
            found[place] += int(figure or 0)
    groups: dict[str, dict[str, list[Group]]] = {
        side: {name: [] for name in _NAMES} for side in _SIDES
    }
    for (side, _value), (requests, cost, failed, answered, micros, tokens) in sums.items():
        groups[side]["cost"].append(Group(requests, cost))
        groups[side]["failures"].append(Group(requests, failed))
        if answered:
            groups[side]["time"].append(Group(answered, micros / MICROS))
            groups[side]["length"].append(Group(answered, tokens))
    return groups


def _by_value() -> Any:
    """Sums for each side, app and set of tags, over requests and not over their attempts."""
    own = _IS_ATTEMPT & ~_AFTER
    answered = own & (_ENTRIES.c.outcome == literal_column("'ok'"))

    def seen(what: ColumnElement[bool]) -> ColumnElement[int]:
        return func.max(case((what, _ONE), else_=_NONE))

    tokens = _ENTRIES.c.output + _ENTRIES.c.reasoning
    request = (
        select(
            seen(or_(_IN, _AFTER)).label("is_new"),
            func.max(_ENTRIES.c.app).label("app"),
            func.max(_ENTRIES.c.tags).label("tags"),
            func.sum(_ENTRIES.c.amount_nanos).label("cost"),
            (seen(or_(own & _FAILED, _AFTER)) * (_ONE - seen(own & ~_FAILED))).label("failed"),
            seen(answered).label("answered"),
            func.min(_ENTRIES.c.admitted_at).label("began"),
            func.max(case((answered, _ENTRIES.c.recorded_at), else_=_NONE)).label("ended"),
            func.sum(case((answered, tokens), else_=_NONE)).label("tokens"),
        )
        .where(*_where())
        .group_by(_ENTRIES.c.request_id)
        .having(seen(_IS_ATTEMPT) == _ONE)
        .subquery()
    )
    c = request.c
    return select(
        c.is_new,
        c.app,
        c.tags,
        func.count(),
        func.sum(c.cost),
        func.sum(c.failed),
        func.sum(c.answered),
        func.sum(c.answered * (c.ended - c.began)),
        func.sum(c.tokens),
    ).group_by(c.is_new, c.app, c.tags)


def _tag(tags: str, name: str) -> str | None:
    return msgspec.json.decode(tags, type=dict[str, str]).get(name) if tags else None


def _targets(cursor: Cursor, engine: str, values: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """How often each side asked which target."""
    is_new = case((or_(_IN, _AFTER), _ONE), else_=_NONE)
    statement = (
        select(is_new, _ENTRIES.c.target, func.count())
        .where(*_where(), _IS_ATTEMPT)
        .group_by(is_new, _ENTRIES.c.target)
        .order_by(is_new, func.count().desc(), _ENTRIES.c.target)
    )
    found: dict[str, dict[str, int]] = {side: {} for side in _SIDES}
    for new, target, count in cursor.rows(prepare(statement, engine), values):
        found[_SIDES[int(new)]][target] = int(count)
    return found


def figure(name: str, value: float) -> str:
    """A mean as people read it."""
    if name == "cost":
        return for_people(round(value * 1000))
    if name == "time":
        return f"{value:.2f} s" if value >= 1 else f"{value * 1000:,.1f} ms"
    return f"{value:.2%}" if name == "failures" else f"{value:,.1f} tokens"


def _apart(name: str, value: float) -> str:
    """A difference of means, without its sign."""
    return f"{value * 100:.2f} points" if name == "failures" else figure(name, value)


_EACH = {"cost": " per 1,000 requests", "time": " per answer", "failures": "", "length": ""}
_MORE, _LESS = {"time": "longer"}, {"time": "shorter"}


def in_words(measure: Measure) -> str:
    """What can be said of a difference, in a sentence."""
    name, found = measure.name, measure.difference
    if found.low is None or found.high is None:
        return f"{name}: too little to tell ({found.few})"
    each, low, high = _EACH[name], found.low, found.high
    if not found.is_told:
        return (
            f"{name}: no difference can be told; it is between {_signed(name, low)} and"
            f" {_signed(name, high)}{each}"
        )
    middle = (low + high) / 2
    ends = sorted((abs(low), abs(high)))
    span = f"between {_apart(name, ends[0])} and {_apart(name, ends[1])}"
    word = (_MORE if middle > 0 else _LESS).get(name, "more" if middle > 0 else "less")
    return f"{name}: {_apart(name, abs(middle))} {word}{each} ({span})"


def _signed(name: str, value: float) -> str:
    word = (_MORE if value > 0 else _LESS).get(name, "more" if value > 0 else "less")
    return f"{_apart(name, abs(value))} {word}"


def notes(trial: Trial) -> Iterator[str]:
    """What a reader has to know about the figures."""
    noun = "apps" if trial.by == "app" else f"values of the tag {trial.by}"
    yield (
        f"Intervals have {CONFIDENCE:.0%} confidence and count {noun}, not requests: those of one"
        " resemble each other. Of four figures that do not differ, one shows a difference about"
        " once in five reports."
    )
    if trial.by == "app" and any(m.difference.low is None for m in trial.measures):
        yield "With few apps a canary that is sticky by a tag, such as run, tells sooner."


def told(trial: Trial) -> dict[str, Any]:
    """A trial as JSON has it; each figure with its unit."""
    return {
        "job": trial.job,
        "sticky": trial.by,
        "since": to_text(trial.since),
        "until": to_text(trial.until),
        "sides": {
            name: {"requests": s.requests, "values": s.values, "targets": dict(s.targets)}
            for name, s in trial.sides.items()
        },
        "measures": [_measure(measure) for measure in trial.measures],
        "confidence": CONFIDENCE,
        "notes": list(notes(trial)),
    }


def _measure(measure: Measure) -> dict[str, Any]:
    found = measure.difference
    return {
        "name": measure.name,
        "unit": _UNITS[measure.name],
        "old": found.old,
        "new": found.new,
        "difference_low": found.low,
        "difference_high": found.high,
        "differs": found.is_told if found.low is not None else None,
        "in_words": in_words(measure),
    }


_UNITS = {
    "cost": "nano-dollars per request",
    "time": "seconds per answer",
    "failures": "share of requests",
    "length": "output tokens per answer",
}
