"""/admin/v1/routes/...: which version of the rules is live, whether the files say the same, and
reading them again. Nothing here writes a file; what does is in `publishing`."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Body, Query

from gateway.clock import to_text
from gateway.doors.admin import office_router
from gateway.doors.policy import Acting, Guard
from gateway.errors import BadRequest, ConfigurationError
from gateway.jobs.versions import API, Version, Versions
from gateway.pipeline.reloading import Reloader, State
from gateway.store.database import Database

PROBLEMS_TOLD = 50

Reason = Annotated[str, Body(embed=True, max_length=500, examples=["the new key of OpenAI"])]


def configuration_router(
    guard: Guard, reloader: Reloader, database: Database, org: str
) -> APIRouter:
    """The endpoints, given who keeps the rules up to date and where versions are kept."""
    router = office_router(guard, "routes")
    versions = Versions(org, database.engine_name)

    @router.get("/routes/status")
    async def status() -> dict[str, Any]:
        """The version that is live, and whether routes.yaml says the same; if not, why."""
        return _told(await reloader.state())

    @router.post("/routes/reload")
    async def reload(actor: Acting, reason: Reason = "") -> dict[str, Any]:
        """Read routes.yaml again now; 400 with all problems when the old version stays live."""
        before = (await reloader.state()).live.routes.version
        try:
            version = await reloader.reload(API, actor.by, reason or "asked for")
        except ConfigurationError as error:
            raise BadRequest(
                f"the rules were rejected and version {before[:12]} stays live:"
                f" {error.problems[0]}",
                details={"problems": error.problems[:PROBLEMS_TOLD]},
            ) from None
        return {**told_version(version), "changed": version.hash != before}

    @router.get("/routes/history")
    def history(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> dict[str, Any]:
        """The versions that went live, the newest first."""
        with database.reading() as cursor:
            found = versions.history(cursor, limit)
        return {"versions": [told_version(version) for version in found]}

    return router


def _told(state: State) -> dict[str, Any]:
    routes = state.live.routes
    rejected = state.rejected
    return {
        "live": {
            "version": routes.version,
            "loaded_at": to_text(state.live.loaded_at),
            "prices": state.live.prices,
            "files": [
                {"name": name, "owner": routes.owners.get(name, "")} for name in routes.files
            ],
            "kept_as": None if state.version is None else told_version(state.version),
        },
        "file": {
            "followed": state.follows,
            "differs": state.differs,
            "rejected": None
            if rejected is None
            else {
                "at": to_text(rejected.at),
                "version": rejected.version,
                "problems": list(rejected.problems[:PROBLEMS_TOLD]),
            },
        },
    }


def told_version(version: Version) -> dict[str, Any]:
    """A version without its files, as it is told."""
    return {**msgspec.structs.asdict(version), "live_at": to_text(version.live_at)}
