"""People whom a sign-in service vouches for: which role their groups give them, and their name.

Closed by default: somebody in no group that was mapped has no role and does not get in. The first
group of the mapping that a person is in decides, so its order is from much to little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.callers.roles import APP, Role
from gateway.errors import ConfigurationError, Forbidden, NotAuthenticated

NAME_LENGTH = 200
_VARIABLE = "JOBGATE_OIDC_ROLES"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who has proved who they are elsewhere."""

    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class GroupRoles:
    """Which group gives which role, from the first that counts to the last."""

    pairs: tuple[tuple[str, Role], ...]

    @classmethod
    def parse(cls, text: str) -> GroupRoles:
        """Read "finance-people=finance; brand=viewer@brand". Raises ConfigurationError.

        What stands before the last = is the group, so that it may be a name such as CN=x,OU=y.
        """
        pairs, problems = [], []
        for part in filter(None, (each.strip() for each in text.replace("\n", ";").split(";"))):
            group, _, role = (each.strip() for each in part.rpartition("="))
            try:
                found = Role.parse(role)
            except ConfigurationError as error:
                problems += [f"{_VARIABLE}: {problem}" for problem in error.problems]
                continue
            if not group:
                problems.append(f"{_VARIABLE}: {part!r}: write GROUP=ROLE")
            elif found.name == APP:
                problems.append(
                    f"{_VARIABLE}: {part!r}: the role {APP} is for keys, not for people"
                )
            else:
                pairs.append((group, found))
        if not pairs and not problems:
            problems.append(
                f"{_VARIABLE} is missing: without it nobody could sign in;"
                " write such as finance-people=finance; gateway-admins=admin"
            )
        if problems:
            raise ConfigurationError(problems)
        return cls(tuple(pairs))

    def role_in(self, groups: object) -> Role:
        """The role of somebody in these groups, as a claim has them. Raises Forbidden for none."""
        texts = [groups] if isinstance(groups, str) else groups
        known = set(filter(_is_text, texts)) if isinstance(texts, list) else set()
        for group, role in self.pairs:
            if group in known:
                return role
        raise Forbidden("none of your groups has a role here; ask whoever runs this gateway")


def name_of(claims: Mapping[str, object]) -> str:
    """What somebody is called here: the address, if it was verified, and the one lasting name.

    Addresses change hands, and nobody can take the other. It never looks like the id of a key.
    Raises NotAuthenticated when the proof names nobody.
    """
    subject, email = claims.get("sub"), claims.get("email")
    if not _is_name(subject):
        raise NotAuthenticated("the sign-in service named nobody")
    if claims.get("email_verified") is True and _is_name(email):
        return f"{email} <{subject}>"
    return f"<{subject}>"


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= NAME_LENGTH and value.isprintable()


def _is_text(value: object) -> bool:
    return isinstance(value, str)
