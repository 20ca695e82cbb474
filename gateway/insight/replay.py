"""Recorded traffic taken through other rules: what each entry would have been booked at.

The common entry costs four multiplications and one rounding, in whole numbers, as `charge` would
do it; everything unusual goes through `charge` itself. So the sums are, to the nano, what a real
run with the same usage would book.

What is added up is small: by team, job and target, and for each budget by quarter of an hour,
which no calendar period divides. Sums of several stretches of time are simply added.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from gateway.insight.altered import Altered, Told
from gateway.insight.placing import Placement, Placing, kept_rates
from gateway.insight.recorded import Row, parse_rare, parse_what
from gateway.jobs.routes import Budget
from gateway.metering.usage import NOTHING, Usage
from gateway.money import TOKENS_PER_PRICE
from gateway.prices.rates import NO_COST, Price, Rates, charge, charge_at
from gateway.treasury.periods import MINUTE

QUARTER = 15 * MINUTE
LARGE = 30_000
"""Tokens of an entry whose unit prices are looked at: no price has another rate for less."""
_HALF = TOKENS_PER_PRICE // 2
_MANY = 2**62


class Group(NamedTuple):
    """What sums are kept by."""

    team: str
    job: str
    target: str
    """Where it was sent; `new_target` is where it would be sent, empty when nowhere, as a part of
    `new_job`."""
    new_job: str
    new_target: str
    why: str
    passed_on: bool
    leaves: str


@dataclass(slots=True)
class Sums:
    """What a group comes to; amounts in nano-dollars."""

    entries: int = 0
    requests: int = 0
    booked: int = 0
    replayed: int = 0
    cut: int = 0
    """Answers that are longer than the new limit, and what they would cost less when cut."""
    cut_nanos: int = 0
    unfit: int = 0
    """Requests that do not fit the context window, and what they were booked at."""
    unfit_nanos: int = 0
    tight: int = 0
    """Requests that fit only if their callers ask for less than the job's usual output."""
    beyond_usual: int = 0
    """Answers longer than what callers who state no limit may have now."""
    read: int = 0
    """Tokens of input, and of output, as recorded."""
    written: int = 0

    def add(self, other: Sums) -> None:
        """Add the sums of other entries."""
        for name in Sums.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


Series = dict[tuple[int, str, int], list[int]]
"""By number of a budget, subject, and beginning of a slot of time: what it would be charged, and
what was charged, in its unit."""


@dataclass(slots=True)
class Tally:
    """All that a replay adds up."""

    groups: dict[Group, Sums] = field(default_factory=dict)
    series: Series = field(default_factory=dict)
    told_before: Told = field(default_factory=Told)
    told_after: Told = field(default_factory=Told)

    def add(self, other: Tally) -> None:
        """Add what another stretch of time came to."""
        for group, sums in other.groups.items():
            self.groups.setdefault(group, Sums()).add(sums)
        for key, (new, old) in other.series.items():
            slot = self.series.setdefault(key, [0, 0])
            slot[0] += new
            slot[1] += old
        self.told_before.update(other.told_before)
        self.told_after.update(other.told_after)

    @property
    def entries(self) -> int:
        """How many were replayed."""
        return sum(sums.entries for sums in self.groups.values())


@dataclass(slots=True)
class _Case:
    """Entries of one kind, and what they came to so far."""

    placement: Placement
    plain: bool
    input: int
    cache_read: int
    output: int
    reasoning: int
    watch: int
    """Tokens in all, up to which an entry fits the context window in any case."""
    longest: int
    """Output tokens up to which no answer is longer than any limit."""
    sums: Sums = field(default_factory=Sums)
    other_tokens: int = 0
    """Tokens that are neither read nor written by anybody's word: presumed, corrected."""
    lost_tokens: int = 0
    """Tokens that were booked and would not be."""
    slot_ends: int = -1
    counted: tuple[tuple[int, int], ...] = ((0, 0), (0, 0), (0, 0))
    """What budgets know already: new and old, of nano-dollars, tokens and requests."""

    def amounts(self) -> tuple[tuple[int, int], ...]:
        """New and old so far, of nano-dollars, tokens and requests."""
        sums, count = self.sums, self.placement.what.request_count
        tokens = sums.read + sums.written + self.other_tokens
        served = 0 if self.placement.refused else sums.entries - sums.unfit
        return (
            (sums.replayed, sums.booked),
            (tokens - self.lost_tokens, tokens),
            (count * served, count * sums.entries),
        )


