"""/admin/v1: the books and the keys, for keys with a role."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request

from gateway.callers.callers import ADMIN, FINANCE
from gateway.clock import to_text
from gateway.doors.entrance import Entrance, read_headers
from gateway.errors import NotFound
from gateway.ledger.queries import Ledger
from gateway.metering.usage import CLASSES


def admin_router(entrance: Entrance, ledger: Ledger) -> APIRouter:
    """The endpoints, given whom to ask."""

    async def reader(request: Request) -> None:
        """Lets in who may read the books; guessing is slowed down here as everywhere."""
        caller = await entrance.caller(request.scope, read_headers(request.scope))
        caller.must_be(ADMIN, FINANCE)

    router = APIRouter(prefix="/admin/v1", tags=["admin"])

    @router.get("/entries", dependencies=[Depends(reader)])
    def entries(
        request_id: Annotated[str, Query(min_length=1, max_length=128)],
    ) -> dict[str, Any]:
        """Every ledger entry of one request (keys with the role admin or finance)."""
        found = [_entry(row) for row in ledger.entries_of(request_id)]
        if not found:
            raise NotFound(f"no entry has the request id {request_id!r}", param="request_id")
        return {"request_id": request_id, "entries": found}

    return router


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    """An entry as it is told: times readable, texts that are JSON taken apart."""
    usage = {name: row[name] for name in CLASSES}
    rest = {n: v for n, v in row.items() if n not in (*CLASSES, "org", "balances", "prices")}
    return {
        **rest,
        "admitted_at": to_text(row["admitted_at"]),
        "recorded_at": to_text(row["recorded_at"]),
        "stream": bool(row["stream"]),
        "confined": bool(row["confined"]),
        "tags": json.loads(row["tags"] or "{}"),
        "unit_prices": json.loads(row["prices"] or "null"),
        "usage": usage,
        **usage,
    }
