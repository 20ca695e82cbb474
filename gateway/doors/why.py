"""/admin/v1/requests/{id}: why a request went as it did, also one that was refused just now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path

from gateway.callers.roles import Principal
from gateway.clock import to_text
from gateway.doors.admin import office_router
from gateway.doors.policy import Acting, Guard
from gateway.doors.refusals import KEPT_AT_MOST, Refusal, Refusals
from gateway.errors import NotFound
from gateway.insight.explaining import Explainer, told_job, told_passed

REFUSED = "refused"
RequestId = Annotated[str, Path(max_length=128)]
Sees = Callable[[Principal], Callable[[str, str], bool]]
"""Given who asks: whether they see a budget, by its name, for a subject."""


@dataclass(frozen=True, slots=True)
class Why:
    """Where the decision of a request is found: in the books, or among the last refusals."""

    explainer: Explainer
    refusals: Refusals
    sees: Sees

    def told(self, principal: Principal, request_id: str) -> dict[str, Any]:
        """The decision of a request, as far as somebody may see it. Blocks.

        Raises NotFound when nothing is known of it, and DatabaseDown.
        """
        explained, refusal = self.explainer.of(request_id), self.refusals.of(request_id)
        if refusal is not None and not principal.reaches(refusal.team):
            refusal = None
        if explained is not None and principal.reaches(explained.team):
            seen = self.sees(principal)
            for attempt in explained.told["attempts"]:
                _leave_out(attempt, seen)
            return explained.told | {"refusal": refusal and told_refusal(refusal)}
        if refusal is not None:
            return _page_of(refusal)
        raise NotFound(
            f"nothing is known of a request {request_id!r}. A refused one leaves no entry: its"
            f" answer said why, and this process remembers its last {KEPT_AT_MOST:,} refusals",
            param="request_id",
        )


def why_router(guard: Guard, why: Why) -> APIRouter:
    """The endpoint."""
    router = office_router(guard, "admin")

    @router.get("/requests/{request_id}")
    def request(actor: Acting, request_id: RequestId) -> dict[str, Any]:
        """The whole decision of one request: who asked, the job and the rule that chose it, the
        targets, what was changed, the bound, budgets, attempts, usage, prices and corrections."""
        return why.told(actor.principal, request_id)

    return router


def told_refusal(refusal: Refusal) -> dict[str, Any]:
    """The answer that a caller got, without words that may quote the request."""
    told = msgspec.structs.asdict(refusal)
    return {
        **{name: told[name] for name in ("status", "code", "message", "details", "retry")},
        "at": to_text(refusal.at),
        "passed_over": told_passed(refusal.decision.passed),
    }


def _page_of(refusal: Refusal) -> dict[str, Any]:
    """A request that the books know nothing of, because nothing was held for it."""
    passed = told_passed(refusal.decision.passed)
    return {
        "request_id": refusal.request_id,
        "state": REFUSED,
        "asked_by": {name: getattr(refusal, name) for name in ("key_id", "team", "app")},
        "job": told_job(refusal.job, refusal.decision) if refusal.job else None,
        "targets": passed,
        "attempts": [],
        "amount_nanos": 0,
        "refusal": told_refusal(refusal),
    }


def _leave_out(attempt: dict[str, Any], seen: Callable[[str, str], bool]) -> None:
    """Budgets that are not the team's of who asks are counted, and not shown."""
    shown = [b for b in attempt["budgets"] if seen(b["budget"], b["subject"])]
    attempt["budgets_not_shown"] = len(attempt["budgets"]) - len(shown)
    attempt["budgets"] = shown
