"""Going through the ledger with a replay, part by part, in as many processes as are given.

Parts of the ledger are independent of each other, so each process takes the next part that nobody
has, with a connection of its own, and sends back what it came to. What they all need is told once,
as texts: the rules are read from them in each process, exactly as they were read in the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from gateway.errors import ConfigurationError
from gateway.insight.budget_hits import watched
from gateway.insight.placing import Placing, Terms
from gateway.insight.recorded import Part, rows_of
from gateway.insight.replay import LARGE, QUARTER, Replay, Tally
from gateway.jobs.files import Files
from gateway.jobs.routes import Routes
from gateway.ledger.reading import Books
from gateway.prices.book import PriceBook
from gateway.store.database import Database
from gateway.store.processes import Crew

Load = Callable[[Files], tuple[Routes, PriceBook]]
"""Reads rules and the price book beside them. Raises ConfigurationError."""
Told = Callable[[int], None]
"""Is told how many more entries were replayed."""
ALONE = 150_000
"""Entries that are sooner replayed than another process is started."""


class Texts(msgspec.Struct, frozen=True):
    """A set of files, as it is told to other processes."""

    root: str
    texts: dict[str, str]

    @classmethod
    def of(cls, files: Files) -> Texts:
        """The files that were read."""
        return cls(files.root, dict(files.texts))

    def files(self) -> Files:
        """The files, to be read again."""
        return Files(self.root, texts=dict(self.texts))


@dataclass(frozen=True, slots=True)
class Work:
    """What a replay needs; may be sent to another process."""

    url: str
    org: str
    load: Load
    new: Texts
    eras: tuple[Texts | None, ...]
    """What was live in each era; None where nobody knows, or it cannot be read any more."""
    live: Texts | None
    """What is live now."""
    prices_at: int | None = None
    """See `Terms`."""
    slot: int = QUARTER


class Worker:
    """Replays parts in this process; `close` it at the end."""

    def __init__(self, work: Work) -> None:
        routes, book = work.load(work.new.files())
        live = read_rules(work.load, work.live)
        self.terms = Terms(routes, book, watched(routes, live), work.prices_at)
        eras = [read_rules(work.load, era) for era in work.eras]
        self._placings = [Placing(self.terms, era) for era in eras]
        self._asked = self.terms.asked(eras)
        self._work, self._database = work, Database(work.url)

    def take(self, part: Part) -> Tally:
        """What the entries of a part come to. Raises DatabaseDown."""
        replay = Replay(self._placings[part.era], self.terms.budgets, self._work.slot)
        with self._database.reading() as cursor:
            books = Books(cursor, self._work.org, self._database.is_sqlite)
            replay.take(rows_of(books, part, self._asked, LARGE))
        return replay.tally()

    def close(self) -> None:
        """Give the connections back."""
        self._database.close()


def replay_all(work: Work, parts: Sequence[Part], processes: int, told: Told) -> Tally:
    """What all parts come to, in up to so many processes. Raises DatabaseDown."""
    whole = Tally()
    few = sum(part.entries for part in parts) <= ALONE
    results = _here(work, parts) if few or processes < 2 else _in_others(work, parts, processes)
    for tally in results:
        whole.add(tally)
        told(tally.entries)
    return whole


def _here(work: Work, parts: Sequence[Part]) -> Iterator[Tally]:
    worker = Worker(work)
    try:
        for part in parts:
            yield worker.take(part)
    finally:
        worker.close()


def _in_others(work: Work, parts: Sequence[Part], processes: int) -> Iterator[Tally]:
    with Crew(partial(Worker, work), min(processes, len(parts))) as crew:
        for _, tally in crew.share(parts):
            yield tally


def read_rules(load: Load, texts: Texts | None) -> Routes | None:
    """The rules in these texts; None without any, or when they are none any more."""
    if texts is None:
        return None
    try:
        return load(texts.files())[0]
    except ConfigurationError:
        return None
