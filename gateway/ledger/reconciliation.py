"""The ledger held against a provider's bill: what differs, and of which kind each difference is.

Both sides are brought to the same grain (a day or a month, a provider, a model) and compared: first
the tokens, then the money.

    same       nothing differs
    rounding   money differs by no more than both sides round
    midnight   a day's tokens are the next day's on the other side: a request across midnight
    credit     the provider gave money back
    beside     the provider charges something beside traffic, such as taxes or fees per call
    around     the provider has more tokens: traffic that did not come through the gateway
    missing    the ledger has more tokens: the provider did not bill what was booked
    tokens     more of one class and less of another: one side has read the classes wrongly
    presumed   something differs where the ledger has amounts that were presumed after a failure
    price      the tokens are equal and the money is not
    money      money differs, and the export does not say enough about tokens to know why

The first five explain themselves, the others need somebody. Nothing is written here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from fractions import Fraction

from gateway.ledger.export_models import plain_model
from gateway.ledger.provider_exports import CREDIT, FIGURES, USAGE, BilledLine, Export
from gateway.money import for_people, round_half_even

SAME, ROUNDING, MIDNIGHT, CREDITS, BESIDE = "same", "rounding", "midnight", "credit", "beside"
AROUND, MISSING, TOKENS, PRESUMPTION = "around", "missing", "tokens", "presumed"
PRICE, MONEY = "price", "money"
EXPLAINED = frozenset((SAME, ROUNDING, MIDNIGHT, CREDITS, BESIDE))
"""Kinds that need nobody's attention."""

EVERY_MODEL = ""
"""The model of a line that is about a whole day, as costs are when they are not grouped."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """What is compared with each other: a day (or a month), a provider of ours, a model."""

    period: str
    provider: str
    model: str


@dataclass(frozen=True, slots=True)
class Side:
    """What one side says of a place; tokens by figure, money in nano-dollars (None: unsaid).

    `count` is how many lines of the bill, or entries of the ledger, say so, and `priced` how many
    of the lines state money; `presumed` is how much of the money was presumed and not corrected.
    """

    tokens: Mapping[str, int] = field(default_factory=dict)
    nanos: Fraction | None = None
    count: int = 0
    presumed: int = 0
    priced: int = 0

    def __add__(self, other: Side) -> Side:
        tokens = dict(self.tokens)
        for name, number in other.tokens.items():
            tokens[name] = tokens.get(name, 0) + number
        nanos = self.nanos
        if other.nanos is not None:
            nanos = other.nanos + (nanos or 0)
        return Side(
            tokens,
            nanos,
            self.count + other.count,
            self.presumed + other.presumed,
            self.priced + other.priced,
        )


NOBODY = Side()


@dataclass(frozen=True, slots=True)
class Difference:
    """One place, both sides of it, and what the difference is."""

    place: Place
    kind: str
    billed: Side
    booked: Side
    note: str = ""

    @property
    def nanos(self) -> int:
        """How much more the provider has billed than is booked, to the nearest nano-dollar.

        Nothing where the bill tells no money.
        """
        if self.billed.nanos is None:
            return 0
        exact = self.billed.nanos - (self.booked.nanos or 0)
        return round_half_even(exact.numerator, exact.denominator)

    @property
    def explained(self) -> bool:
        """Whether it needs nobody's attention."""
        return self.kind in EXPLAINED


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How both sides are brought together.

    `providers` are the names in routes.yaml that the bill is about. `keys`, when there are any,
    map names or ids of API keys and projects in the bill to one of those providers: a line whose
    key is not among them did not come through the gateway. `models` are further names of models,
    as either side writes them.
    """

    providers: tuple[str, ...]
    keys: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    by_month: bool = False

    def period(self, day: date) -> str:
        """The day or month as it is told."""
        return f"{day:%Y-%m}" if self.by_month else day.isoformat()

    def provider(self, name: str) -> str:
        """How a provider of ours is told: all are one where keys do not tell them apart."""
        return name if self.keys else "+".join(sorted(self.providers))

    def billed_to(self, line: BilledLine) -> str | None:
        """The provider of ours that a line is about; None when its key is not the gateway's."""
        if not self.keys:
            return self.provider("")
        return next((self.keys[key] for key in line.keys if key in self.keys), None)

    def model(self, name: str) -> str:
        """A model's name, reduced to what both sides have in common."""
        return plain_model(name, self.models)


