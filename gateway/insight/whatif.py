"""What past traffic would have cost, and met, by other rules.

The recorded tokens of every entry are priced as the other rules would (no prompt is stored, and
none is needed), and everything that would be different is told with its reason: amounts, budgets,
requests that would not be answered, parameters, and requests that would leave the house.

What nobody can know is not guessed: another model is taken to use the same tokens, amounts that
were presumed or corrected stay as they were booked, and nothing is refused for want of money.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.clock import SystemClock
from gateway.insight.altered import defaults_changed
from gateway.insight.budget_hits import Hit, Limits, slot_of, watched
from gateway.insight.recorded import Part, parts_of
from gateway.insight.replay import QUARTER, Series, Tally
from gateway.insight.replaying import Load, Texts, Work, Worker, read_rules, replay_all
from gateway.jobs.files import Files
from gateway.jobs.routes import Routes
from gateway.jobs.versions import Version, Versions
from gateway.ledger.entries import HOUR
from gateway.ledger.queries import Range
from gateway.ledger.reading import Books
from gateway.store.database import Cursor, Database
from gateway.treasury.periods import MINUTE, Calendar
from gateway.treasury.raises import RaiseBook

Progress = Callable[[int, int], None]
"""Is told how many entries were replayed so far, of about how many."""
PART = 100_000
"""Entries that are replayed at a time."""
HITS_TIMED = 20
"""Hits of budgets whose moment is looked for to the second."""
_SECOND = 1_000_000
_ERAS_AT_MOST = 16
"""Versions that are told apart; what is older counts as the oldest of them."""


@dataclass(frozen=True, slots=True)
class Question:
    """Which rules, and which traffic."""

    new: Files
    """The other rules; they have been read once, so that they name all their files."""
    period: Range
    processes: int = 1
    prices_at: int | None = None
    """The moment whose prices are used; None: of when each request was admitted."""
    default: Files | None = None
    """What counts as live when the books know no version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """The answer."""

    routes: Routes
    live: Version | None
    period: Range
    tally: Tally
    hits: tuple[Hit, ...]
    defaults: dict[str, list[str]]
    """By job: what requests that state nothing would be sent otherwise, than by what is live."""


@dataclass(frozen=True, slots=True)
class History:
    """Which rules were live when: an era begins at each of the `borders`."""

    eras: tuple[Texts | None, ...]
    borders: tuple[int, ...]
    live: Texts | None
    version: Version | None
    """What was live at the end."""


def ask(database: Database, org: str, load: Load, question: Question, progress: Progress) -> WhatIf:
    """Replay. Blocks. Raises DatabaseDown, and ConfigurationError for rules that are not."""
    period = question.period
    with database.reading() as cursor:
        books = Books(cursor, org, database.is_sqlite)
        history = history_of(cursor, org, database.engine_name, question)
        parts = parts_of(books, period.start, period.end, borders=history.borders, size=PART)
    work = Work(
        url=database.url.render_as_string(hide_password=False),
        org=org,
        load=load,
        new=Texts.of(question.new),
        eras=history.eras,
        live=history.live,
        prices_at=question.prices_at,
    )
    routes, _book = load(question.new)
    live = read_rules(load, history.live)
    budgets = watched(routes, live)
    work = dataclasses.replace(work, slot=slot_of(budgets, QUARTER, MINUTE))
    tally = _replay(work, parts, question.processes, progress)
    calendar = Calendar(routes.time_zone, routes.week_starts, routes.fiscal_year_starts)
    raises = RaiseBook(database, org, SystemClock())
    raises.refresh()
    limits = Limits(budgets, calendar, raises.known, period.start)
    with database.reading() as cursor:
        hits = limits.hits(tally.series, cursor, org, database.engine_name)
    return WhatIf(
        routes=routes,
        live=history.version,
        period=period,
        tally=tally,
        hits=(*_timed(work, history, hits[:HITS_TIMED]), *hits[HITS_TIMED:]),
        defaults={} if live is None else defaults_changed(live, routes),
    )


def last_days(days: int, now: int) -> Range:
    """The last so many days, from a whole hour on, up to now (microseconds since 1970)."""
    start = now - days * 24 * HOUR
    return Range(start - start % HOUR, now)


def history_of(cursor: Cursor, org: str, engine: str, question: Question) -> History:
    """The versions that were live in the period of a question.

    Before the first that the books know, that one counts; where they know none, the default.
    """
    versions = Versions(org, engine)
    period = question.period
    known = [v for v in reversed(versions.history(cursor)) if v.live_at < period.end]
    if not known:
        texts = None if question.default is None else Texts.of(question.default)
        return History((texts,), (), texts, None)
    first = max(0, sum(v.live_at <= period.start for v in known) - 1)
    told_apart = known[max(first, len(known) - _ERAS_AT_MOST) :]
    kept = {v.hash: versions.find(cursor, str(v.number)) for v in told_apart}
    eras = tuple(Texts(kept[v.hash].root, dict(kept[v.hash].texts)) for v in told_apart)
    borders = tuple(v.live_at for v in told_apart[1:])
    return History(eras, borders, eras[-1], told_apart[-1])


def _replay(work: Work, parts: Sequence[Part], processes: int, progress: Progress) -> Tally:
    expected, so_far = sum(part.entries for part in parts), 0
    progress(0, expected)

    def told(entries: int) -> None:
        nonlocal so_far
        so_far += entries
        progress(so_far, max(expected, so_far))

    return replay_all(work, parts, processes, told)


def _timed(work: Work, history: History, hits: Sequence[Hit]) -> list[Hit]:
    """The hits with the second in which each happened, in place of its slot of time."""
    if not hits:
        return []
    worker = Worker(dataclasses.replace(work, slot=_SECOND))
    found: dict[int, Series] = {}
    try:
        for slot in {hit.slot for hit in hits}:
            era = sum(border <= slot for border in history.borders)
            found[slot] = worker.take(Part(slot, slot + work.slot, 0, era)).series
        budgets = worker.terms.budgets
        return [_to_the_second(found[hit.slot], budgets.index(hit.budget), hit) for hit in hits]
    finally:
        worker.close()


def _to_the_second(series: Series, number: int, hit: Hit) -> Hit:
    charged = hit.before
    for second in sorted(
        s for which, subject, s in series if (which, subject) == (number, hit.subject)
    ):
        charged += series[number, hit.subject, second][0]
        if charged > hit.limit:
            return dataclasses.replace(hit, slot=second)
    return hit
