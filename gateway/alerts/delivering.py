"""Delivering what the outbox has: who takes what, when it is tried again, when it is given up."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable

from gateway.alerts.mailing import NotDelivered
from gateway.alerts.messages import about_nothing
from gateway.alerts.outbox import PAUSES, Alert, Delivery, Letter, Outbox
from gateway.alerts.quiet import heard_at
from gateway.alerts.sending import Sender
from gateway.clock import MICROS, Clock
from gateway.errors import NotFound
from gateway.jobs.problems import nearest
from gateway.jobs.routes import Routes

log = logging.getLogger(__name__)

_TEST = "test|"
"""How the key of a test begins; it is tried once."""
_TESTS_KEPT_SECONDS = 86_400


class Deliveries:
    """Brings what is due to where it belongs, by the rules that are live."""

    def __init__(
        self, outbox: Outbox, sender: Sender, live: Callable[[], Routes], clock: Clock
    ) -> None:
        self.outbox, self._sender, self._live, self._clock = outbox, sender, live, clock

    async def deliver(self) -> int:
        """Deliver what is due now; returns how many were tried. Raises DatabaseDown."""
        taken = await asyncio.to_thread(self.outbox.take, self._clock.now())
        await asyncio.gather(*(self._try(one) for one in taken))
        return len(taken)

    async def test(self, destination: str) -> Delivery:
        """Send a test to a destination now, once; returns how it went.

        Raises NotFound when routes.yaml has no such destination, and DatabaseDown.
        """
        rules, now = self._live(), self._clock.now()
        known = rules.alerts.destinations
        if destination not in known:
            hint = nearest(destination, known)
            raise NotFound(f"routes.yaml has no destination {destination!r}{hint}")
        message = about_nothing(destination, rules.organisation)
        key = f"{_TEST}{secrets.token_hex(8)}"
        alert = Alert(
            key,
            now + _TESTS_KEPT_SECONDS * MICROS,
            [Letter(destination, message, urgent=True, due_at=now)],
        )
        (delivery,) = await asyncio.to_thread(self.outbox.tell_and_take, alert, now)
        return await self._try(delivery)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._sender.aclose()

    async def _try(self, delivery: Delivery) -> Delivery:
        rules = self._live()
        try:
            note = await self._sender.send(delivery, rules)
        except NotDelivered as failure:
            again = self._again(delivery, rules)
            how = (
                "is tried again" if again is not None else "is given up; see `jobgate alerts dead`"
            )
            level = logging.INFO if delivery.alert.startswith(_TEST) else logging.WARNING
            told = (delivery.id, delivery.destination, how, failure)
            log.log(level, "alert %s for %s %s: %s", *told)
            return await asyncio.to_thread(
                self.outbox.failed, delivery, self._clock.now(), str(failure), again
            )
        return await asyncio.to_thread(self.outbox.sent, delivery, self._clock.now(), note)

    def _again(self, delivery: Delivery, rules: Routes) -> int | None:
        """When to try again, not in quiet hours unless it is urgent; None for never."""
        destination = rules.alerts.destinations.get(delivery.destination)
        tries = 1 if delivery.alert.startswith(_TEST) else len(PAUSES) + 1
        if delivery.attempts >= tries or destination is None:
            return None
        moment = self._clock.now() + PAUSES[delivery.attempts - 1] * MICROS
        if delivery.urgent or not destination.waits:
            return moment
        return heard_at(moment, rules.alerts.quiet, rules.time_zone)
