"""What a version of the rules promised before it went live, against what it delivered.

Nothing is kept for this: the promise is worked out again from the entries before the version went
live, as `whatif` would have done then. Delivered is what was booked since, against what the same
entries would have cost by the version before it; so more or less traffic, or another mix of it,
is not taken for a success or a failure of the rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from gateway.errors import ConfigurationError
from gateway.insight.differences import summed
from gateway.insight.placing import REFUSALS
from gateway.insight.replay import Group, Sums, Tally
from gateway.insight.replaying import Load
from gateway.insight.whatif import Progress, Question, ask
from gateway.jobs.versions import Kept, Version, Versions
from gateway.ledger.entries import HOUR
from gateway.ledger.queries import Range
from gateway.store.database import Database


@dataclass(frozen=True, slots=True)
class Side:
    """Entries at two costs, in nano-dollars: by the rules before, and by the version."""

    requests: int
    before: int
    after: int
    read: int
    written: int

    @property
    def change(self) -> Fraction | None:
        """By what part of itself the cost changes; None from nothing."""
        return Fraction(self.after - self.before, self.before) if self.before else None

    def tokens(self, count: int) -> int:
        """Of so many tokens, how many there are in each request."""
        return round(count / self.requests) if self.requests else 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """One job: what was promised, and what came."""

    job: str
    promised: Side
    delivered: Side


@dataclass(frozen=True, slots=True)
class Promise:
    """A version and what became of it; the first line of `jobs` is all jobs together."""

    version: Version
    before: Version
    promised_from: Range
    delivered_in: Range
    jobs: tuple[Outcome, ...]


ALL = ""
"""The name of all jobs together."""


@dataclass(frozen=True, slots=True)
class FollowQuestion:
    """How far back the promise looks, until when what was delivered counts, and how to work."""

    days: int
    now: int
    processes: int
    progress: Progress


def follow(
    database: Database, org: str, load: Load, name: str, question: FollowQuestion
) -> Promise:
    """The promise of a version and what became of it until the next one went live, or now.

    Blocks. Raises ConfigurationError when there is no such version, none before it, or its files
    are no rules any more; DatabaseDown.
    """
    with database.reading() as cursor:
        versions = Versions(org, database.engine_name)
        kept = versions.find(cursor, name)
        number = kept.version.number
        if number == 1:
            raise ConfigurationError(["nothing was live before version 1: there is no promise"])
        earlier = versions.find(cursor, str(number - 1))
        newer = [v.live_at for v in versions.history(cursor) if v.number > number]
    live_at = kept.version.live_at
    start = live_at - question.days * 24 * HOUR
    ago = Range(start - start % HOUR, live_at)
    since = Range(live_at, min([*newer, question.now]))
    promised = _replayed(database, org, load, kept, ago, question)
    delivered = _replayed(database, org, load, earlier, since, question)
    return Promise(kept.version, earlier.version, ago, since, _jobs(promised, delivered))


def _replayed(
    database: Database,
    org: str,
    load: Load,
    kept: Kept,
    period: Range,
    question: FollowQuestion,
) -> Tally:
    files = kept.files()
    asked = Question(files, period, question.processes)
    return ask(database, org, load, asked, question.progress).tally


def _jobs(promised: Tally, delivered: Tally) -> tuple[Outcome, ...]:
    before, since = (summed(tally, _answered_job) for tally in (promised, delivered))
    names = sorted(before.keys() | since.keys(), key=lambda n: -before.get(n, Sums()).booked)
    lines = [Outcome(n, _promised(before.get(n)), _delivered(since.get(n))) for n in names]
    everything = Outcome(ALL, _promised(_whole(before)), _delivered(_whole(since)))
    return (everything, *lines)


def _answered_job(group: Group) -> str | None:
    """The job of what is answered by both rules: nothing else can be compared."""
    return None if group.why in REFUSALS else group.job


def _whole(by_job: Mapping[str, Sums]) -> Sums:
    found = Sums()
    for sums in by_job.values():
        found.add(sums)
    return found


def _promised(sums: Sums | None) -> Side:
    found = sums or Sums()
    booked = found.booked - found.unfit_nanos
    return Side(found.requests, booked, found.replayed, found.read, found.written)


def _delivered(sums: Sums | None) -> Side:
    """What was booked is by the version; what is replayed is by the rules before it."""
    found = sums or Sums()
    booked = found.booked - found.unfit_nanos
    return Side(found.requests, found.replayed, booked, found.read, found.written)
