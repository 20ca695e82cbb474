"""Who may do what: roles, what each permits, and the one function that decides.

A principal is whoever acts: a key, or a person who has signed in. Both have a role, and a role can
be for one team alone: `finance@brand` is the finance role, narrowed to what concerns the team
brand. Every door, whatever it speaks, asks `authorise`.

Promises: what is not in the table is not permitted; a role for one team never reaches another
team, nor anything that concerns the organisation as a whole: its budgets, its routes, its teams.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.errors import ConfigurationError, Forbidden

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What teams and apps can be called."""
APP, VIEWER, FINANCE, PLATFORM, ADMIN = "app", "viewer", "finance", "platform", "admin"
ROLES = (APP, VIEWER, FINANCE, PLATFORM, ADMIN)


class Permission(StrEnum):
    """One thing that somebody may do."""

    USE_JOBS = "use jobs"
    READ_BOOKS = "read the books"
    READ_DIRECTORY = "see teams, apps and keys"
    READ_ROUTES = "see the routes"
    READ_CHANGES = "read the log of changes"
    CHANGE_TEAMS = "change teams"
    CHANGE_APPS = "change apps"
    CHANGE_KEYS = "change keys"
    GRANT_ROLES = "grant roles"
    CHANGE_BUDGETS = "change budgets"
    KEEP_BOOKS = "close months and correct the books"
    CHANGE_ROUTES = "change the routes"
    SEND_ALERTS = "test and retry alerts"


_READS = frozenset(
    {Permission.READ_BOOKS, Permission.READ_DIRECTORY, Permission.READ_ROUTES}
)  # what everybody with a role may do
PERMISSIONS: Mapping[str, frozenset[Permission]] = {
    APP: frozenset({Permission.USE_JOBS}),
    VIEWER: _READS,
    FINANCE: _READS
    | {
        Permission.READ_CHANGES,
        Permission.CHANGE_BUDGETS,
        Permission.KEEP_BOOKS,
        Permission.SEND_ALERTS,
    },
    PLATFORM: _READS
    | {
        Permission.READ_CHANGES,
        Permission.CHANGE_TEAMS,
        Permission.CHANGE_APPS,
        Permission.CHANGE_KEYS,
        Permission.CHANGE_ROUTES,
        Permission.SEND_ALERTS,
    },
    ADMIN: frozenset(Permission) - {Permission.USE_JOBS},
}
"""What each role permits."""
OF_THE_ORGANISATION = frozenset(
    {
        Permission.CHANGE_TEAMS,
        Permission.CHANGE_BUDGETS,
        Permission.KEEP_BOOKS,
        Permission.CHANGE_ROUTES,
        Permission.SEND_ALERTS,
    }
)
"""What no role for one team permits: a team does not move the limits that are set for it, and
alerts, months and bills are the organisation's."""


@dataclass(frozen=True, slots=True)
class Role:
    """A role, of the whole organisation or of one team; prints as "finance" or "finance@brand"."""

    name: str
    team: str | None = None

    @classmethod
    def known(cls, text: str) -> Role:
        """The role that a text names. One that does not exist permits nothing."""
        name, at, team = text.partition("@")
        return cls(name, team if at else None)

    @classmethod
    def parse(cls, text: str) -> Role:
        """The same for what a person wrote. Raises ConfigurationError."""
        role = cls.known(text)
        if role.name not in ROLES:
            raise ConfigurationError(
                [
                    f"role {text!r}: it is one of {', '.join(ROLES)};"
                    f" for one team alone such as {FINANCE}@brand"
                ]
            )
        if role.team is not None and (role.name == APP or not NAME.fullmatch(role.team)):
            raise ConfigurationError(
                [f"role {text!r}: after the @ stands a team, for any role but {APP}"]
            )
        return role

    @property
    def permissions(self) -> frozenset[Permission]:
        """All that it permits."""
        found = PERMISSIONS.get(self.name, frozenset())
        return found if self.team is None else found - OF_THE_ORGANISATION

    def __str__(self) -> str:
        return self.name if self.team is None else f"{self.name}@{self.team}"


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever acts: a key by its id, or a person by the name that the sign-in gave."""

    name: str
    role: Role

    def may(self, permission: Permission) -> bool:
        """Whether the role permits it, for its own team at least."""
        return permission in self.role.permissions

    def reaches(self, team: str) -> bool:
        """Whether what belongs to a team is within its role."""
        return self.role.team is None or self.role.team == team


def authorise(principal: Principal, permission: Permission, team: str | None = None) -> None:
    """Raises Forbidden unless the principal may do that, to what belongs to `team` if one is given.

    Without a team the question is whether it may do so at all; what it then sees or changes is
    asked for again with the team that it belongs to.
    """
    role = principal.role
    if permission not in role.permissions:
        if role.team is not None and permission in PERMISSIONS.get(role.name, ()):
            raise Forbidden(
                f"the role {role} is for the team {role.team} alone; to {permission} is for the"
                " whole organisation"
            )
        fit = " or ".join(name for name in ROLES if permission in PERMISSIONS[name])
        raise Forbidden(f"to {permission} needs the role {fit}; this has the role {role}")
    if team is not None and not principal.reaches(team):
        raise Forbidden(f"the role {role} is for the team {role.team} alone, not for {team}")


def may_grant(principal: Principal, role: Role) -> None:
    """Raises Forbidden unless the principal may give somebody, or take from them, that role.

    Keys of apps need no right but that to change keys; nobody gives more than they have.
    """
    if role.name == APP:
        return
    authorise(principal, Permission.GRANT_ROLES)
    if principal.role.team is not None and role.team != principal.role.team:
        raise Forbidden(
            f"the role {principal.role} grants no roles beyond its team, such as {role}"
        )
