"""Every page asks for a session, and lets in whom the table of policies lets in."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest

from gateway.callers.roles import Permission
from gateway.doors.policy import POLICY
from tests.gateways import RunningGateway, routes_for, running
from tests.stories.test_route_policy import API, MAY, ROLES
from tests.web.visiting import FORM_TOKEN, SESSION, a_key, visiting

pytestmark = pytest.mark.anyio

PAGES = {
    (method, path): needed
    for (method, path), needed in POLICY.items()
    if (method, path) not in API and isinstance(needed, Permission)
}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    url = f"sqlite:///{tmp_path_factory.mktemp('books')}/books.db"
    async with running(routes_for("http://127.0.0.1:9"), url) as opened:
        yield opened


def concrete(path: str) -> str:
    """A path with something in place of its names."""
    return re.sub(r"\{\w+.*?\}", "extraction", path)


def test_there_are_pages_to_look_at() -> None:
    assert {path for _, path in PAGES} >= {"/", "/budgets", "/jobs", "/requests"}


@pytest.mark.parametrize(("method", "path"), sorted(PAGES))
async def test_without_a_session_every_page_leads_to_the_sign_in(
    method: str, path: str, gateway: RunningGateway
) -> None:
    async with visiting(gateway) as stranger:
        for kept in ("", "made-up"):
            if kept:
                stranger.keep(kept)
            seen = await stranger._send(method, concrete(path), None, {})
            assert seen.status == 303
            assert seen.leads_to.startswith("/sign-in")


@pytest.mark.parametrize(("method", "path"), sorted(PAGES))
async def test_a_key_in_a_header_is_no_session(
    method: str, path: str, gateway: RunningGateway
) -> None:
    async with visiting(gateway) as program:
        told = {"authorization": f"Bearer {gateway.admin_key}"}
        assert (await program._send(method, concrete(path), None, told)).status == 303


@pytest.mark.parametrize("role", [role for role in ROLES if role != "app"])
async def test_a_role_opens_the_pages_of_its_permissions_and_no_other(
    role: str, gateway: RunningGateway
) -> None:
    async with visiting(gateway, role) as visitor:
        found = FORM_TOKEN.search((await visitor.get("/")).text)
        assert found is not None
        for (method, path), needed in PAGES.items():
            fields = {"csrf": found[1]} if method == "POST" else None
            seen = await visitor._send(method, concrete(path), fields, {})
            may = role in MAY[needed].split()
            assert (seen.status == 403) is not may, (method, path, seen.text)
            assert seen.status < 500, (method, path, seen.text)
            if not may:
                assert f"role {role}" in seen.text


@pytest.mark.parametrize("role", ["viewer", "finance@brand", "platform", "admin"])
async def test_the_navigation_shows_what_may_be_opened(role: str, gateway: RunningGateway) -> None:
    async with visiting(gateway, role) as visitor:
        nav = (await visitor.get("/")).text.partition("<nav")[2].partition("</nav>")[0]
        for place in re.findall(r'href="([^"]+)"', nav):
            assert (await visitor.get(place)).status == 200
        assert nav.count('aria-current="page"') == 1


async def test_the_pages_are_no_way_to_the_api(gateway: RunningGateway) -> None:
    """A session is for pages: a program shows its key."""
    async with visiting(gateway, "admin") as visitor:
        assert visitor.token
        assert (await visitor.get("/admin/v1/me")).status == 401
        assert (await visitor.get("/v1/models")).status == 401


async def test_somebody_elses_team_is_not_seen(gateway: RunningGateway) -> None:
    a_key(gateway, "finance@brand")
    async with visiting(gateway, "finance@brand") as visitor:
        assert (await visitor.get("/requests?team=legal")).status == 403
        assert (await visitor.get("/requests.csv?team=legal")).status == 403
        assert (await visitor.get("/requests?team=brand")).status == 200
        assert SESSION not in (await visitor.get("/requests")).text
