"""Every route has a policy that is written down here, and keeps it when it is really asked.

A route that is added without a line in POLICY fails the build.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable

import pytest
from starlette.routing import BaseRoute, Mount, Route, Router

from tests.stories.front_door import House, a_house

pytestmark = pytest.mark.anyio

PUBLIC, KEY, ROLE = "public", "key", "role"
POLICY = {
    "/healthz": PUBLIC,
    "/readyz": PUBLIC,
    "/metrics": PUBLIC,
    "/docs": PUBLIC,
    "/openapi.json": PUBLIC,
    "/v1/chat/completions": KEY,
    "/v1/embeddings": KEY,
    "/v1/messages": KEY,
    "/v1/responses": KEY,
    "/v1/models": KEY,
    "/v1/models/{name:path}": KEY,
    "/admin/v1/entries": ROLE,
}
REFUSED_WITHOUT_A_KEY = {KEY, ROLE}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with a_house(tmp_path_factory.mktemp("books")) as opened:
        yield opened


def routes_of(routes: Iterable[BaseRoute], prefix: str = "") -> Iterable[tuple[str, set[str]]]:
    """Paths and methods of an app, its mounts and included routers too."""
    for route in routes:
        included = getattr(route, "original_router", route)  # what FastAPI wraps a router in
        if isinstance(included, Route):
            yield prefix + included.path, set(included.methods or ())
        else:
            assert isinstance(included, Mount | Router), f"{route!r} cannot be looked into"
            yield from routes_of(included.routes, prefix + getattr(route, "path", ""))


async def test_every_route_has_a_policy_and_every_policy_a_route(house: House) -> None:
    found = {path for path, _ in routes_of(house.gateway.gateway.app.routes)}

    assert found == set(POLICY)


async def test_every_route_keeps_its_policy(house: House) -> None:
    for path, methods in routes_of(house.gateway.gateway.app.routes):
        for method in methods:
            asked = re.sub(r"\{.*?\}", "extraction", path)
            told = await house.send(method, asked)
            if POLICY[path] in REFUSED_WITHOUT_A_KEY:
                assert told.status == 401, (method, path)
                assert told.headers["www-authenticate"] == "Bearer"
            else:
                assert told.status == 200, (method, path)


async def test_an_app_key_opens_no_door_that_needs_a_role(house: House) -> None:
    for path, methods in routes_of(house.gateway.gateway.app.routes):
        if POLICY[path] == ROLE:
            for method in methods:
                told = await house.send(method, f"{path}?request_id=req_1", key=house.key)
                assert (told.status, told.error["code"]) == (403, "forbidden"), (method, path)
