"""/admin/v1/routes/...: versions with their files, edited files checked, published, put back.

The same as on the pages, by `web.publishing`: what is wrong is not written, nor what somebody else
has changed meanwhile; a new file, a provider's address or credential, and the addresses of alerts
are changed in the folder itself. The rules can be larger than what is else sent to the office.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import Field

from gateway.doors.admin import office_router
from gateway.doors.configuration import PROBLEMS_TOLD, told_version
from gateway.doors.directory import Body
from gateway.doors.policy import Acting, Guard
from gateway.errors import BadRequest, ConfigurationError, Conflict, NotFound
from gateway.jobs.differing import difference
from gateway.jobs.versions import API, Kept
from gateway.web.publishing import LIVE, Publisher
from gateway.web.sources import Sources

BODY_BYTES_AT_MOST = 3_000_000
"""Of a request with whole files in it."""

_EXAMPLE = "version: 1\njobs: {}\n"
_NAMED = r"^[0-9A-Fa-f]{1,64}$"

Texts = Annotated[
    dict[str, str],
    Field(min_length=1, max_length=64, examples=[{"routes.yaml": _EXAMPLE}]),
]
Base = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", examples=["0" * 64])]
Reason = Annotated[str, Field(max_length=500, examples=["the short answers are worse"])]
InPath = Annotated[str, Path(pattern=_NAMED)]
Named = Annotated[str, Query(pattern=_NAMED)]
NamedOrLive = Annotated[str, Query(pattern=rf"{_NAMED}|^{LIVE}$")]


class FilesToCheck(Body):
    """Whole files, by name; those that are not named stay as they are live."""

    files: Texts


class FilesToPublish(Body):
    """The same, with the version that was edited (the hash that was live) and why."""

    files: Texts
    base: Base
    reason: Reason


class VersionToRestore(Body):
    """The version that is live, and why another takes its place."""

    base: Base
    reason: Reason


def publishing_router(guard: Guard, sources: Sources) -> APIRouter:
    """The endpoints."""
    router = office_router(guard, "routes", most=BODY_BYTES_AT_MOST)
    publisher = Publisher(sources)
    _add_reading(router, publisher, sources)
    _add_writing(router, publisher, sources)
    return router


def _add_reading(router: APIRouter, publisher: Publisher, sources: Sources) -> None:
    @router.get("/routes/versions/{version}")
    def version(version: InPath) -> dict[str, Any]:
        """A version that was live, by its number or the beginning of its hash, with its files."""
        kept = _find(publisher, version)
        files = [{"name": name, "text": text} for name, text in kept.texts.items()]
        return {"version": told_version(kept.version), "files": files}

    @router.get("/routes/diff")
    def diff(before: Named, after: NamedOrLive = LIVE) -> dict[str, Any]:
        """The lines that are different between two versions; `live` is the one in force."""
        old = _find(publisher, before).texts
        new = sources.live().files if after == LIVE else _find(publisher, after).texts
        return {"difference": difference(old, new, ("before", "after"))}

    @router.post("/routes/check")
    def check(body: FilesToCheck) -> dict[str, Any]:
        """What a start with these files would say; nothing is written."""
        checked = publisher.check(body.files)
        return {
            "valid": checked.rules is not None,
            "version": checked.version,
            "problems": list(checked.problems[:PROBLEMS_TOLD]),
            "warnings": [] if checked.rules is None else list(checked.rules.warnings),
            "difference": list(checked.difference),
        }


def _add_writing(router: APIRouter, publisher: Publisher, sources: Sources) -> None:
    @router.post("/routes/publish")
    def publish(actor: Acting, body: FilesToPublish) -> dict[str, Any]:
        """Write edited files, all or none; gateways that follow them take them over. 409 when
        another version is live by now."""
        _know_why(body.reason)
        _is_live(body.base, sources)
        checked = publisher.check(body.files)
        return told_version(publisher.publish(checked, body.base, body.reason, actor.by, API))

    @router.post("/routes/versions/{version}/restore")
    def restore(actor: Acting, version: InPath, body: VersionToRestore) -> dict[str, Any]:
        """Write the files of an earlier version again."""
        _know_why(body.reason)
        _is_live(body.base, sources)
        kept = _find(publisher, version)
        return told_version(publisher.restore(kept, body.base, body.reason, actor.by))


def _find(publisher: Publisher, name: str) -> Kept:
    try:
        return publisher.find(name)
    except ConfigurationError as error:
        raise NotFound("; ".join(error.problems), param="version") from None


def _know_why(reason: str) -> None:
    if not reason.strip() or not reason.isprintable():
        raise BadRequest("reason: say why, in one line", param="reason")


def _is_live(base: str, sources: Sources) -> None:
    if base != sources.live().version:
        raise Conflict("somebody else has changed the rules meanwhile; look at them again")
