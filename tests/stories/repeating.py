"""A caller who sends a request again: raw HTTP with an Idempotency-Key of its own choice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.gateways import RunningGateway
from tests.stories.front_door import QUESTION, Told

KEY = "order-4711"
CHAT = "/v1/chat/completions"
BODIES: Mapping[str, dict[str, Any]] = {
    CHAT: {"model": "extraction", "messages": QUESTION},
    "/v1/embeddings": {"model": "extraction", "input": ["a text"]},
    "/v1/responses": {"model": "extraction", "input": "Say something."},
    "/v1/messages": {"model": "narrative", "messages": QUESTION, "max_tokens": 50},
}
"""A request for each door."""


@dataclass(frozen=True, slots=True)
class Repeater:
    """Asks a gateway with one API key."""

    url: str
    secret: str
    http: aiohttp.ClientSession

    async def ask(self, key: str | None = KEY, path: str = CHAT, **fields: Any) -> Told:
        """A request whose body has these fields beside the usual ones."""
        headers = {"authorization": f"Bearer {self.secret}"}
        if key is not None:
            headers["idempotency-key"] = key
        body = BODIES[path] | fields
        async with self.http.post(self.url + path, json=body, headers=headers) as answer:
            return Told(answer.status, answer.headers, await answer.read())


@asynccontextmanager
async def repeating(gateway: RunningGateway, secret: str | None = None) -> AsyncIterator[Repeater]:
    """A caller with a key of its own, or with this one, which the gateway then looks up."""
    gateway.gateway._fresh.refresh()
    async with aiohttp.ClientSession() as http:
        yield Repeater(gateway.url, secret or gateway.key(), http)


def request_id(told: Told) -> str:
    return told.headers["x-jobgate-request-id"]


def is_replayed(told: Told) -> bool:
    return told.headers.get("x-jobgate-replayed") == "true"


def firsts(answers: Iterable[Told]) -> list[Told]:
    """Those that were not repeats."""
    return [told for told in answers if not is_replayed(told)]


def told_of_the_first(repeat: Told) -> dict[str, Any]:
    """What a repeat is told whose answer is not there any more."""
    assert repeat.status == 409
    assert repeat.error["code"] == "duplicate_request"
    assert repeat.headers["x-should-retry"] == "false"
    details: dict[str, Any] = repeat.error["details"]
    assert details["request_id"] in repeat.error["message"]
    assert details["request_id"] in details["entries"]
    return details


def is_under_way(repeat: Told) -> bool:
    """Whether the repeat was told to ask again in a moment."""
    return (
        repeat.status == 409
        and repeat.error["code"] == "duplicate_request"
        and repeat.headers["x-should-retry"] == "true"
        and int(repeat.headers["retry-after"]) > 0
    )


def rows(gateway: RunningGateway) -> list[tuple[Any, ...]]:
    """The claims in the database: request id, state, status."""
    with gateway.gateway.database.reading() as cursor:
        return cursor.rows("SELECT request_id, state, status FROM idempotency", {})


def change_rows(gateway: RunningGateway, **values: Any) -> None:
    """Put the claims into the state in which a process that was killed would have left them."""
    named = ", ".join(
        f"{name} = :{name}" if gateway.gateway.database.is_sqlite else f"{name} = %({name})s"
        for name in values
    )
    with gateway.gateway.database.writing() as cursor:
        cursor.run(f"UPDATE idempotency SET {named}", values)