def reconcile(
    export: Export, booked: Mapping[Place, Side], plan: Plan, days: Sequence[date]
) -> list[Difference]:
    """Every place that either side has, in order; the places that differ not are there too.

    `days` are those that the ledger was read for; lines of the bill about others are left out.
    """
    covered = set(days)
    lines = [line for line in export.lines if line.day in covered]
    by_model = any(line.model and line.nanos is not None for line in lines if line.kind == USAGE)
    billed: dict[Place, Side] = defaultdict(Side)
    found: list[Difference] = []
    for line in lines:
        provider = plan.billed_to(line)
        place = Place(plan.period(line.day), provider or "", plan.model(line.model))
        side = Side(line.tokens, line.nanos, 1, priced=int(line.nanos is not None))
        if line.kind != USAGE or (by_model and not line.model and not line.tokens):
            kind = CREDITS if line.kind == CREDIT else BESIDE
            found.append(Difference(place, kind, side, NOBODY, line.text))
        elif provider is None:
            key = ", ".join(line.keys) or "no key"
            note = f"{key}: not a key of the gateway"
            found.append(Difference(place, AROUND, side, NOBODY, note))
        else:
            billed[place] += side
    compared = _compare(export, billed, booked)
    if not plan.by_month:
        compared = _across_midnight(compared, export)
    return sorted(_merged([*found, *compared]), key=lambda difference: difference.place)


def days_between(first: date, last: date) -> list[date]:
    """Every day from the first to the last, both included."""
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def _compare(
    export: Export, billed: Mapping[Place, Side], booked: Mapping[Place, Side]
) -> list[Difference]:
    """One difference for each place; money told for whole days is held against whole days."""
    whole = {place for place in billed if place.model == EVERY_MODEL}
    only_whole = whole == set(billed)
    charged = {_day_of(p) for p in set(billed) - whole if billed[p].nanos is not None}
    compared = []
    if not only_whole:
        for place in sorted((set(billed) | set(booked)) - whole):
            theirs, ours = billed.get(place, NOBODY), booked.get(place, NOBODY)
            found = _classified(export, place, theirs, ours)
            if found.kind == SAME and _day_of(place) in charged:
                found = _with_an_amount(export, found)
            compared.append(found)
    for place in sorted(whole):
        ours = NOBODY
        for other, side in booked.items():
            if (other.period, other.provider) == (place.period, place.provider):
                ours += side
        alike = [d for d in compared if _day_of(d.place) == _day_of(place)]
        certain = bool(alike) and all(d.kind in (SAME, ROUNDING) for d in alike)
        compared.append(_classified(export, place, billed[place], ours, tokens_agree=certain))
    return compared


def _day_of(place: Place) -> tuple[str, str]:
    """The period and the provider, whatever the model."""
    return place.period, place.provider


def _with_an_amount(export: Export, found: Difference) -> Difference:
    """Tokens that agree, on a bill that has amounts for other models of that day: no amount for
    these is a difference too, unless it is so little that the bill rounds it away."""
    told, ours = found.billed.nanos, found.booked.nanos or Fraction(0)
    if told is not None or ours <= found.booked.count + export.unit / 2:
        return found
    return replace(found, kind=MONEY, note="the bill has its tokens, and no amount for them")


