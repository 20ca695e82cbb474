"""One attempt to deliver a message: a signed webhook, a Slack-compatible one, or an e-mail.

Promises: nothing is talked to but the address that routes.yaml or the environment names; redirects
are not followed and proxies of the environment not used; nothing but NotDelivered and cancellation
comes out, and neither an address nor a secret is in what it says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec

from gateway.alerts.mailing import NotDelivered, composed, hand_over
from gateway.alerts.messages import Message
from gateway.alerts.outbox import Delivery
from gateway.alerts.signing import signed_headers
from gateway.clock import Clock, to_text
from gateway.jobs.alert_resolving import wrong_with_address
from gateway.jobs.alert_rules import Destination
from gateway.jobs.routes import Routes

_TIMEOUT_SECONDS = 10.0
_SLACK_LENGTH = 3000


class Sender:
    """Sends; holds connections to webhooks until it is closed."""

    def __init__(self, environment: Mapping[str, str], clock: Clock) -> None:
        self._environment, self._clock = environment, clock
        self._session: aiohttp.ClientSession | None = None

    async def send(self, delivery: Delivery, rules: Routes) -> str:
        """Deliver it now; returns what was odd, or nothing. Raises NotDelivered."""
        destination = rules.alerts.destinations.get(delivery.destination)
        if destination is None:
            raise NotDelivered("routes.yaml has no such destination any more")
        message = delivery.read()
        if destination.kind == "email":
            return await self._mail(destination, delivery, message, rules)
        if destination.kind == "slack":
            await self._post(destination, slack_body(message), {})
            return ""
        body = webhook_body(delivery, message, rules.organisation)
        secret = self._variable(destination.secret_env)
        headers = signed_headers(secret, delivery.id, body, self._clock.now())
        await self._post(destination, body, headers)
        return ""

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _mail(
        self, destination: Destination, delivery: Delivery, message: Message, rules: Routes
    ) -> str:
        mail = rules.alerts.mail
        if mail is None:
            raise NotDelivered("routes.yaml has no alerts.email any more")
        password = None if mail.username is None else self._variable(mail.password_env)
        email = composed(mail, destination, delivery, message, rules.organisation)
        return await asyncio.to_thread(hand_over, mail, password, email)

    async def _post(self, destination: Destination, body: bytes, more: Mapping[str, str]) -> None:
        url = destination.url or self._variable(destination.url_env)
        if wrong_with_address(url) is not None:
            raise NotDelivered(f"the variable {destination.url_env} has no address in it")
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout, trust_env=False)
        headers = {"Content-Type": "application/json", "User-Agent": "Jobgate", **more}
        try:
            async with self._session.post(
                url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                status = answer.status
        except TimeoutError:
            raise NotDelivered(f"no answer in {_TIMEOUT_SECONDS:g} seconds") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NotDelivered(f"no answer: {type(error).__name__}") from None
        if not 200 <= status < 300:
            raise NotDelivered(f"it answered {status}")

    def _variable(self, name: str | None) -> str:
        value = self._environment.get(name or "", "").strip()
        if not value:
            raise NotDelivered(f"the variable {name} is not set")
        return value


def webhook_body(delivery: Delivery, message: Message, organisation: str) -> bytes:
    """What a webhook gets, as JSON; the same bytes in every attempt."""
    told: dict[str, Any] = {
        "id": delivery.id,
        "kind": message.kind,
        "severity": message.severity,
        "organisation": organisation,
        "at": to_text(delivery.created_at),
        "title": message.title,
        "text": message.text,
        "facts": message.facts,
    }
    return msgspec.json.encode(told | ({"html": message.html} if message.html else {}))


def slack_body(message: Message) -> bytes:
    """What Slack and its like understand: a text in which three characters mean something."""
    title, text = (_escaped(part) for part in (message.title, message.text))
    return msgspec.json.encode({"text": f"*{title}*\n{text}"[:_SLACK_LENGTH]})


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
