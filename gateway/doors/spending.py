"""/admin/v1/spend: what was spent, by any dimensions, in any period and time zone.

The same question as `jobgate report`, and the same answer, to the nano. A role for one team is
told what that team spent, and nothing of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import APIRouter, Query
from starlette.responses import Response

from gateway.clock import Clock, to_text
from gateway.doors.admin import office_router
from gateway.doors.policy import Acting, Guard
from gateway.errors import BadRequest, ConfigurationError, Conflict, NotFound
from gateway.jobs.routes import Routes
from gateway.ledger.days import period_between
from gateway.ledger.queries import DIMENSIONS, SUMS, Ledger, Range
from gateway.ledger.rendering import spend_csv
from gateway.money import format_dollars

_ONE = "|".join(DIMENSIONS)
_TIME = Annotated[
    str,
    Query(
        max_length=40,
        description="A day such as 2026-11-01, or a moment.",
        json_schema_extra={"anyOf": [{"const": ""}, {"format": "date"}, {"format": "date-time"}]},
    ),
]


def spending_router(
    guard: Guard, ledger: Ledger, live: Callable[[], Routes], clock: Clock
) -> APIRouter:
    """The endpoint, given whom to ask."""
    router = office_router(guard, "books")

    @router.get(
        "/spend",
        response_model=None,
        responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
    )
    def spend(
        actor: Acting,
        by: Annotated[
            str,
            Query(
                max_length=200,
                description=f"Any of {', '.join(DIMENSIONS)}, with commas between them.",
                json_schema_extra={"pattern": f"^(({_ONE})(,({_ONE}))*)?$"},
            ),
        ] = "job",
        first: Annotated[_TIME, Query(alias="from")] = "",
        last: Annotated[_TIME, Query(alias="to")] = "",
        zone: Annotated[str, Query(max_length=64)] = "",
        output: Annotated[Literal["json", "csv"], Query(alias="format")] = "json",
    ) -> Response | dict[str, Any]:
        """What was spent from one day to another, the dearest first; without days, this month."""
        where = _zone(zone) if zone else live().time_zone
        period = _period(first, last, where, clock.now())
        names = list(dict.fromkeys(name.strip() for name in by.split(",") if name.strip()))
        unknown = [name for name in names if name not in DIMENSIONS]
        if unknown:
            known = ", ".join(DIMENSIONS)
            raise BadRequest(f"by: {unknown[0]!a} is not one of {known}", param="by")
        rows = ledger.spend(names, period, actor.principal.role.team)
        if output == "csv":
            return Response(spend_csv(names, rows), media_type="text/csv; charset=utf-8")
        total = {name: sum(row[name] for row in rows) for name in ("entries", *SUMS)}
        return {
            "from": to_text(period.start),
            "to": to_text(period.end),
            "zone": str(where),
            "by": names,
            "spend": [_in_dollars(row) for row in rows],
            "total": _in_dollars(total),
        }

    return router


def _in_dollars(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "amount_usd": format_dollars(row["amount_nanos"])}


def _period(first: str, last: str, zone: ZoneInfo, now: int) -> Range:
    """Raises BadRequest for what is no day, and Conflict for days that make no period."""
    try:
        return period_between(first, last, zone, now, ("from", "to"))
    except ConfigurationError as error:
        if all(_can_be_read(text) for text in (first, last) if text):
            raise Conflict(str(error)) from None
        raise BadRequest(str(error)) from None


def _can_be_read(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise NotFound(f"zone: there is no time zone {name!a}", param="zone") from None