def _classified(
    export: Export, place: Place, theirs: Side, ours: Side, *, tokens_agree: bool = False
) -> Difference:
    """The kind of one difference: tokens first, then money."""
    if export.has_money and not theirs.count:
        theirs = replace(theirs, nanos=Fraction(0))
    figures = export.figures if place.model != EVERY_MODEL or theirs.tokens else ()
    more = [n for n in figures if theirs.tokens.get(n, 0) > ours.tokens.get(n, 0)]
    less = [n for n in figures if theirs.tokens.get(n, 0) < ours.tokens.get(n, 0)]
    untold = [n for n in ("input", "output") if n not in figures and ours.tokens.get(n, 0)]
    money = _money_differs(export, theirs, ours)
    note = ""
    if (more or less or money) and ours.presumed:
        kind, note = PRESUMPTION, f"{for_people(ours.presumed)} of what is booked is presumed"
    elif (more and less) or ((more or less) and not {"input", "output"} & {*more, *less}):
        kind, note = TOKENS, _listed(more, less)
    elif more:
        kind, note = AROUND, "" if ours.count else "the ledger has nothing of it"
    elif less:
        kind, note = MISSING, "" if theirs.count else "the bill has nothing of it"
    elif not money:
        differs = theirs.nanos is not None and theirs.nanos != (ours.nanos or 0)
        kind = ROUNDING if differs else SAME
    elif untold and theirs.tokens:
        kind, note = MONEY, f"the bill does not tell its {untold[0]} tokens"
    elif figures or tokens_agree:
        kind, note = PRICE, "the same tokens at another price"
    elif not ours.count:
        kind, note = AROUND, "the ledger has nothing of it"
    elif not theirs.count:
        kind, note = MISSING, "the bill has nothing of it"
    else:
        kind, note = MONEY, "the bill tells no tokens: hold its usage export against it too"
    return Difference(place, kind, theirs, ours, note)


def _listed(more: Sequence[str], less: Sequence[str]) -> str:
    told = (f"{word} {', '.join(n)}" for word, n in (("more", more), ("less", less)) if n)
    return "the bill has " + "; ".join(told).replace("_", " ")


def _money_differs(export: Export, theirs: Side, ours: Side) -> bool:
    """Whether money differs by more than both sides round: a nano an entry, half a unit a line."""
    if theirs.nanos is None and (theirs.count or not export.has_money):
        return False
    difference = abs((theirs.nanos or Fraction(0)) - (ours.nanos or Fraction(0)))
    return difference > _tolerance(export, theirs, ours)


def _tolerance(export: Export, theirs: Side, ours: Side) -> Fraction:
    return ours.count + export.unit / 2 * theirs.priced


def _across_midnight(compared: Iterable[Difference], export: Export) -> list[Difference]:
    """Two days in a row whose tokens cancel out are one request that each side dates otherwise."""
    by_model: dict[tuple[str, str], list[Difference]] = defaultdict(list)
    for difference in compared:
        by_model[difference.place.provider, difference.place.model].append(difference)
    found: list[Difference] = []
    for days in by_model.values():
        days.sort(key=lambda difference: difference.place.period)
        index = 0
        while index < len(days):
            pair = days[index : index + 2]
            if len(pair) == 2 and _cancel_out(pair[0], pair[1], export):
                note = "what one side has on one day the other has on the next"
                found += (replace(day, kind=MIDNIGHT, note=note) for day in pair)
                index += 2
            else:
                found.append(days[index])
                index += 1
    return found


def _cancel_out(day: Difference, next_day: Difference, export: Export) -> bool:
    if {day.kind, next_day.kind} != {AROUND, MISSING}:
        return False
    first, second = (date.fromisoformat(d.place.period) for d in (day, next_day))
    if second - first != timedelta(days=1):
        return False
    theirs, ours = day.billed + next_day.billed, day.booked + next_day.booked
    tokens_agree = all(
        theirs.tokens.get(name, 0) == ours.tokens.get(name, 0)
        for name in FIGURES
        if name in export.figures
    )
    return tokens_agree and not _money_differs(export, theirs, ours)


def _merged(differences: Iterable[Difference]) -> list[Difference]:
    """Lines of the bill about the same thing, such as twenty credits of a day, as one."""
    found: dict[tuple[Place, str, str], Difference] = {}
    for difference in differences:
        name = (difference.place, difference.kind, difference.note)
        known = found.get(name)
        if known is not None:
            difference = replace(
                known,
                billed=known.billed + difference.billed,
                booked=known.booked + difference.booked,
            )
        found[name] = difference
    return list(found.values())
