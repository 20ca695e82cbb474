"""/admin/v1/sessions: who is signed in to the pages, and ending the sessions of somebody."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter
from pydantic import Field

from gateway.callers.signed_in import SignedIn, Sitting
from gateway.clock import to_text
from gateway.doors.admin import office_router
from gateway.doors.directory import Body
from gateway.doors.policy import Acting, Guard

NAME_LENGTH = 500


class WhoseToEnd(Body):
    """Whose sessions end: the name as the list has it, a person's or a key's id."""

    name: Annotated[
        str, Field(min_length=1, max_length=NAME_LENGTH, examples=["ann@example.com <7f3a>"])
    ]


def sessions_router(guard: Guard, signed_in: SignedIn) -> APIRouter:
    """The endpoints."""
    router = office_router(guard, "sessions")

    @router.get("/sessions")
    def sessions(actor: Acting) -> dict[str, Any]:
        """Who is signed in to the pages, oldest first."""
        return {"sessions": [told_sitting(one) for one in signed_in.all(actor.principal)]}

    @router.post("/sessions/end")
    def end_sessions(actor: Acting, body: WhoseToEnd) -> dict[str, Any]:
        """End every session of a person or a key, at once and in every process."""
        return {"ended": signed_in.end(body.name, actor.by, actor.principal)}

    return router


def told_sitting(one: Sitting) -> dict[str, Any]:
    """A session as it is told: its times readable."""
    told = msgspec.structs.asdict(one)
    return {
        **told,
        "created_at": to_text(one.created_at),
        "expires_at": to_text(one.expires_at),
    }
