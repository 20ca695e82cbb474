"""Every route has a policy, and keeps it when it is really asked, by every role.

A route that is added without a line in the table of policies fails the build.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute, Mount, Route, Router

from gateway.app import Gateway
from gateway.callers.roles import Permission
from gateway.doors.policy import POLICY, Open
from gateway.jobs.loading import parse
from gateway.settings import Settings
from tests.gateways import BOOK, SECRETS, routes_for
from tests.stories.front_door import House, a_house

pytestmark = pytest.mark.anyio

HEALTH = {("GET", "/healthz"), ("GET", "/readyz")}
IN_PATH = {"key_id": "key_0123456789abcdef", "raise_id": "raise_0123456789ab"}
IN_PATH |= {"delivery_id": "dlv_0123456789abcdef"}
EVERY_READER = "viewer viewer@brand finance finance@brand platform platform@brand admin admin@brand"
MAY = {
    Permission.USE_JOBS: "app",
    Permission.READ_BOOKS: EVERY_READER,
    Permission.READ_DIRECTORY: EVERY_READER,
    Permission.READ_ROUTES: EVERY_READER,
    Permission.READ_CHANGES: "finance finance@brand platform platform@brand admin admin@brand",
    Permission.CHANGE_TEAMS: "platform admin",
    Permission.CHANGE_APPS: "platform platform@brand admin admin@brand",
    Permission.CHANGE_KEYS: "platform platform@brand admin admin@brand",
    Permission.GRANT_ROLES: "admin admin@brand",
    Permission.CHANGE_BUDGETS: "finance admin",
    Permission.KEEP_BOOKS: "finance admin",
    Permission.CHANGE_ROUTES: "platform admin",
    Permission.SEND_ALERTS: "finance platform admin",
}
"""Who may do what, written down a second time, by hand."""
ROLES = ("app", *EVERY_READER.split())
API = {
    (method, path): needed
    for (method, path), needed in POLICY.items()
    if path.startswith(("/v1/", "/admin/")) or (method, path) in HEALTH
}
"""What programs ask; the pages ask for a session, see tests/web/test_who_may_see.py."""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with a_house(tmp_path_factory.mktemp("books")) as opened:
        yield opened


def asked_for(routes: Iterable[BaseRoute], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Methods and paths of an app, its mounts and included routers too."""
    for route in routes:
        included = getattr(route, "original_router", route)  # what FastAPI wraps a router in
        if isinstance(included, Route):
            for method in set(included.methods or ()) - {"HEAD"}:
                yield method, prefix + included.path
        else:
            assert isinstance(included, Mount | Router), f"{route!r} cannot be looked into"
            yield from asked_for(included.routes, prefix + getattr(route, "path", ""))


def of(app: FastAPI) -> set[tuple[str, str]]:
    return set(asked_for(app.routes))


async def test_every_route_has_a_policy_and_every_policy_a_route(house: House) -> None:
    gateway = house.gateway.gateway

    assert gateway.app is gateway.office_app
    assert of(gateway.app) == set(POLICY)


async def test_with_an_office_of_its_own_each_route_is_on_one_side(tmp_path: Path) -> None:
    gateway = Gateway(
        Settings(database_url=f"sqlite:///{tmp_path}/books.db", office_address="127.0.0.1:4001"),
        parse(routes_for("http://127.0.0.1:9"), "routes.yaml", BOOK, SECRETS),
        BOOK,
        environment=SECRETS,
        announce=print,
    )
    public, office = of(gateway.app), of(gateway.office_app)
    gateway.database.close()

    assert public | office == set(POLICY)
    assert public & office == HEALTH
    assert {path.split("/")[1] for _, path in public - HEALTH} == {"v1"}
    assert {path.split("/")[1] for _, path in office - HEALTH} >= {"admin", "metrics", "docs"}


def concrete(path: str) -> str:
    """A path with something in place of its parameters."""
    return re.sub(r"\{(\w+).*?\}", lambda found: IN_PATH.get(found[1], "extraction"), path)


@pytest.mark.parametrize(("method", "path"), sorted(API), ids=lambda part: str(part))
async def test_without_a_key_only_what_is_open_to_all_answers(
    method: str, path: str, house: House
) -> None:
    told = await house.send(method, concrete(path))

    if POLICY[method, path] is Open.TO_ALL:
        assert told.status == 200
    else:
        assert told.status == 401
        assert told.headers["www-authenticate"] == "Bearer"
    # a good key forgives the address, so that this test is not slowed down by itself
    await house.send("GET", "/v1/models", key=house.key)


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_opens_the_doors_of_its_permissions_and_no_other(
    role: str, house: House
) -> None:
    key = house.gateway.key(app="by-" + role.replace("@", "-"), role=role)
    for (method, path), needed in API.items():
        if not isinstance(needed, Permission) or needed is Permission.USE_JOBS:
            continue
        body = {"data": b"{}", "Content-Type": "application/json"} if method != "GET" else {}
        told = await house.send(method, concrete(path), key=key, **body)
        may = role in MAY[needed].split()
        assert (told.status == 403) is not may, (method, path, told.raw)
        assert told.status < 500
        if not may:
            assert told.error["code"] == "forbidden"
            assert f"role {role}" in told.error["message"]


@pytest.mark.parametrize("role", ROLES)
async def test_only_the_role_of_apps_uses_jobs(role: str, house: House) -> None:
    key = house.gateway.key(app="by-" + role.replace("@", "-"), role=role)
    told = await house.send(
        "POST",
        "/v1/chat/completions",
        key=key,
        data=b'{"model":"private","messages":[{"role":"user","content":"Hi"}]}',
    )

    assert told.status == (200 if role in MAY[Permission.USE_JOBS] else 403)


def test_every_permission_is_in_the_matrix() -> None:
    assert set(MAY) == set(Permission)


async def test_a_route_under_admin_without_a_policy_is_closed_to_everybody(
    house: House,
) -> None:
    gateway = house.gateway.gateway
    router = next(
        route.original_router for route in gateway.app.routes if hasattr(route, "original_router")
    )
    router.get("/forgotten")(lambda: {"open": True})

    told = await house.send("GET", "/admin/v1/forgotten", key=house.gateway.admin_key)
    router.routes.pop()

    assert (told.status, told.error["code"]) == (403, "forbidden")
