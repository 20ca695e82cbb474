"""Signing in and out: whose session it is, that nobody can choose it, and when it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.callers.registry import Registry
from gateway.callers.roles import Role
from gateway.callers.sessions import LIFE_SECONDS, Sessions
from gateway.callers.signed_in import SignedIn
from gateway.clock import FrozenClock
from tests.gateways import TESTER, RunningGateway, routes_for, running
from tests.web.visiting import SESSION, Visitor, a_key, visiting

pytestmark = pytest.mark.anyio

ROUTES = routes_for("http://127.0.0.1:9")


@pytest.fixture
async def gateway(sqlite_url: str) -> AsyncIterator[RunningGateway]:
    async with running(ROUTES, sqlite_url) as opened:
        yield opened


@pytest.fixture
async def visitor(gateway: RunningGateway) -> AsyncIterator[Visitor]:
    async with visiting(gateway) as found:
        yield found


def registry(gateway: RunningGateway) -> Registry:
    inside = gateway.gateway
    return Registry(inside.database, inside.settings.org, inside.clock)


async def test_whoever_is_not_signed_in_is_led_to_sign_in_and_then_back(
    gateway: RunningGateway, visitor: Visitor
) -> None:
    first = await visitor.get("/budgets/one?name=a%20b&subject=c")
    assert (first.status, first.leads_to) == (
        303,
        "/sign-in?next=%2Fbudgets%2Fone%3Fname%3Da%2520b%26subject%3Dc",
    )
    place = "/budgets/one?name=a%20b&subject=c"
    seen = await visitor.sign_in(gateway.admin_key, place)
    assert (seen.status, seen.leads_to) == (303, place)
    assert (await visitor.get("/")).status == 200


@pytest.mark.parametrize("place", ["https://evil.example", "//evil.example", "/\\evil", "x", ""])
async def test_after_signing_in_nobody_is_led_to_another_site(
    place: str, gateway: RunningGateway, visitor: Visitor
) -> None:
    seen = await visitor.sign_in(gateway.admin_key, place)
    assert (seen.status, seen.leads_to) == (303, "/")


@pytest.mark.parametrize("role", ["viewer", "finance", "platform", "admin", "finance@brand"])
async def test_every_role_but_that_of_apps_signs_in(
    role: str, gateway: RunningGateway, visitor: Visitor
) -> None:
    await visitor.sign_in(a_key(gateway, role)[1])
    page = await visitor.get("/")
    assert page.status == 200
    assert f'<span class="who-role">{role}</span>' in page.text


async def test_the_key_of_an_app_opens_no_page(gateway: RunningGateway, visitor: Visitor) -> None:
    seen = await visitor.sign_in(gateway.key())
    assert seen.status == 403
    assert "the key of an app" in seen.text
    assert visitor.token == ""


async def test_a_wrong_key_is_refused_counted_and_slowed_as_everywhere(
    gateway: RunningGateway, visitor: Visitor
) -> None:
    seen = await visitor.sign_in("jg_" + "x" * 43)
    assert seen.status == 401
    assert "jg_xxx" not in seen.text
    assert gateway.metric("jobgate_authentication_failures_total") == 1
    assert visitor.token == ""


async def test_the_sign_in_form_of_another_browser_is_refused(
    gateway: RunningGateway, visitor: Visitor
) -> None:
    """Otherwise another site could sign somebody in as somebody else."""
    async with visiting(gateway) as other:
        page = await other.get("/sign-in")
    token = page.text.partition('name="csrf" value="')[2].partition('"')[0]
    for cookies_first in (False, True):
        if cookies_first:
            await visitor.get("/sign-in")
        seen = await visitor.post("/sign-in", {"csrf": token, "key": gateway.admin_key})
        assert seen.status == 403
        assert visitor.token == ""


async def test_a_session_that_was_chosen_before_is_not_the_one_that_begins(
    gateway: RunningGateway, visitor: Visitor
) -> None:
    visitor.keep("chosen-by-somebody-else")
    await visitor.sign_in(gateway.admin_key)
    first = visitor.token
    assert first not in ("", "chosen-by-somebody-else")
    await visitor.post("/sign-out", {})
    async with visiting(gateway) as other:
        other.keep("chosen-by-somebody-else")
        assert (await other.get("/")).status == 303


async def test_every_sign_in_has_a_token_of_its_own(
    gateway: RunningGateway, visitor: Visitor
) -> None:
    tokens = set()
    for _ in range(3):
        async with visiting(gateway) as other:
            await other.sign_in(gateway.admin_key)
            tokens.add(other.token)
    assert len(tokens) == 3


async def test_the_database_has_the_hash_of_a_token_alone(
    gateway: RunningGateway, visitor: Visitor
) -> None:
    await visitor.sign_in(gateway.admin_key)
    with gateway.gateway.database.reading() as cursor:
        (row,) = cursor.rows("SELECT * FROM sessions", {})
    assert visitor.token not in map(str, row)
    assert gateway.admin_key not in map(str, row)
    async with visiting(gateway) as thief:
        for value in filter(lambda v: isinstance(v, str) and v, row):
            thief.keep(value)
            assert (await thief.get("/")).status == 303


async def test_whoever_has_signed_out_is_out_with_the_old_cookie_too(
    gateway: RunningGateway, visitor: Visitor
) -> None:
    await visitor.sign_in(gateway.admin_key)
    token = visitor.token
    gone = await visitor.fill_in("/requests", "/sign-out")
    assert (gone.status, gone.leads_to, visitor.token) == (303, "/sign-in", "")
    visitor.keep(token)
    assert (await visitor.get("/")).status == 303


async def test_a_session_ends_when_its_key_is_revoked(
    gateway: RunningGateway, visitor: Visitor
) -> None:
    key_id, secret = a_key(gateway, "finance")
    await visitor.sign_in(secret)
    registry(gateway).revoke(key_id, TESTER)
    gateway.gateway._fresh.refresh()
    assert (await visitor.get("/")).status == 303


async def test_a_session_ends_when_the_secret_that_began_it_is_rotated_away(
    gateway: RunningGateway, visitor: Visitor
) -> None:
    key_id, secret = a_key(gateway, "finance")
    await visitor.sign_in(secret)
    new, _until = registry(gateway).rotate(key_id, 0, TESTER)
    gateway.gateway._fresh.refresh()
    assert (await visitor.get("/")).status == 303
    await visitor.sign_in(new)
    assert (await visitor.get("/")).status == 200


async def test_a_changed_role_is_changed_in_sessions_too(
    gateway: RunningGateway, visitor: Visitor
) -> None:
    key_id, secret = a_key(gateway, "admin")
    await visitor.sign_in(secret)
    registry(gateway).change(key_id, {"role": "app"}, TESTER)
    gateway.gateway._fresh.refresh()
    assert (await visitor.get("/")).status == 403


async def test_a_session_is_over_after_a_working_day(sqlite_url: str) -> None:
    clock = FrozenClock()
    async with running(ROUTES, sqlite_url, clock=clock) as gateway, visiting(gateway) as visitor:
        await visitor.sign_in(gateway.admin_key)
        clock.move(LIFE_SECONDS - 1)
        assert (await visitor.get("/")).status == 200
        clock.move(1)
        assert (await visitor.get("/")).status == 303
        await visitor.sign_in(gateway.admin_key)
        with gateway.gateway.database.reading() as cursor:
            assert cursor.rows("SELECT COUNT(*) FROM sessions", {}) == [(1,)]


async def test_a_key_that_is_limited_to_addresses_signs_in_from_there_alone(
    gateway: RunningGateway, visitor: Visitor
) -> None:
    seen = await visitor.sign_in(a_key(gateway, "admin", addresses=("10.9.9.9",))[1])
    assert (seen.status, visitor.token) == (403, "")


@pytest.mark.parametrize("proto", ["http", "https"])
async def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites(
    proto: str, gateway: RunningGateway, visitor: Visitor
) -> None:
    page = await visitor.get("/sign-in", x_forwarded_proto=proto)
    token = page.text.partition('name="csrf" value="')[2].partition('"')[0]
    doorstep = page.headers["set-cookie"].partition(";")[0]
    seen = await visitor.post(
        "/sign-in",
        {"csrf": token, "key": gateway.admin_key},
        x_forwarded_proto=proto,
        cookie=doorstep,
    )
    kept = next(c for c in seen.headers.getall("set-cookie") if f"{SESSION}=" in c)
    parts = {part.strip().lower() for part in kept.split(";")[1:]}
    assert {"httponly", "samesite=lax", "path=/"} <= parts
    assert ("secure" in parts) is (proto == "https")
    assert kept.startswith("__Host-") is (proto == "https")


async def test_a_person_has_the_role_that_they_came_with(gateway: RunningGateway) -> None:
    """What another way to sign in will do: nobody's key is behind such a session."""
    inside = gateway.gateway
    sessions = Sessions(inside.database, inside.settings.org, inside.clock, inside._keys)
    token = sessions.begin_for_person("ann@example.com", Role("viewer"), "oidc")
    async with visiting(gateway) as ann:
        ann.keep(token)
        assert "ann@example.com" in (await ann.get("/")).text
        ended = SignedIn(inside.database, inside.settings.org, inside.clock).end(
            "ann@example.com", TESTER
        )
        assert (ended, (await ann.get("/")).status) == (1, 303)
