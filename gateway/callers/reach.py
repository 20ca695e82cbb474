"""Which keys somebody may touch, whatever door or page they do it by.

Nobody changes or revokes the key that they act with, nobody gives or touches a role that is beyond
their own, and a role for one team reaches the keys of that team alone: of the others it does not
even learn that they are there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from gateway.callers.registry import Allowed
from gateway.callers.roles import Principal, Role, may_grant
from gateway.errors import BadRequest, Forbidden, NotFound
from gateway.jobs.problems import nearest

IN_USE, EXPIRED, REVOKED = "in use", "expired", "revoked"
"""The states of a key."""


def state_of(key: Mapping[str, Any], now: int) -> str:
    """The state of a key as it is listed, at a moment (microseconds since 1970)."""
    if key["revoked_at"] is not None:
        return REVOKED
    over = key["expires_at"] is not None and key["expires_at"] <= now
    return EXPIRED if over else IN_USE


def within(principal: Principal, *, itself: bool) -> Allowed:
    """What somebody may do to a key that is there; `itself`: also to the one they act with."""

    def allowed(key: Mapping[str, Any]) -> None:
        if not principal.reaches(key["team"]):
            raise NotFound(f"there is no key {key['id']!r}", param="key_id")
        if key["id"] == principal.name:
            if itself:
                return
            raise Forbidden("nobody changes or revokes the key that they ask with")
        may_grant(principal, Role.known(key["role"]))

    return allowed


def know_jobs(names: Iterable[str | None], known: Collection[str]) -> None:
    """Raises BadRequest for names that are not jobs; None is no name."""
    for name in names:
        if name is not None and name not in known:
            raise BadRequest(f"there is no job {name!a}{nearest(name, known)}", param="jobs")
