"""May this request go? Decided on balances that are locked, and changed, in memory.

Three answers (laws 4 and 5):

    fits    every hard budget in scope has room for the ceiling: the room is taken
    wait    there would be room if open holds settled at nothing: ask again when one has ended
    never   some hard budget has spent too much already, whatever the open holds come to

Waiting is in arrival order for each balance: whoever comes later does not overtake, however
small, so a large request is not starved; the wait is bounded, so it does not starve others. A
request that will not wait keeps nobody out. One that needs nothing of a budget, such as a free
model of a budget in dollars, is not stopped by it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from gateway.jobs.routes import Budget


class State(msgspec.Struct):
    """A balance while its row is locked; amounts in the budget's own unit."""

    id: int
    unit: str
    spent: int
    held: int
    overrun: int
    limit: int
    """The whole limit at the last admission, with what was carried over and raised."""
    hard: bool
    carried: int | None = 0
    """What the period before left over; None until somebody has worked it out."""
    raised: int = 0
    changed: bool = False
    stated_before: int | None = None
    """The limit of routes.yaml before the first admission in this transaction under another."""

    @property
    def stated(self) -> int:
        """The part of the limit that routes.yaml states."""
        return self.limit - self.raised - (self.carried or 0)

    def admit(self, line: Line) -> None:
        """Take what the line wants, and note the limit that it passed."""
        if self.stated != line.budget.limit and self.stated_before is None:
            self.stated_before = self.stated
        self.limit = line.limit + (self.carried or 0)
        self.held += line.amount
        self.raised, self.hard, self.changed = line.raised, line.budget.hard, True

    def carry(self, amount: int) -> None:
        """Add to the limit what the period before left over; once in a period."""
        self.limit += amount
        self.carried, self.changed = amount, True


class Line(msgspec.Struct, frozen=True):
    """What one request wants of one balance."""

    budget: Budget
    subject: str
    starts_at: int
    ends_at: int
    amount: int
    raised: int = 0
    """What raises that are in force add to the budget's limit."""

    @property
    def limit(self) -> int:
        """The limit in force, but for what was carried over, which is the balance's."""
        return self.budget.limit + self.raised


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why a request does not go: which line, and what the balance was at that moment."""

    line: Line
    spent: int
    held: int
    for_good: bool
    """True when it could not fit even if every open hold settled at nothing."""
    carried: int = 0

    @property
    def limit(self) -> int:
        """The whole limit in force at that moment."""
        return self.line.limit + self.carried


def decide(
    lines: list[tuple[Line, State]], waited_for: set[int], *, waits: bool
) -> Shortage | None:
    """None when all lines fit, and then their room is taken; else why not.

    `waited_for` holds the balances that an earlier request waits for; one that has to wait, and
    `waits`, adds its own.
    """
    shortage: Shortage | None = None
    for line, state in lines:
        if not line.budget.hard or not line.amount:
            continue
        carried = state.carried or 0
        limit = line.limit + carried
        if state.spent + line.amount > limit:
            return Shortage(line, state.spent, state.held, for_good=True, carried=carried)
        full = state.spent + state.held + line.amount > limit
        if shortage is None and (full or state.id in waited_for):
            shortage = Shortage(line, state.spent, state.held, for_good=False, carried=carried)
    if shortage is not None:
        if waits:
            waited_for.update(state.id for line, state in lines if line.budget.hard and line.amount)
        return shortage
    for line, state in lines:
        if line.amount:
            state.admit(line)
    return None


def stood(wanted: Iterable[tuple[Line, State]]) -> str:
    """How balances stood before these lines took their room of them, now that they have.

    Of each spent/held/limit, in the balance's unit and in the order given: "120/0/500 3/1/60".
    """
    return " ".join(
        [
            f"{state.spent}/{state.held - line.amount}/{line.limit + (state.carried or 0)}"
            for line, state in wanted
        ]
    )


def give_back(state: State, held: int, spent: int, ceiling: int) -> None:
    """End a hold: what was held is free, what was spent is spent, what went over is counted.

    `ceiling` is what the entry could cost, which a correction of a hold that has lapsed still
    has although nothing is held for it any more.
    """
    state.held -= held
    state.spent += spent
    state.overrun += max(0, spent - ceiling)
    state.changed = True
