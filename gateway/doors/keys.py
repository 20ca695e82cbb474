"""/admin/v1/keys: making, limiting, rotating, ending and revoking keys.

A secret is in the answer that made it and nowhere else. What a write may say is listed field by
field. Nobody changes or revokes the key that they ask with, nobody gives or touches a role that
is beyond their own, and a role for one team reaches the keys of that team alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import AwareDatetime, Field

from gateway.callers.reach import know_jobs, state_of, within
from gateway.callers.registry import OVERLAP_SECONDS_MOST, NewKey, Registry
from gateway.callers.roles import APP, Permission, Role, authorise, may_grant
from gateway.clock import Clock, to_micros, to_text
from gateway.doors.admin import office_router
from gateway.doors.directory import Body, Name
from gateway.doors.policy import Acting, Actor, Guard
from gateway.errors import BadRequest, NotFound
from gateway.jobs.routes import Period, Routes
from gateway.money import format_dollars, parse_dollars

JobNames = Annotated[list[Annotated[str, Field(max_length=64)]], Field(min_length=1, max_length=64)]
Addresses = Annotated[
    list[Annotated[str, Field(max_length=64, examples=["10.1.0.0/16"])]], Field(max_length=64)
]
KeyId = Annotated[str, Path(pattern=r"^key_[0-9a-f]{16}$")]
RoleName = Annotated[str, Field(max_length=80, examples=["app", "finance@brand"])]
Moment = Annotated[
    AwareDatetime, Field(strict=False, json_schema_extra={"example": "2027-01-31T00:00:00Z"})
]


class KeyBudget(Body):
    """A budget of the key's own, beside those of routes.yaml that it is under."""

    usd: Annotated[str, Field(max_length=30, examples=["50"])]
    period: Period


class KeyToMake(Body):
    """A key to be made; its team and its app have to be there."""

    team: Name
    app: Name
    role: RoleName = APP
    jobs: JobNames | None = None
    """Jobs it may use; null for all."""
    default_job: Annotated[str, Field(max_length=64)] | None = None
    budget: KeyBudget | None = None
    expires_at: Moment | None = None
    addresses: Addresses = Field(default_factory=list)


class KeyToChange(Body):
    """What can be changed of a key: the fields that are there, and no others."""

    role: RoleName = APP
    jobs: JobNames | None = None
    default_job: Annotated[str, Field(max_length=64)] | None = None
    expires_at: Moment | None = None
    addresses: Addresses = Field(default_factory=list)


class Rotation(Body):
    """How long the secret before stays good beside the new one."""

    overlap_seconds: Annotated[int, Field(ge=0, le=OVERLAP_SECONDS_MOST)] = 24 * 3600


@dataclass(frozen=True, slots=True)
class KeyDesk:
    """Who looks after the keys, and the rules that are live."""

    registry: Registry
    live: Callable[[], Routes]
    clock: Clock

    def all(self, actor: Actor) -> list[dict[str, Any]]:
        """Every key that the actor's role reaches, as it is told."""
        now = self.clock.now()
        rows = self.registry.all()
        return [told_key(row, now) for row in rows if actor.principal.reaches(row["team"])]

    def find(self, actor: Actor, key_id: str) -> dict[str, Any]:
        """One of them. Raises NotFound."""
        for key in self.all(actor):
            if key["id"] == key_id:
                return key
        raise NotFound(f"there is no key {key_id[:64]!r}", param="key_id")

    def know_jobs(self, names: Iterable[str | None]) -> None:
        """Raises BadRequest for names that are not jobs; None is no name."""
        know_jobs(names, self.live().jobs)


def keys_router(guard: Guard, desk: KeyDesk) -> APIRouter:
    """The endpoints."""
    router = office_router(guard, "keys")
    _add_reading(router, desk)
    _add_making(router, desk)
    _add_changing(router, desk)
    return router


def _add_reading(router: APIRouter, desk: KeyDesk) -> None:
    @router.get("/keys")
    def keys(actor: Acting, team: str | None = None, app: str | None = None) -> dict[str, Any]:
        """Every key, oldest first, or those of a team or an app; never a secret."""
        found = [
            key
            for key in desk.all(actor)
            if team in (None, key["team"]) and app in (None, key["app"])
        ]
        return {"keys": found}

    @router.get("/keys/{key_id}")
    def key(actor: Acting, key_id: KeyId) -> dict[str, Any]:
        """One key."""
        return desk.find(actor, key_id)


