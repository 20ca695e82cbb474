"""Roles permit what the table says; a role for one team reaches nothing beyond it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.callers.roles import (
    OF_THE_ORGANISATION,
    PERMISSIONS,
    ROLES,
    Permission,
    Principal,
    Role,
    authorise,
    may_grant,
)
from gateway.errors import ConfigurationError, Forbidden

TEAMS = st.sampled_from(["brand", "legal", "x.1"])
ANY_ROLE = st.builds(Role, st.sampled_from(ROLES), st.none() | TEAMS)


def somebody(role: str) -> Principal:
    return Principal("ann", Role.parse(role))


def refuses(principal: Principal, permission: Permission, team: str | None = None) -> bool:
    try:
        authorise(principal, permission, team)
    except Forbidden:
        return True
    return False


@given(role=ANY_ROLE, permission=st.sampled_from(Permission), team=TEAMS)
def test_nothing_is_permitted_that_the_table_does_not_say(
    role: Role, permission: Permission, team: str
) -> None:
    permitted = permission in PERMISSIONS[role.name] and role.team in (None, team)
    if role.team is not None and permission in OF_THE_ORGANISATION:
        permitted = False

    assert refuses(Principal("ann", role), permission, team) is not permitted


@given(name=st.sampled_from(ROLES), team=TEAMS)
def test_a_role_for_one_team_never_has_more_than_the_role(name: str, team: str) -> None:
    assert Role(name, team).permissions <= Role(name).permissions


@given(role=ANY_ROLE, granted=ANY_ROLE)
def test_nobody_grants_more_than_they_have(role: Role, granted: Role) -> None:
    principal = Principal("ann", role)
    try:
        may_grant(principal, granted)
    except Forbidden:
        return
    if granted.name != "app":
        assert granted.permissions <= role.permissions
        assert role.team is None or granted.team == role.team


@given(role=ANY_ROLE)
def test_what_a_role_prints_as_is_read_as_the_same_role(role: Role) -> None:
    assert Role.known(str(role)) == role


@pytest.mark.parametrize(
    "text",
    ["", "root", "Admin", "admin ", "finance@", "finance@a b", "app@brand", "@brand", "a@b@c"],
)
def test_what_is_no_role_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Role.parse(text)

    assert repr(text) in str(refused.value)


@pytest.mark.parametrize("text", ["", "root", "ADMIN", "finance@ "])
def test_a_role_that_stands_in_the_database_and_does_not_exist_permits_nothing(text: str) -> None:
    role = Role.known(text)

    assert not role.permissions or role.team == " "
    assert all(refuses(Principal("key", role), p, "brand") for p in Permission)


@pytest.mark.parametrize(
    ("role", "permission", "team", "says"),
    [
        ("viewer", Permission.CHANGE_KEYS, None, "needs the role platform or admin"),
        ("finance@brand", Permission.CHANGE_BUDGETS, None, "for the whole organisation"),
        ("platform@brand", Permission.CHANGE_KEYS, "legal", "not for legal"),
    ],
)
def test_a_refusal_says_what_would_be_needed(
    role: str, permission: Permission, team: str | None, says: str
) -> None:
    with pytest.raises(Forbidden) as refused:
        authorise(somebody(role), permission, team)

    assert says in refused.value.message
