"""May this request go? Decided on balances that are locked, and changed, in memory.

Three answers (laws 4 and 5):

    fits    every hard budget in scope has room for the ceiling: the room is taken
    wait    there would be room if open holds settled at nothing: ask again when one has ended
    never   some hard budget has spent too much already, whatever the open holds come to

Waiting is in arrival order for each balance: whoever comes later does not overtake, however
small, so a large request is not starved; the wait is bounded, so it does not starve others.
"""

from __future__ import annotations

from collections.abc import Sequence
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


def decide(lines: list[tuple[Line, State]], waited_for: set[int]) -> Shortage | None:
    """None when all lines fit, and then their room is taken; else why not.

    `waited_for` holds the balances that an earlier request waits for; a request that has to
    wait adds its own.
    """
    shortage: Shortage | None = None
    for line, state in lines:
        if not line.budget.hard:
            continue
        if state.spent + line.amount > line.budget.limit:
            return Shortage(line, state.spent, state.held, for_good=True)
        full = state.spent + state.held + line.amount > line.budget.limit
        if shortage is None and (full or (state.id in waited_for and line.amount > 0)):
            shortage = Shortage(line, state.spent, state.held, for_good=False)
    if shortage is not None:
        waited_for.update(state.id for line, state in lines if line.budget.hard and line.amount)
        return shortage
    for line, state in lines:
        state.held += line.amount
        state.limit = line.budget.limit
        state.changed = True
    return None


def give_back(states: Sequence[State], held: Sequence[int], spent: Sequence[int]) -> None:
    """End a hold: what was held is free, what was spent is spent, what went over is counted."""
    for state, was_held, was_spent in zip(states, held, spent, strict=True):
        state.held -= was_held
        state.spent += was_spent
        state.overrun += max(0, was_spent - was_held)
        state.changed = True
