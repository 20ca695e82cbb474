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

from dataclasses import dataclass

import msgspec

from gateway.jobs.routes import Budget


@dataclass(slots=True)
class State:
    """A balance while its row is locked; amounts in the budget's own unit."""

    id: int
    unit: str
    spent: int
    held: int
    overrun: int
    limit: int
    hard: bool
    changed: bool = False


class Line(msgspec.Struct, frozen=True):
    """What one request wants of one balance."""

    budget: Budget
    subject: str
    starts_at: int
    ends_at: int
    amount: int


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why a request does not go: which line, and what the balance was at that moment."""

    line: Line
    spent: int
    held: int
    for_good: bool
    """True when it could not fit even if every open hold settled at nothing."""


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
        if state.spent + line.amount > line.budget.limit:
            return Shortage(line, state.spent, state.held, for_good=True)
        full = state.spent + state.held + line.amount > line.budget.limit
        if shortage is None and (full or state.id in waited_for):
            shortage = Shortage(line, state.spent, state.held, for_good=False)
    if shortage is not None:
        if waits:
            waited_for.update(state.id for line, state in lines if line.budget.hard and line.amount)
        return shortage
    for line, state in lines:
        if line.amount:
            state.held += line.amount
            state.limit, state.hard = line.budget.limit, line.budget.hard
            state.changed = True
    return None


def give_back(state: State, held: int, spent: int, ceiling: int) -> None:
    """End a hold: what was held is free, what was spent is spent, what went over is counted.

    `ceiling` is what the entry could cost, which a correction of a hold that has lapsed still
    has although nothing is held for it any more.
    """
    state.held -= held
    state.spent += spent
    state.overrun += max(0, spent - ceiling)
    state.changed = True
