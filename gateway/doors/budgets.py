"""/admin/v1/budgets and /admin/v1/raises: how budgets stand, and more money for one for a while.

What routes.yaml says of budgets is changed there and nowhere else, and a key keeps the budget that
it was made with; here they are raised until a moment, with a reason. No role for one team does
that: a team does not move its own limits.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path
from pydantic import Field

from gateway.clock import to_micros, to_text
from gateway.doors.admin import office_router
from gateway.doors.directory import Body
from gateway.doors.keys import Moment
from gateway.doors.policy import Acting, Guard
from gateway.errors import BadRequest
from gateway.money import format_dollars
from gateway.treasury.desk import BudgetDesk
from gateway.treasury.raises import Raise, budget_to_raise, parse_amount
from gateway.treasury.standing import Standing

Reason = Annotated[str, Field(min_length=1, max_length=500, examples=["the spring launch"])]
RaiseId = Annotated[str, Path(pattern=r"^raise_[0-9a-f]{12}$")]
_TIMES = ("starts_at", "until", "created_at")
_AMOUNTS = ("limit", "spent", "held", "left")


class RaiseToGrant(Body):
    """More for a budget, until a moment."""

    budget: Annotated[str, Field(max_length=200)]
    """Its name in routes.yaml, or a key's id for the key's own."""
    subject: Annotated[str, Field(max_length=200)] = ""
    """The team, app, job, tag value or key; empty for every one."""
    amount: Annotated[str, Field(max_length=30, examples=["100"])]
    """In the budget's unit; dollars for money."""
    until: Moment
    reason: Reason


class RaiseToEnd(Body):
    """Why a raise ends before its time."""

    reason: Reason


def budgets_router(guard: Guard, desk: BudgetDesk) -> APIRouter:
    """The endpoints."""
    router = office_router(guard, "budgets")

    @router.get("/budgets")
    def budgets(actor: Acting) -> dict[str, Any]:
        """Every budget now: its limit, and what is spent, held and left of it."""
        seen = desk.sees(actor.principal)
        found = [s for s in desk.standings() if seen(s.budget, s.subject)]
        return {"budgets": [told_standing(standing) for standing in found]}

    @router.get("/raises")
    def raises(actor: Acting) -> dict[str, Any]:
        """Every raise there was, and every one that was ended early, oldest first."""
        seen = desk.sees(actor.principal)
        rows = [row for row in desk.book.all() if seen(row.budget, row.subject)]
        return {"raises": [told_raise(row) for row in rows]}

    @router.post("/raises", status_code=201)
    def grant_raise(actor: Acting, body: RaiseToGrant) -> dict[str, Any]:
        """Raise a budget until a moment, with a reason."""
        budget = budget_to_raise(desk.budgets(), body.budget, body.subject)
        granted = desk.book.grant(
            budget.name,
            body.subject,
            parse_amount(body.amount, budget),
            until=to_micros(body.until),
            reason=_printable(body.reason),
            by=actor.by,
        )
        return told_raise(granted)

    @router.post("/raises/{raise_id}/end")
    def end_raise(actor: Acting, raise_id: RaiseId, body: RaiseToEnd) -> dict[str, Any]:
        """End a raise now; the answer is the row that takes it back."""
        return told_raise(desk.book.withdraw(raise_id, reason=_printable(body.reason), by=actor.by))

    return router


def told_raise(row: Raise) -> dict[str, Any]:
    """A raise as it is told: its times readable."""
    return {
        **msgspec.structs.asdict(row),
        **{name: to_text(getattr(row, name)) for name in _TIMES},
    }


def told_standing(standing: Standing) -> dict[str, Any]:
    """How a budget stands, as it is told; amounts in its unit, and money in dollars too."""
    told = msgspec.structs.asdict(standing)
    del told["starts_at"]
    ends_at = told.pop("ends_at")
    told["resets_at"] = None if standing.period == "forever" else to_text(ends_at)
    told["raises"] = [told_raise(row) for row in standing.raises]
    if standing.unit == "usd":
        told |= {f"{name}_usd": format_dollars(told[name]) for name in _AMOUNTS}
    return told


def _printable(text: str) -> str:
    if not text.isprintable():
        raise BadRequest("reason: one line of text that can be printed", param="reason")
    return text