def _add_making(router: APIRouter, desk: KeyDesk) -> None:
    @router.post("/keys", status_code=201)
    def create_key(actor: Acting, body: KeyToMake) -> dict[str, Any]:
        """Make a key; `key` is its secret, which is shown this once."""
        authorise(actor.principal, Permission.CHANGE_KEYS, body.team)
        may_grant(actor.principal, Role.parse(body.role))
        desk.know_jobs((*(body.jobs or ()), body.default_job))
        key_id, secret = desk.registry.create(_new_key(body, desk.clock.now()), actor.by)
        return {**desk.find(actor, key_id), "key": secret}

    @router.post("/keys/{key_id}/rotate")
    def rotate_key(actor: Acting, key_id: KeyId, body: Rotation) -> dict[str, Any]:
        """Give a key a new secret, shown this once; the one before is good for the overlap."""
        allowed = within(actor.principal, itself=True)
        secret, _until = desk.registry.rotate(key_id, body.overlap_seconds, actor.by, allowed)
        return {**desk.find(actor, key_id), "key": secret}


def _add_changing(router: APIRouter, desk: KeyDesk) -> None:
    @router.patch("/keys/{key_id}")
    def change_key(actor: Acting, key_id: KeyId, body: KeyToChange) -> dict[str, Any]:
        """Change what a key may do, or when it ends; null takes a limit away."""
        wanted = {name: getattr(body, name) for name in body.model_fields_set}
        if "role" in wanted:
            may_grant(actor.principal, Role.parse(body.role))
        desk.know_jobs((*(wanted.get("jobs") or ()), wanted.get("default_job")))
        if wanted.get("jobs") is not None:
            wanted["jobs"] = tuple(dict.fromkeys(wanted["jobs"]))
        if wanted.get("expires_at") is not None:
            wanted["expires_at"] = to_micros(wanted["expires_at"])
        desk.registry.change(key_id, wanted, actor.by, within(actor.principal, itself=False))
        return desk.find(actor, key_id)

    @router.delete("/keys/{key_id}", status_code=204)
    def revoke_key(actor: Acting, key_id: KeyId) -> None:
        """Revoke a key; every gateway refuses it within a second."""
        if not desk.registry.revoke(key_id, actor.by, within(actor.principal, itself=False)):
            raise NotFound(f"no key {key_id[:64]!r} is in use", param="key_id")


def told_key(row: Mapping[str, Any], now: int) -> dict[str, Any]:
    """A key as it is told, with its state: in use, expired or revoked."""
    budget = None
    if row["budget_nanos"] is not None:
        nanos = row["budget_nanos"]
        budget = {"usd": format_dollars(nanos), "nanos": nanos, "period": row["budget_period"]}
    times = ("created_at", "expires_at", "revoked_at", "old_until")
    told = {name: None if row[name] is None else to_text(row[name]) for name in times}
    return {
        "id": row["id"],
        "ends_in": row["hint"],
        "state": state_of(row, now),
        "role": row["role"],
        "team": row["team"],
        "app": row["app"],
        "jobs": None if row["jobs"] == "*" else row["jobs"].split(),
        "default_job": row["default_job"],
        "budget": budget,
        "addresses": row["addresses"].split(),
        "created_at": told["created_at"],
        "expires_at": told["expires_at"],
        "revoked_at": told["revoked_at"],
        "secret_before_ends_at": told["old_until"],
    }


def _new_key(body: KeyToMake, now: int) -> NewKey:
    expires_at = None if body.expires_at is None else to_micros(body.expires_at)
    if expires_at is not None and expires_at <= now:
        raise BadRequest("expires_at: that is over already", param="expires_at")
    nanos = None
    if body.budget is not None:
        try:
            nanos = parse_dollars(body.budget.usd)
        except ValueError as error:
            raise BadRequest(f"budget.usd: {error}", param="budget.usd") from None
        if nanos < 0:
            raise BadRequest("budget.usd: nothing is the least", param="budget.usd")
    return NewKey(
        team=body.team,
        app=body.app,
        role=body.role,
        jobs=None if body.jobs is None else tuple(dict.fromkeys(body.jobs)),
        default_job=body.default_job,
        budget_nanos=nanos,
        budget_period=None if body.budget is None else body.budget.period,
        expires_at=expires_at,
        addresses=tuple(body.addresses),
        founds=False,
    )
