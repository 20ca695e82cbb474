"""Whatever happens in whatever order, the books agree with a second set kept in plain Python.

A random program asks for room, settles, releases, lets holds lapse and settles them after all;
commits are rolled back, or break off so that nobody knows; processes end and begin; the clock
steps over the borders of periods, and back. After every step the audit finds nothing, every
balance is what the model says and what entries and holds add up to, and the ledger, the roll-ups
and sums in decimal arithmetic are the same to the nano.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gateway.clock import FrozenClock
from gateway.jobs.routes import Budget, Scope
from gateway.ledger.audit import audit
from gateway.ledger.queries import Range
from gateway.metering.usage import Usage
from gateway.store.database import Database
from gateway.treasury.budgets import Payer
from gateway.treasury.committer import IN_DOUBT
from gateway.treasury.decisions import Shortage
from gateway.treasury.groups import Admission, Closing
from gateway.treasury.holds import Hold
from tests.treasury.booking import OPEN_SECONDS, RELEASED, Books, charged, opening
from tests.treasury.second_books import Kept, Name, SecondBooks, Wish, exact

LONG = "JOBGATE_LONG" in os.environ
ZONE = "Europe/Berlin"
NEW_YEAR = "2026-12-31T22:59:59+00:00"
"""A second before it is 2027 in Berlin: where every kind of period ends at once."""
EVER = Range(0, 2**45 * 3600)

LIMITS = {
    "usd": (0, 30, 60, 75, 150, 1000),
    "tokens": (0, 20, 40, 50, 100, 1000),
    "requests": (0, 1, 2, 3, 5, 1000),
}
"""Few enough, and such that requests often fill them to the last nano."""

names = st.sampled_from(["a", "a", "b"])
payers = st.builds(
    Payer,
    team=names,
    app=names,
    key_id=names,
    job=names,
    tags=st.dictionaries(st.sampled_from(["run", "stage"]), names),
)
scopes = st.one_of(
    st.just(Scope("organisation")),
    st.just(Scope("organisation")),
    st.builds(Scope, st.sampled_from(["team", "app", "key", "job"]), st.none() | names),
    st.builds(Scope, st.just("tag"), st.none() | names, st.sampled_from(["run", "stage"])),
)
units = st.sampled_from(sorted(LIMITS))
periods = st.sampled_from(["minute", "hour", "day", "week", "month", "year", "forever"])
sizes = st.integers(0, 5)
"""Which of the limits of its unit."""
hardness = st.sampled_from([True, True, True, False])
usages = st.builds(
    Usage,
    input=st.sampled_from([0, 10, 20, 21, 23, 40]),
    output=st.sampled_from([0, 0, 1, 9]),
    cache_read=st.sampled_from([0, 1]),
)


wishes = st.builds(
    Wish,
    payer=payers,
    usage=usages,
    spare=st.sampled_from([0, 0, 1, 30, -1, -20]),
    requests=st.sampled_from([1, 1, 0]),
    waits=st.booleans(),
)
endings = st.tuples(st.integers(0, 9), st.sampled_from(["charge", "release"]))
"""Which of the open holds, and how it ends."""
fates = st.sampled_from(["committed", "committed", "rolled back", "in doubt"])
steps = st.sampled_from([1, 59, 60, 3600, OPEN_SECONDS, 86_400, 40 * 86_400, -1, -3600, -86_400])


class Lost(Exception):
    """The process, or the connection, ended in the middle."""


class Program(RuleBasedStateMachine):
    """Two processes on one database, and the second books beside them."""

    database: Database
    organisations = count(1)

    @initialize(
        budgets=st.lists(st.tuples(scopes, sizes, units, periods, hardness), min_size=1, max_size=4)
    )
    def begin(self, budgets: list[tuple[Any, ...]]) -> None:
        self.budgets = [
            Budget(f"b{i}", scope, LIMITS[unit][size], unit, period, hard, contact="")
            for i, (scope, size, unit, period, hard) in enumerate(budgets)
        ]
        self.org = f"o{next(self.organisations)}"
        self.clock = FrozenClock(NEW_YEAR)
        self.starts = count(1)
        self.wishes: dict[str, Wish] = {}
        self.second = SecondBooks({budget.name: budget for budget in self.budgets})
        self.processes = [self.a_process(), self.a_process()]

    def a_process(self) -> Books:
        instance = f"process {next(self.starts)}"
        books = Books(
            self.database,
            self.budgets,
            org=self.org,
            instance=instance,
            zone=ZONE,
            clock=self.clock,
        )
        books._ids = count(1000 * int(instance.split()[1]))
        return books

    # ---- steps

    @rule(which=st.booleans(), asked=st.lists(wishes, min_size=1, max_size=4))
    def ask(self, which: bool, asked: list[Wish]) -> None:
        self.turn(which, asked, [], "committed")

    @precondition(lambda self: self.second.open)
    @rule(which=st.booleans(), ended=st.lists(endings, min_size=1, max_size=3))
    def end(self, which: bool, ended: list[tuple[int, str]]) -> None:
        self.turn(which, [], ended, "committed")

    @rule(
        which=st.booleans(),
        asked=st.lists(wishes, max_size=4),
        ended=st.lists(endings, max_size=3),
        fate=fates,
    )
    def turn(self, which: bool, asked: list[Wish], ended: list[tuple[int, str]], fate: str) -> None:
        books = self.processes[which]
        admissions = [self.admission(books, wish) for wish in asked]
        closings = self.closings(ended)
        answers = self.run(books, admissions, closings, fate)
        if fate != "rolled back":
            self.write_closings(closings)
            self.write_answers(answers)
        if fate != "committed":
            # As the committer does: endings again, and what may have been held is given back.
            books.group.forget()
            holds = [answer for answer in answers if isinstance(answer, Hold)]
            again = [*closings, *(Closing(hold, IN_DOUBT) for hold in holds)]
            books.turn(closings=again)
            self.write_closings(again)
            # And as clients do who were told to try again.
            self.turn(which, asked, [], "committed")

    @rule(which=st.booleans())
    def let_holds_lapse(self, which: bool) -> None:
        now = self.clock.now()
        due = [kept for kept in self.second.open.values() if kept.hold.lapses_at <= now]
        entries = self.processes[which].lapse()
        assert {entry.id for entry in entries} == {kept.hold.id for kept in due}
        for kept in due:
            self.second.lapse(kept)

    @precondition(lambda self: self.second.open)
    @rule(which=st.booleans(), index=st.integers(0, 9), early=st.sampled_from([0, 1]))
    def let_the_time_of_a_hold_run_out(self, which: bool, index: int, early: int) -> None:
        """To the microsecond, or one less."""
        kept = list(self.second.open.values())[index % len(self.second.open)]
        self.clock.micros = kept.hold.lapses_at - early
        self.let_holds_lapse(which)

    @precondition(lambda self: self.second.lapsed)
    @rule(which=st.booleans(), index=st.integers(0, 9), twice=st.booleans())
    def settle_what_had_lapsed(self, which: bool, index: int, twice: bool) -> None:
        kept = list(self.second.lapsed.values())[index % len(self.second.lapsed)]
        for _ in range(1 + twice):
            self.processes[which].end(kept.hold, charged(kept.wish.usage))
        self.second.settle_late(kept)

    @rule(which=st.booleans())
    def restart_alone(self, which: bool) -> None:
        """A process ends, and the next takes over the whole database as SQLite's only one does."""
        self.processes = [self.a_process(), self.a_process()]
        books = self.processes[which]
        entries = books.lapse_foreign()
        assert {entry.id for entry in entries} == set(self.second.open)
        for kept in list(self.second.open.values()):
            self.second.lapse(kept)

    @rule(which=st.booleans())
    def restart_beside_another(self, which: bool) -> None:
        """A process ends; its holds stay until their time is over."""
        self.processes[which] = self.a_process()

    @rule(seconds=steps)
    def move_the_clock(self, seconds: int) -> None:
        self.clock.move(seconds)

    # ---- the second books

    def admission(self, books: Books, wish: Wish) -> Admission:
        request = books.request(wish.ceiling, wish.payer, waits=wish.waits)
        self.wishes[request.id] = wish
        return request

    def closings(self, ended: list[tuple[int, str]]) -> list[Closing]:
        """Endings of open holds; the same one twice is possible, and ends it once."""
        kept = list(self.second.open.values())
        found = []
        for index, kind in ended if kept else ():
            one = kept[index % len(kept)]
            ending = charged(one.wish.usage) if kind == "charge" else RELEASED
            found.append(Closing(one.hold, ending))
        return found

    def run(
        self, books: Books, admissions: list[Admission], closings: list[Closing], fate: str
    ) -> list[Hold | Shortage]:
        answers: list[Hold | Shortage] = []
        with suppress(Lost), self.database.writing() as cursor:
            result = books.group.run(cursor, admissions, closings, self.clock.now(), 0.0)
            assert [admission for admission, _ in result.answers] == admissions
            answers = [answer for _, answer in result.answers]
            if fate == "rolled back":
                raise Lost
        return answers

    def write_closings(self, closings: list[Closing]) -> None:
        """Only those whose hold is open: the others have ended, or were never there."""
        for closing in closings:
            kept = self.second.open.get(closing.hold.id)
            if kept is None:
                continue
            if closing.ending in (RELEASED, IN_DOUBT):
                self.second.end(kept, 0, 0, 0)
            else:
                usage = kept.wish.usage
                self.second.end(kept, exact(usage), usage.total, kept.wish.requests)

    def write_answers(self, answers: list[Hold | Shortage]) -> None:
        waited_for: set[Name] = set()
        recent = list(self.wishes.values())[len(self.wishes) - len(answers) :]
        for wish, answer in zip(recent, answers, strict=True):
            wanted = self.wanted(wish)
            self.second.known.update(wanted)
            says = self.second.says(wanted, waited_for, waits=wish.waits)
            if isinstance(answer, Shortage):
                assert says == ("never" if answer.for_good else "wait")
            else:
                assert says == "fits"
                self.second.open[answer.id] = Kept(answer, wish, wanted)

    def wanted(self, wish: Wish) -> dict[Name, int]:
        """What a request wants of each balance now."""
        payer, now = wish.payer, self.clock.now()
        found = {}
        for budget in self.budgets:
            scope = budget.scope
            actual = {
                "organisation": "",
                "team": payer.team,
                "app": payer.app,
                "key": payer.key_id,
                "job": payer.job,
                "tag": payer.tags.get(scope.tag or ""),
            }[scope.kind]
            if actual is None or (scope.value is not None and scope.value != actual):
                continue
            start = self.processes[0].calendar.bounds(budget.period, now)[0]
            amount = wish.ceiling.of(budget.unit)
            found[budget.name, actual, str(budget.unit), start] = amount
        return found

    # ---- after every step

    @invariant()
    def the_audit_finds_nothing(self) -> None:
        findings, entries = audit(self.database, self.org)
        assert findings == []
        assert entries == len(self.second.spent)

    @invariant()
    def balances_are_what_the_second_books_say(self) -> None:
        second = self.second
        found = self.processes[0].balances()
        assert {name: balance for name, balance in found.items() if any(balance)} == {
            name: balance
            for name in second.known
            if any(
                balance := (
                    second.sum_spent(name),
                    second.sum_held(name),
                    second.overrun.get(name, 0),
                )
            )
        }

    @invariant()
    def balances_can_be_rebuilt_from_entries_and_holds(self) -> None:
        books = self.processes[0]
        kept = books.rows("SELECT id, spent, held FROM balances WHERE org = :org")
        assert {number: sums for number, *sums in kept} == books.rebuilt()

    @invariant()
    def ledger_roll_ups_and_decimals_agree(self) -> None:
        ledger = self.processes[0].ledger
        for by in ("team", "job"), ("key_id",):  # from the roll-ups; from the entries
            expected: dict[tuple[str, ...], list[int]] = {}
            for kept, *said in self.second.spent:
                draft = kept.hold.draft
                sums = expected.setdefault(tuple(getattr(draft, n) for n in by), [0, 0, 0, 0])
                for place, amount in enumerate((1, *said)):
                    sums[place] += amount
            assert {
                tuple(row[name] for name in by): [
                    row["entries"],
                    row["amount_nanos"],
                    row["tokens"],
                    row["request_count"],
                ]
                for row in ledger.spend(by, EVER)
            } == expected


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with opening(database_url) as found:
        yield found


def test_every_law_holds_after_every_step_of_any_program(database: Database) -> None:
    examples = (2000 if LONG else 60) if database.is_sqlite else (400 if LONG else 15)

    class OnThis(Program):
        pass

    OnThis.database = database
    run_state_machine_as_test(
        OnThis,
        settings=settings(
            max_examples=examples,
            stateful_step_count=50 if LONG else 25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
