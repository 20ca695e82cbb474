"""What a replay came to, in the lines that people read: by team, job and model, with reasons.

Refused requests cost nothing, which is no saving: they are told apart, and how much more or less
the rules would cost is a question about the requests that would still be answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from gateway.insight.placing import KEPT, LIMIT, PRICE, REFUSALS, WINDOW
from gateway.insight.replay import Group, Sums, Tally

MOVED_TO, MOVED_FROM = "moved to", "moved from"


@dataclass(slots=True)
class Reason:
    """Why an amount is another, for how many entries, and by how many nano-dollars."""

    entries: int = 0
    nanos: int = 0


@dataclass(slots=True)
class Line:
    """One team, job or model; amounts in nano-dollars."""

    name: str
    requests: int = 0
    booked: int = 0
    replayed: int = 0
    reasons: dict[str, Reason] = field(default_factory=dict)

    @property
    def difference(self) -> int:
        """By how much more it would cost."""
        return self.replayed - self.booked

    def add(self, why: str, entries: int, nanos: int) -> None:
        """One more reason."""
        if nanos:
            reason = self.reasons.setdefault(why, Reason())
            reason.entries += entries
            reason.nanos += nanos


@dataclass(frozen=True, slots=True)
class Total:
    """Everything, and the part of it that would still be answered."""

    entries: int
    requests: int
    booked: int
    replayed: int
    refused: int
    """Requests, and what they were booked at."""
    refused_booked: int

    @property
    def change(self) -> Fraction | None:
        """By what part of itself the cost of what is answered changes; None from nothing."""
        booked = self.booked - self.refused_booked
        if booked == 0:
            return Fraction(0) if self.replayed == 0 else None
        return Fraction(self.replayed - booked, booked)


def total(tally: Tally) -> Total:
    """The whole replay."""
    sums = Sums()
    refused = refused_booked = 0
    for group, own in tally.groups.items():
        sums.add(own)
        gone = group.why in REFUSALS
        refused += own.requests if gone else own.unfit
        refused_booked += own.booked if gone else own.unfit_nanos
    return Total(sums.entries, sums.requests, sums.booked, sums.replayed, refused, refused_booked)


def by_team(tally: Tally) -> list[Line]:
    """A line for each team, the largest difference first."""
    return _lines(tally, lambda group: group.team)


def by_job(tally: Tally) -> list[Line]:
    """The same for each job, as it was asked."""
    return _lines(tally, lambda group: group.job)


def by_model(tally: Tally) -> list[Line]:
    """The same for each target: booked where a request was sent, replayed where it would be."""
    lines: dict[str, Line] = {}
    for group, sums in tally.groups.items():
        old = lines.setdefault(group.target, Line(group.target))
        old.requests += sums.requests
        old.booked += sums.booked
        if group.new_target == group.target:
            old.replayed += sums.replayed
            for why, entries, nanos in reasons(group, sums):
                old.add(why, entries, nanos)
            continue
        gone = sums.unfit_nanos if group.new_target else sums.booked
        if gone:
            why, entries = (WINDOW, sums.unfit) if group.new_target else (group.why, sums.entries)
            old.add(why, entries, -gone)
        if group.new_target:
            new = lines.setdefault(group.new_target, Line(group.new_target))
            moved = sums.entries - sums.unfit
            old.add(f"{MOVED_TO} {group.new_target}", moved, gone - sums.booked)
            new.replayed += sums.replayed
            new.add(f"{MOVED_FROM} {group.target}", moved, sums.replayed)
    return _sorted(lines)


def reasons(group: Group, sums: Sums) -> Iterator[tuple[str, int, int]]:
    """Why a group comes to something else: reason, entries, nano-dollars."""
    if group.why in KEPT:
        return
    if group.why in REFUSALS:
        yield group.why, sums.entries, -sums.booked
        return
    rest = sums.replayed - sums.booked + sums.cut_nanos + sums.unfit_nanos
    yield group.why, sums.entries - sums.unfit, rest
    yield LIMIT, sums.cut, -sums.cut_nanos
    yield WINDOW, sums.unfit, -sums.unfit_nanos


def refusals(tally: Tally) -> dict[tuple[str, str], Sums]:
    """By job and reason: entries that would get no answer, and what they were booked at."""
    found: dict[tuple[str, str], Sums] = {}
    for group, sums in tally.groups.items():
        if group.why in REFUSALS:
            found.setdefault((group.job, group.why), Sums()).add(sums)
        elif sums.unfit:
            lost = Sums(entries=sums.unfit, requests=sums.unfit, booked=sums.unfit_nanos)
            found.setdefault((group.job, f"{WINDOW} of {group.new_target}"), Sums()).add(lost)
    return found


def summed(tally: Tally, key: Callable[[Group], str | None]) -> Mapping[str, Sums]:
    """Sums by whatever a group says; None leaves it out."""
    found: dict[str, Sums] = {}
    for group, sums in tally.groups.items():
        name = key(group)
        if name is not None:
            found.setdefault(name, Sums()).add(sums)
    return found


def _lines(tally: Tally, key: Callable[[Group], str]) -> list[Line]:
    lines: dict[str, Line] = {}
    for group, sums in tally.groups.items():
        line = lines.setdefault(key(group), Line(key(group)))
        line.requests += sums.requests
        line.booked += sums.booked
        line.replayed += sums.replayed
        for why, entries, nanos in reasons(group, sums):
            line.add(_why(group, why), entries, nanos)
    return _sorted(lines)


def _why(group: Group, why: str) -> str:
    """A reason with what it names."""
    if why in (PRICE, LIMIT, WINDOW) or not group.new_target:
        return f"{why}: {group.new_target}" if why in (PRICE, WINDOW) else why
    return f"{why}: {group.target} -> {group.new_target}"


def _sorted(lines: Mapping[str, Line]) -> list[Line]:
    return sorted(lines.values(), key=lambda one: (-abs(one.difference), -one.booked, one.name))