_UNITS = {"usd": 0, "tokens": 1, "requests": 2}


class Replay:
    """Takes entries of one era through the rules; they come in the order of their admission."""

    def __init__(self, placing: Placing, budgets: tuple[Budget, ...], slot: int = QUARTER) -> None:
        """`slot` is the length of the slots of time, in microseconds."""
        self._placing, self._slot = placing, slot
        self._units = [_UNITS[budget.unit] for budget in budgets]
        self._cases: dict[str, _Case] = {}
        self._touched: list[_Case] = []
        self._series: Series = {}
        self._altered = Altered()

    def take(self, rows: Iterable[Row]) -> None:
        """Replay these entries."""
        cases, slot_ends = self._cases, -1
        for at, text, fresh, cached, wrote, thought, rare, amount, changed, prices in rows:
            if at >= slot_ends:
                self._turn(slot_ends)
                slot_ends = (at // self._slot + 1) * self._slot
            case = cases.get(text)
            if case is None:
                case = cases[text] = _case(self._placing.place(parse_what(text)))
            if case.slot_ends != slot_ends:
                case.slot_ends = slot_ends
                self._touched.append(case)
            sums = case.sums
            sums.entries += 1
            sums.booked += amount
            read, written = fresh + cached, wrote + thought
            if (
                case.plain
                and rare is None
                and read + written <= case.watch
                and written <= case.longest
            ):
                exact = (
                    fresh * case.input
                    + cached * case.cache_read
                    + wrote * case.output
                    + thought * case.reasoning
                )
                whole, rest = divmod(exact, TOKENS_PER_PRICE)
                if rest > _HALF or (rest == _HALF and whole & 1):
                    whole += 1
                sums.replayed += whole
                sums.read += read
                sums.written += written
            else:
                figures = (fresh, cached, wrote, thought)
                self._unusual(case, at, figures, rare, (amount, prices))
            if changed is not None:
                self._change(case, changed)
        self._turn(slot_ends)

    def tally(self) -> Tally:
        """What it all came to."""
        made = Tally(series=self._series)
        for case in self._cases.values():
            placement, what = case.placement, case.placement.what
            target = "" if placement.target is None else placement.target.name
            if placement.kept:
                target = what.target
            group = Group(
                what.team,
                what.job,
                what.target,
                "" if placement.job is None else placement.job.name,
                target,
                placement.why,
                placement.passed_on,
                placement.leaves,
            )
            case.sums.requests = what.request_count * case.sums.entries
            made.groups.setdefault(group, Sums()).add(case.sums)
        made.told_before, made.told_after = self._altered.before, self._altered.after
        return made

    def _unusual(
        self,
        case: _Case,
        at: int,
        figures: tuple[int, int, int, int],
        rare: str | None,
        booked: tuple[int, str | None],
    ) -> None:
        """An entry that takes more than four multiplications; `booked`: its amount and prices."""
        placement, sums, (amount, prices) = case.placement, case.sums, booked
        usage, tokens = _usage(figures, rare)
        sums.read += usage.input_total
        sums.written += usage.output_total
        case.other_tokens += tokens - usage.total
        if placement.kept:
            sums.replayed += amount
            return
        if placement.refused:
            case.lost_tokens += tokens
            return
        price = placement.price
        if placement.dated:
            price = self._placing.price_at(placement, at)
        if price is None:
            return
        window = placement.window
        if window is not None and usage.total > window:
            sums.unfit += 1
            sums.unfit_nanos += amount
            case.lost_tokens += tokens
            return
        if window is not None and usage.input_total > case.watch:
            sums.tight += 1
        if placement.usual is not None and usage.output_total > placement.usual:
            sums.beyond_usual += 1
        nanos = _cost(placement, price, usage, prices)
        cut = _cut(placement, usage)
        if cut is not None:
            less = _cost(placement, price, cut, prices)
            sums.cut += 1
            sums.cut_nanos += nanos - less
            case.lost_tokens += usage.total - cut.total
            nanos = less
        sums.replayed += nanos

    def _turn(self, slot_ends: int) -> None:
        """A slot of time is over: charge the budgets with what it came to."""
        starts = slot_ends - self._slot
        for case in self._touched:
            amounts = case.amounts()
            if case.placement.scoped:
                grown = [
                    (now[0] - then[0], now[1] - then[1])
                    for now, then in zip(amounts, case.counted, strict=True)
                ]
                for number, subject in case.placement.scoped:
                    new, old = grown[self._units[number]]
                    charged = self._series.setdefault((number, subject, starts), [0, 0])
                    charged[0] += new
                    charged[1] += old
            case.counted = amounts
        self._touched.clear()

    def _change(self, case: _Case, changed: str) -> None:
        placement = case.placement
        if placement.job is not None and placement.target is not None and not placement.kept:
            self._altered.add(placement.what.job, placement.job, placement.target, changed)


def _case(placement: Placement) -> _Case:
    rates = _plain_rates(placement)
    watch = _MANY
    if placement.window is not None and placement.job is not None:
        usual = placement.job.output.default
        if placement.target is not None and placement.target.output_limit is not None:
            usual = min(usual, placement.target.output_limit)
        watch = placement.window - usual
    known = rates or NO_COST
    return _Case(
        placement=placement,
        plain=rates is not None,
        input=known.input,
        cache_read=known.cache_read,
        output=known.output,
        reasoning=known.reasoning,
        watch=watch,
        longest=min(placement.limit or _MANY, placement.usual or _MANY),
    )


def _plain_rates(placement: Placement) -> Rates | None:
    """The rates of every entry of a placement, if they are the same for all."""
    price = placement.price
    if price is None or placement.kept or placement.refused:
        return None
    schedule = price.service_tiers.get(placement.tier) if placement.tier else None
    tiers = price.tiers if schedule is None else schedule.tiers
    return None if tiers else charge(price, NOTHING, placement.tier).rates


def _usage(figures: tuple[int, int, int, int], rare: str | None) -> tuple[Usage, int]:
    """The usage of an entry, and the tokens that it was booked with."""
    fresh, cached, wrote, thought = figures
    if rare is None:
        usage = Usage(input=fresh, cache_read=cached, output=wrote, reasoning=thought)
        return usage, usage.total
    numbers = parse_rare(rare)
    usage = Usage(
        input=fresh,
        cache_read=cached,
        cache_read_audio=numbers[0],
        cache_write=numbers[1],
        cache_write_1h=numbers[2],
        output=wrote,
        reasoning=thought,
        audio_input=numbers[3],
        audio_output=numbers[4],
        image_input=numbers[5],
        image_output=numbers[6],
        requests=numbers[7],
    )
    return usage, numbers[8]


def _cost(placement: Placement, price: Price, usage: Usage, prices: str | None) -> int:
    rates = kept_rates(placement, price, prices) if price.tiers or price.service_tiers else None
    if rates is not None:
        return charge_at(rates, usage, None).amount_nanos
    return charge(price, usage, placement.tier).amount_nanos


def _cut(placement: Placement, usage: Usage) -> Usage | None:
    """The usage of an answer that ends at the new limit; None when it does not reach it."""
    limit, written = placement.limit, usage.output_total
    if limit is None or written <= limit:
        return None
    if placement.old_limit is not None and written > placement.old_limit:
        return None  # several choices, or more than was asked: nobody knows how many
    shorter = min(usage.output, written - limit)
    thought = min(usage.reasoning, written - limit - shorter)
    return msgspec.structs.replace(
        usage, output=usage.output - shorter, reasoning=usage.reasoning - thought
    )
