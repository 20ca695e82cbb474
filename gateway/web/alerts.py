"""Alerts: who is told of what, what was told lately, what could not be delivered, and a test.

A destination is named and never described: its address is known to routes.yaml and the environment.
"""

from __future__ import annotations

from gateway.alerts.alerting import Alerting
from gateway.alerts.outbox import DEAD, SENT, WAITING
from gateway.errors import NotFound
from gateway.web.pages import Answer, Errand, Html, Page, Redirect, Visit
from gateway.web.sources import Sources

PLACE = "/alerts"
_SHOWN = 50


def alerts_pages(sources: Sources, alerting: Alerting) -> list[Page]:
    """The pages of this room."""
    outbox = alerting.outbox

    def listed(_visit: Visit) -> Html:
        newest, dead = outbox.newest(None, _SHOWN), outbox.newest(DEAD, _SHOWN)
        return Html(
            "alerts.html",
            {
                "destinations": sources.live().alerts.destinations.values(),
                "deliveries": [(one, one.read()) for one in newest],
                "dead": [(one, one.read()) for one in dead],
                "counts": {state: outbox.count(state) for state in (WAITING, SENT, DEAD)},
                "at_most": _SHOWN,
            },
        )

    def test(visit: Visit) -> Answer:
        destination = visit.form.get("destination", "")

        async def sent() -> Answer:
            delivery = await alerting.test(destination)
            if delivery.state == SENT:
                return Redirect(PLACE, f"{destination} has taken the test.")
            return Redirect(PLACE, f"{destination} did not get the test: {delivery.error}.")

        return Errand(sent)

    def retry(visit: Visit) -> Redirect:
        if not outbox.retry([visit.path["delivery_id"]], alerting.now()):
            raise NotFound("no such delivery was given up")
        return Redirect(PLACE, "It is tried again now.")

    return [
        Page("GET", PLACE, listed),
        Page("POST", f"{PLACE}/test", test),
        Page("POST", f"{PLACE}/{{delivery_id}}/retry", retry),
    ]
