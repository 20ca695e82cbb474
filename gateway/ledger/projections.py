"""Balances and roll-ups added up again from entries and holds, and laid beside what is kept.

Each is told stretches of the entries in order, and says at the end what differs. Roll-ups are
compared as soon as their hour is over, so at most an hour of them is remembered. Balances know no
hours: those of several ranges are joined before the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gateway.ledger.reading import FOREVER, IN_STRETCH, Books, Finding, Hours, Stretch
from gateway.store.tables import ROLLUP_DIMENSIONS, ROLLUP_SUMS

_NANOS, _OVER_NANOS, _TOKENS, _OVER_TOKENS, _REQUESTS = range(5)
_SPENT = {"usd": _NANOS, "tokens": _TOKENS, "requests": _REQUESTS}
_OVERRUN = {"usd": _OVER_NANOS, "tokens": _OVER_TOKENS}
_HELD = {"usd": 0, "tokens": 1, "requests": 2}
_KEYS = len(ROLLUP_DIMENSIONS)
_DIMENSIONS = ", ".join(ROLLUP_DIMENSIONS)
_SORTED = ", ".join(sorted(ROLLUP_DIMENSIONS, key=("app", "target").count, reverse=True))
"""What tells entries apart soonest comes first: SQLite sorts them."""
_SUMS = ", ".join(f"SUM({name})" for name in ROLLUP_SUMS if name != "entries")


class Balances:
    """Law 3: held is the sum of open holds, spent the sum of entries, for every balance."""

    name = "balances"

    def __init__(self) -> None:
        self._entries: dict[int, list[int]] = {}
        """By balance: nanos, nanos over ceilings, tokens, tokens over ceilings, requests."""

    def add(self, stretch: Stretch) -> Iterator[Finding]:
        """Add the entries up by their lists of balances."""
        for numbers, *amounts in stretch.rows(
            "SELECT balances, SUM(amount_nanos), SUM(CASE WHEN amount_nanos > ceiling_nanos"
            " THEN amount_nanos - ceiling_nanos ELSE 0 END), SUM(tokens),"
            " SUM(CASE WHEN tokens > ceiling_tokens THEN tokens - ceiling_tokens ELSE 0 END),"
            f" SUM(request_count) FROM entries WHERE {IN_STRETCH} GROUP BY balances"
        ):
            _add(self._entries, map(int, numbers.split()), [int(amount) for amount in amounts])
        yield from ()

    def join(self, others: Balances) -> None:
        """Take in what other entries add up to."""
        for number, amounts in others._entries.items():
            _add(self._entries, (number,), amounts)

    def end(self, books: Books) -> Iterator[Finding]:
        """Compare every balance, and name those that are not there."""
        entries, holds = self._entries, _held(books)
        nothing, unheld = [0] * 5, [0] * 3
        for balance, name, subject, unit, *kept in books.rows(
            "SELECT id, budget, subject, unit, spent, held, overrun FROM balances WHERE org = :org"
        ):
            sums, held = entries.pop(balance, nothing), holds.pop(balance, unheld)
            expected = (
                _amount(sums, _SPENT.get(unit)),
                _amount(held, _HELD.get(unit)),
                _amount(sums, _OVERRUN.get(unit)),
            )
            for what, now, ought in zip(("spent", "held", "overrun"), kept, expected, strict=True):
                if now != ought:
                    subject_of = f"balance {balance} ({name} {subject})"
                    yield Finding("3", subject_of, f"{what} is {now}, not {ought}")
        for number in sorted(entries.keys() | holds.keys()):
            yield Finding("3", f"balance {number}", "entries or holds name it, but it is not there")


class Rollups:
    """Law 3: the roll-ups of some hours say what their entries say, in every sum."""

    name = "roll-ups"

    def __init__(self, hours: Hours = FOREVER) -> None:
        self.entries = 0
        """How many have been added."""
        self._ought: dict[tuple[Any, ...], list[int]] = {}
        self._hour, self._until = hours
        """Of what is in `_ought`; the roll-ups of earlier ones have been compared."""

    def add(self, stretch: Stretch) -> Iterator[Finding]:
        """Add the entries of a part up; compares the roll-ups of hours that are over."""
        if stretch.hour > self._hour:
            yield from self._compare(stretch.books, stretch.hour)
        for row in stretch.rows(
            f"SELECT {_DIMENSIONS}, COUNT(*), {_SUMS} FROM entries WHERE {IN_STRETCH}"
            f" GROUP BY {_SORTED}"
        ):
            key, amounts = (stretch.hour, *row[:_KEYS]), row[_KEYS:]
            self.entries += int(amounts[0])
            found = self._ought.get(key)
            if found is None:
                self._ought[key] = [int(amount) for amount in amounts]
            else:
                for place, amount in enumerate(amounts):
                    found[place] += int(amount)

    def end(self, books: Books) -> Iterator[Finding]:
        """Compare what is left."""
        yield from self._compare(books, self._until)

    def _compare(self, books: Books, until: int) -> Iterator[Finding]:
        """Lay the roll-ups of hours that are over, and not compared yet, beside their entries."""
        ought, self._ought = self._ought, {}
        for hour, *row in books.rows(
            f"SELECT hour, {_DIMENSIONS}, {', '.join(ROLLUP_SUMS)} FROM rollups"
            " WHERE org = :org AND hour >= :first AND hour < :until",
            first=self._hour,
            until=until,
        ):
            key, amounts = (hour, *row[:_KEYS]), row[_KEYS:]
            if amounts != ought.pop(key, [0] * len(ROLLUP_SUMS)):
                yield Finding("3", f"roll-up {key}", "it differs from its entries")
        for key in ought:
            yield Finding("3", f"roll-up {key}", "it is missing")
        self._hour = until


def _held(books: Books) -> dict[int, list[int]]:
    """What is held of each balance: nanos, tokens, requests."""
    held: dict[int, list[int]] = {}
    for numbers, *amounts in books.rows(
        "SELECT balances, SUM(ceiling_nanos), SUM(ceiling_tokens), SUM(request_count)"
        " FROM holds WHERE org = :org GROUP BY balances"
    ):
        _add(held, map(int, numbers.split()), [int(amount) for amount in amounts])
    return held


def _add(sums: dict[int, list[int]], numbers: Iterable[int], amounts: list[int]) -> None:
    for number in numbers:
        found = sums.get(number)
        if found is None:
            sums[number] = list(amounts)
        else:
            for place, amount in enumerate(amounts):
                found[place] += amount


def _amount(amounts: list[int], place: int | None) -> int:
    return 0 if place is None else amounts[place]
