"""Every line of the ledger by itself: is its kind what it says, and its amount what its prices say?

The database looks at all of them and returns those that it doubts; the law is then applied to
those here, in whole numbers. Statements multiply with lists of prices that have been met before,
so the first entries with a new list are among the doubted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from gateway.ledger.entries import ADJUST, CHARGE, CHARGE_STATED, LAPSE, PRESUMED, RELEASE
from gateway.ledger.reading import IN_STRETCH, Books, Finding, Stretch
from gateway.metering.usage import CLASSES
from gateway.money import TOKENS_PER_PRICE, round_half_even
from gateway.prices.rates import Rates

Line = Mapping[str, Any]
"""Columns of an entry, and `unexplained`."""

_LISTS_AT_MOST = 64
"""Lists of prices in a statement; with one more it begins anew."""
_COLUMNS = (
    *("id", "kind", "quality", "reason", "job", "target", "residency", "confined", "prices"),
    *("amount_nanos", "tokens", "request_count", "ceiling_nanos", "ceiling_tokens"),
    *CLASSES,
)
_UNEXPLAINED = (
    "(kind = :adjust AND (reason = '' OR author = '' OR NOT EXISTS"
    " (SELECT 1 FROM entries e WHERE e.org = :org AND e.id = entries.corrects)))"
)
_DOUBTFUL = (
    "((confined AND residency <> 'on_prem') OR CASE kind"
    " WHEN :charge THEN quality <> :presumed AND reason <> :stated"
    " AND (amount_nanos <> CASE prices {} END) IS NOT FALSE"
    " WHEN :release THEN NOT (amount_nanos = 0 AND tokens = 0 AND request_count = 0)"
    " WHEN :lapse THEN NOT (quality = :presumed"
    " AND amount_nanos = ceiling_nanos AND tokens = ceiling_tokens)"
    f" WHEN :adjust THEN {_UNEXPLAINED} ELSE TRUE END)"
)
"""With a list of prices that is not known the comparison is neither true nor false."""
_WORDS = {
    "charge": CHARGE,
    "adjust": ADJUST,
    "release": RELEASE,
    "lapse": LAPSE,
    "presumed": PRESUMED,
    "stated": CHARGE_STATED,
}


class Lines:
    """Applies each of LAWS to each entry."""

    name = "lines"

    def __init__(self) -> None:
        self._lists: dict[str, Rates | None] = {"": None}

    def add(self, stretch: Stretch) -> Iterator[Finding]:
        """Look at these entries."""
        known = list(self._lists.items())
        cases = " ".join(
            f"WHEN :prices{place} THEN {_rounded_cost(rates)}"
            for place, (_, rates) in enumerate(known)
        )
        for *values, unexplained in stretch.rows(
            f"SELECT {', '.join(_COLUMNS)}, {_UNEXPLAINED} FROM entries"
            f" WHERE {IN_STRETCH} AND {_DOUBTFUL.format(cases)}",
            **{f"prices{place}": prices for place, (prices, _) in enumerate(known)},
            **_WORDS,
        ):
            line = {**dict(zip(_COLUMNS, values, strict=True)), "unexplained": unexplained}
            for law in LAWS:
                yield from law(line, self._rates)

    def end(self, _books: Books) -> Iterator[Finding]:
        """Nothing is left to say."""
        yield from ()

    def _rates(self, prices: str) -> Rates | None:
        """The unit prices kept beside an entry; None when it has none."""
        if prices not in self._lists:
            if len(self._lists) >= _LISTS_AT_MOST:
                self._lists = {"": None}
            self._lists[prices] = msgspec.json.decode(prices, type=Rates)
        return self._lists[prices]


RatesOf = Callable[[str], Rates | None]


def kinds_are_what_they_say(line: Line, _rates: RatesOf) -> Iterator[Finding]:
    """Laws 6, 7: a charge, an adjustment, a release of nothing or a lapse at the ceiling."""
    kind, amount = line["kind"], line["amount_nanos"]
    nothing = amount == line["tokens"] == line["request_count"] == 0
    at_ceiling = (amount, line["tokens"]) == (line["ceiling_nanos"], line["ceiling_tokens"])
    if not (
        kind in (CHARGE, ADJUST)
        or (kind == RELEASE and nothing)
        or (kind == LAPSE and line["quality"] == PRESUMED and at_ceiling)
    ):
        message = f"{amount} nanos are not what a {kind!r} comes to"
        yield Finding("7", f"entry {line['id']}", message)


def corrections_say_what_and_why(line: Line, _rates: RatesOf) -> Iterator[Finding]:
    """Law 7: a correction is another entry, with what it corrects, a reason and an author."""
    if line["unexplained"]:
        message = "it does not say what it corrects, why, or who says so"
        yield Finding("7", f"entry {line['id']}", message)


def amounts_follow_from_prices(line: Line, rates_of: RatesOf) -> Iterator[Finding]:
    """Laws 8, 9, 10: usage times the unit prices kept beside it, rounded once, is the amount."""
    if line["kind"] != CHARGE or line["quality"] == PRESUMED or line["reason"] == CHARGE_STATED:
        return
    rates = rates_of(line["prices"])
    exact = sum(line[name] * getattr(rates, name) for name in CLASSES) if rates else 0
    ought = round_half_even(exact, TOKENS_PER_PRICE)
    if line["amount_nanos"] != ought:
        message = f"{line['amount_nanos']} nanos are booked, its prices say {ought}"
        yield Finding("9", f"entry {line['id']}", message)


def private_jobs_stayed_home(line: Line, _rates: RatesOf) -> Iterator[Finding]:
    """Law 11: a job that is confined to the house has no entry with a target outside."""
    if line["confined"] and line["residency"] != "on_prem":
        message = f"entry {line['id']} says that it was sent to {line['target']}"
        yield Finding("11", f"job {line['job']}", message)


LAWS: tuple[Callable[[Line, RatesOf], Iterator[Finding]], ...] = (
    kinds_are_what_they_say,
    corrections_say_what_and_why,
    amounts_follow_from_prices,
    private_jobs_stayed_home,
)


def _rounded_cost(rates: Rates | None) -> str:
    """SQL for usage times unit prices, half to even; without prices it has to be free."""
    prices = {name: getattr(rates, name) for name in CLASSES} if rates else {}
    exact = " + ".join(f"{name} * {price}" for name, price in prices.items() if price) or "0"
    quotient, rest = f"(({exact}) / {TOKENS_PER_PRICE})", f"(({exact}) % {TOKENS_PER_PRICE})"
    half = TOKENS_PER_PRICE // 2
    return (
        f"({quotient} + CASE WHEN {rest} > {half} OR ({rest} = {half}"
        f" AND {quotient} % 2 = 1) THEN 1 ELSE 0 END)"
    )
