"""/admin/v1: who I am, the books of one request, the log of changes, the rules that are live."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import Response

from gateway.callers.changes import PAGE, ChangeLog, Recorded
from gateway.callers.roles import Principal
from gateway.clock import to_text
from gateway.doors.policy import BODY_BYTES_AT_MOST, Acting, Guard, guarded
from gateway.errors import NotFound
from gateway.jobs.canary import described
from gateway.jobs.routes import Routes
from gateway.ledger.queries import Ledger
from gateway.ledger.rendering import inert
from gateway.ledger.telling import told_entry
from gateway.store.database import Database

CHANGE_COLUMNS = tuple(name for name in Recorded.__struct_fields__ if name != "previous")
"""What is told of a change, in this order."""


def office_router(guard: Guard, *tags: str, most: int = BODY_BYTES_AT_MOST) -> APIRouter:
    """An empty router under /admin/v1 whose every route passes the guard, with bodies of so many
    bytes at `most`."""
    return APIRouter(
        prefix="/admin/v1",
        tags=list(tags),
        route_class=guarded(guard),
        max_body_size=most,
    )


def admin_router(guard: Guard, ledger: Ledger, live: Callable[[], Routes]) -> APIRouter:
    """The endpoints, given whom to ask."""
    router = office_router(guard, "admin")

    @router.get("/me")
    def me(actor: Acting) -> dict[str, Any]:
        """Who this key is, and what it may do."""
        role = actor.principal.role
        return {
            "name": actor.principal.name,
            "role": str(role),
            "team": role.team,
            "permissions": sorted(role.permissions),
        }

    @router.get("/entries")
    def entries(
        actor: Acting, request_id: Annotated[str, Query(min_length=1, max_length=128)]
    ) -> dict[str, Any]:
        """Every ledger entry of one request."""
        rows = ledger.entries_of(request_id)
        found = [told_entry(row) for row in rows if actor.principal.reaches(row["team"])]
        if not found:
            raise NotFound(f"no entry has the request id {request_id!r}", param="request_id")
        return {"request_id": request_id, "entries": found}

    @router.get("/routes")
    def routes() -> dict[str, Any]:
        """The routing rules that are live: their version, and each job in short."""
        rules = live()
        jobs = [
            {
                "name": job.name,
                "purpose": job.purpose,
                "owner": job.owner,
                "targets": [target.name for target in job.targets],
                "canary": described(job),
                "residency": job.residency,
            }
            for job in rules.jobs.values()
        ]
        return {"version": rules.version, "jobs": jobs, "aliases": dict(rules.aliases)}

    return router


def changes_router(guard: Guard, database: Database, org: str) -> APIRouter:
    """The log of changes, to be read page by page."""
    router = office_router(guard, "admin")
    log = ChangeLog(org, database.engine_name)

    @router.get(
        "/changes",
        response_model=None,
        responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
    )
    def changes(
        actor: Acting,
        after: Annotated[int, Query(ge=0, le=2**62)] = 0,
        limit: Annotated[int, Query(ge=1, le=PAGE)] = 100,
        subject: Annotated[str | None, Query(max_length=200)] = None,
        output: Annotated[Literal["json", "csv"], Query(alias="format")] = "json",
    ) -> Response | dict[str, Any]:
        """Who changed what, oldest first, from after a number on; `next` is the next page's."""
        found: list[Recorded] = []
        following: int | None = None
        with database.reading() as cursor:
            for row in log.read(cursor, after):
                if not _shows(row, actor.principal, subject):
                    continue
                if len(found) == limit:
                    following = found[-1].number
                    break
                found.append(row)
        if output == "csv":
            return Response(changes_csv(found), media_type="text/csv; charset=utf-8")
        return {"changes": [told_change(row) for row in found], "next": following}

    return router


def told_change(row: Recorded) -> dict[str, Any]:
    """A change as it is told: its time readable, its JSON taken apart."""
    told = msgspec.structs.asdict(row)
    told |= {name: json.loads(told[name] or "null") for name in ("before", "after")}
    return {name: to_text(row.at) if name == "at" else told[name] for name in CHANGE_COLUMNS}


def changes_csv(rows: list[Recorded]) -> str:
    """Changes as CSV; what a spreadsheet would take for a formula is made inert."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CHANGE_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        told = msgspec.structs.asdict(row) | {"at": to_text(row.at)}
        writer.writerow({name: inert(value) for name, value in told.items()})
    return text.getvalue()


def _shows(row: Recorded, principal: Principal, subject: str | None) -> bool:
    return principal.reaches(row.team) and subject in (None, row.subject)
