"""/admin/v1/teams and /admin/v1/apps: who pays, and who calls.

A role for one team sees that team and its apps, and of the others not even that they are there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from gateway.callers.directory import Directory
from gateway.callers.roles import NAME, Permission, authorise
from gateway.clock import to_text
from gateway.doors.admin import office_router
from gateway.doors.policy import Acting, Actor, Guard
from gateway.errors import NotFound

Name = Annotated[str, Field(pattern=f"^{NAME.pattern}$", examples=["brand"])]
NameInPath = Annotated[str, Path(pattern=f"^{NAME.pattern}$")]
Contact = Annotated[str, Field(max_length=200, examples=["brand-ops@example.com"])]


class Body(BaseModel):
    """What a write may say: these fields, and no other."""

    model_config = ConfigDict(extra="forbid", strict=True)


class NewTeam(Body):
    """A team to be made."""

    name: Name
    contact: Contact = ""


class NewApp(Body):
    """An app to be made; its team has to be there."""

    name: Name
    team: Name
    contact: Contact = ""


class NewContact(Body):
    """Whom to ask: all that can be changed of a team or an app."""

    contact: Contact


def directory_router(guard: Guard, directory: Directory) -> APIRouter:
    """Teams and apps, given who looks after them."""
    router = office_router(guard, "teams and apps")
    _add_teams(router, directory)
    _add_apps(router, directory)
    return router


def _add_teams(router: APIRouter, directory: Directory) -> None:
    def find(actor: Actor, name: str) -> dict[str, Any]:
        return _one(_visible(directory.teams(), actor, "name"), "team", name)

    @router.get("/teams")
    def teams(actor: Acting) -> dict[str, Any]:
        """Every team."""
        return {"teams": [_told(row) for row in _visible(directory.teams(), actor, "name")]}

    @router.post("/teams", status_code=201)
    def create_team(actor: Acting, body: NewTeam) -> dict[str, Any]:
        """Make a team."""
        directory.create_team(body.name, body.contact, actor.by)
        return find(actor, body.name)

    @router.get("/teams/{name}")
    def team(actor: Acting, name: NameInPath) -> dict[str, Any]:
        """One team."""
        return find(actor, name)

    @router.patch("/teams/{name}")
    def change_team(actor: Acting, name: NameInPath, body: NewContact) -> dict[str, Any]:
        """Say whom to ask about a team."""
        directory.tell_contact("team", name, body.contact, actor.by)
        return find(actor, name)

    @router.delete("/teams/{name}", status_code=204)
    def remove_team(actor: Acting, name: NameInPath) -> None:
        """Remove a team that has no apps; the books keep its name."""
        directory.remove_team(name, actor.by)


def _add_apps(router: APIRouter, directory: Directory) -> None:
    def find(actor: Actor, name: str) -> dict[str, Any]:
        return _one(_visible(directory.apps(), actor, "team"), "app", name)

    @router.get("/apps")
    def apps(actor: Acting, team: str | None = None) -> dict[str, Any]:
        """Every app, or those of a team."""
        rows = _visible(directory.apps(), actor, "team")
        return {"apps": [_told(row) for row in rows if team in (None, row["team"])]}

    @router.post("/apps", status_code=201)
    def create_app(actor: Acting, body: NewApp) -> dict[str, Any]:
        """Make an app of a team."""
        authorise(actor.principal, Permission.CHANGE_APPS, body.team)
        directory.create_app(body.name, body.team, body.contact, actor.by)
        return find(actor, body.name)

    @router.get("/apps/{name}")
    def app(actor: Acting, name: NameInPath) -> dict[str, Any]:
        """One app."""
        return find(actor, name)

    @router.patch("/apps/{name}")
    def change_app(actor: Acting, name: NameInPath, body: NewContact) -> dict[str, Any]:
        """Say whom to ask about an app."""
        find(actor, name)
        directory.tell_contact("app", name, body.contact, actor.by)
        return find(actor, name)

    @router.delete("/apps/{name}", status_code=204)
    def remove_app(actor: Acting, name: NameInPath) -> None:
        """Remove an app of which no key is in use; the books keep its name."""
        find(actor, name)
        directory.remove_app(name, actor.by)


def _visible(rows: list[dict[str, Any]], actor: Actor, team: str) -> list[dict[str, Any]]:
    """Those that the actor's role reaches; `team` is the column that has the team."""
    return [row for row in rows if actor.principal.reaches(row[team])]


def _one(rows: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    for row in rows:
        if row["name"] == name:
            return _told(row)
    raise NotFound(f"there is no {kind} {name[:64]!r}", param="name")


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "created_at": to_text(row["created_at"])}
