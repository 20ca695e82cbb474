"""/admin/v1/alerts: what was told to whom, what could not be delivered, and the test button.

A destination is named, never described: where it is, is known to routes.yaml and the environment.
A role for one team sees what concerns the budgets of its team, and not where it went.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field

from gateway.alerts.alerting import Alerting
from gateway.alerts.outbox import DEAD, SENT, WAITING, Delivery, Outbox
from gateway.callers.roles import Principal
from gateway.clock import to_text
from gateway.doors.admin import office_router
from gateway.doors.directory import Body
from gateway.doors.policy import Acting, Guard
from gateway.errors import NotFound
from gateway.jobs.routes import Routes

DeliveryId = Annotated[str, Path(pattern=r"^dlv_[0-9a-f]{16}$")]


class TestToSend(Body):
    """Which destination of routes.yaml a test goes to."""

    destination: Annotated[str, Field(min_length=1, max_length=32)]


def alerts_router(
    guard: Guard,
    alerting: Alerting,
    live: Callable[[], Routes],
    sees: Callable[[Principal], Callable[[str, str], bool]],
) -> APIRouter:
    """The endpoints."""
    router = office_router(guard, "alerts")
    outbox = alerting.outbox

    @router.get("/alerts")
    def alerts(
        actor: Acting,
        state: Annotated[Literal["waiting", "sent", "dead"] | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> dict[str, Any]:
        """Deliveries, the newest first; and the destinations, for those who see all of them."""
        found = outbox.newest(state, limit)
        if actor.principal.role.team is None:
            return {
                "deliveries": [told_delivery(one) for one in found],
                "counts": {one: outbox.count(one) for one in (WAITING, SENT, DEAD)},
                "destinations": told_destinations(live()),
            }
        seen = sees(actor.principal)
        told = []
        for one in found:
            message = one.read()
            if message.budget and seen(message.budget, message.subject):
                told.append({**told_delivery(one), "destination": None})
        return {"deliveries": told}

    @router.post("/alerts/test")
    async def test(body: TestToSend) -> dict[str, Any]:
        """Send a test to a destination now; `state` says whether it has arrived."""
        return told_delivery(await alerting.test(body.destination))

    @router.post("/alerts/{delivery_id}/retry")
    def retry(delivery_id: DeliveryId) -> dict[str, Any]:
        """Try a delivery again that was given up."""
        return told_delivery(retried(outbox, delivery_id, alerting.now()))

    return router


def retried(outbox: Outbox, delivery_id: str, now: int) -> Delivery:
    """A dead delivery, brought back to life. Raises NotFound when it is not dead, or not there."""
    if not outbox.retry([delivery_id], now):
        raise NotFound(
            f"no delivery {delivery_id!r} was given up; see `jobgate alerts dead`, or"
            " GET /admin/v1/alerts?state=dead"
        )
    found = outbox.find(delivery_id)
    assert found is not None  # noqa: S101 - it was there a moment ago, and nothing deletes it
    return found


def told_delivery(delivery: Delivery) -> dict[str, Any]:
    """A delivery as it is told: its times readable, its page left out."""
    message = delivery.read()
    waits = delivery.state == WAITING
    return {
        "id": delivery.id,
        "destination": delivery.destination,
        "state": delivery.state,
        "kind": message.kind,
        "severity": message.severity,
        "title": message.title,
        "text": message.text,
        "facts": message.facts,
        "attempts": delivery.attempts,
        "created_at": to_text(delivery.created_at),
        "due_at": to_text(delivery.due_at) if waits else None,
        "ended_at": None if waits else to_text(delivery.ended_at),
        "error": delivery.error,
    }


def told_destinations(rules: Routes) -> list[dict[str, Any]]:
    """The destinations by name, and what each is told of; never where they are."""
    return [
        {
            "name": one.name,
            "kind": one.kind,
            "on": sorted(one.kinds),
            "budgets": None if one.budgets is None else sorted(one.budgets),
            "digest": sorted(one.digests),
            "quiet_hours": one.waits,
            "residency": one.residency,
        }
        for one in rules.alerts.destinations.values()
    ]
