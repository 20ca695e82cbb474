"""What an Idempotency-Key is, what makes two requests the same, and what a repeat can be told.

Promises: what is written down of a request can be compared with another one by whoever has its
idempotency key, and says nothing to anybody else (law 13).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from dataclasses import dataclass

from gateway.errors import BadRequest, Duplicate, Unavailable
from gateway.pipeline.asked import usd
from gateway.treasury.claims import Booked, Claim, Name

HEADER = "Idempotency-Key"
KEY_LENGTH = 255
_ASK_AGAIN_SECONDS = 2.0
_HASHED_ON_THE_LOOP = 512 * 1024
"""Bytes that are hashed in less than a millisecond; more is done by a thread."""


class UnderWay(Duplicate):
    """The first with this key has not ended; asking again later helps."""

    retry = True


@dataclass(frozen=True, slots=True)
class Question:
    """What makes two requests the same."""

    key: str
    """The Idempotency-Key, as the caller sent it."""
    key_id: str
    """The API key for which it counts."""
    parts: tuple[bytes, ...]
    """The body, and all else that decides what is done with it."""


def check_key(key: str) -> None:
    """Raises BadRequest for an Idempotency-Key that is not one."""
    if not 0 < len(key) <= KEY_LENGTH or not key.isprintable():
        raise BadRequest(f"{HEADER} must have 1 to {KEY_LENGTH} printable characters", param=HEADER)


async def digests(question: Question) -> tuple[Name, str]:
    """The name, and a digest of the request that says nothing without the idempotency key."""
    key = question.key.encode()
    name = Name(question.key_id, hashlib.sha256(key).hexdigest())

    def of_the_body() -> str:
        digest = hmac.new(key, digestmod="sha256")
        for part in question.parts:
            digest.update(b"%d:" % len(part))
            digest.update(part)
        return digest.hexdigest()

    if sum(map(len, question.parts)) > _HASHED_ON_THE_LOOP:
        return name, await asyncio.to_thread(of_the_body)
    return name, of_the_body()


def another_body() -> BadRequest:
    """The key names another request already."""
    return BadRequest(
        f"this {HEADER} was used for another request; a new request needs a new key", param=HEADER
    )


def under_way(request_id: str) -> UnderWay:
    """The first may still be under way, here or elsewhere."""
    return UnderWay(
        f"the first request with this {HEADER} is under way; ask again for its answer",
        param=HEADER,
        retry_after=_ASK_AGAIN_SECONDS,
        details={"request_id": request_id},
    )


def over(claim: Claim, booked: Booked) -> Duplicate:
    """The first has ended, and its answer is not here: what became of it instead."""
    look = f"/admin/v1/entries?request_id={claim.request_id}"
    return Duplicate(
        f"the first request with this {HEADER} has ended and its answer is not kept any more;"
        f" it was {claim.request_id}, and this repeat was not charged. Its entries are at {look}"
        " (keys with the role admin or finance); to ask anew, use a new key",
        param=HEADER,
        details={
            "request_id": claim.request_id,
            "status": claim.status or None,
            "outcome": booked.outcome,
            "cost_usd": usd(booked.amount_nanos).decode(),
            "entries": look,
        },
    )


def books_are_down() -> Unavailable:
    """Nobody can tell first from repeat now."""
    return Unavailable(
        "the books are out of reach, so it cannot be told whether this request is a repeat;"
        " try again shortly",
        retry_after=2.0,
    )
