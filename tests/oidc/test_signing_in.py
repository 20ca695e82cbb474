"""Signing in by a sign-in service: whom it vouches for, with which groups, and what is kept."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.callers.people import GroupRoles
from gateway.callers.roles import Role
from gateway.errors import ConfigurationError, Forbidden
from tests.gateways import RunningGateway, routes_for, running
from tests.oidc.__main__ import SECRET
from tests.oidc.conftest import SignInProcess
from tests.oidc.there_and_back import ANNA, ERRAND, OUT, is_refused, kept, sign_in, way_back
from tests.web.visiting import Visitor, visiting

pytestmark = pytest.mark.anyio

# ---- getting in


async def test_the_page_offers_it_and_whoever_has_a_group_gets_in(
    service: SignInProcess, gateway: RunningGateway, visitor: Visitor
) -> None:
    service.be(**ANNA)
    page = await visitor.get("/sign-in")
    assert f'href="{OUT}"' in page.text

    seen = await sign_in(visitor)
    first = await visitor.get("/")

    assert (seen.status, seen.leads_to) == (303, "/")
    assert first.status == 200
    assert '<span class="who-role">finance</span>' in first.text
    assert "anna@example.com &lt;anna&gt;" in first.text


async def test_what_the_service_is_asked_has_pkce_a_state_and_a_nonce_and_no_secret(
    service: SignInProcess, visitor: Visitor
) -> None:
    ways = [urlsplit((await visitor.get(OUT)).leads_to) for _ in range(2)]
    first, second = (parse_qs(way.query) for way in ways)

    assert first["code_challenge_method"] == ["S256"]
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name][0]) == 43
        assert first[name] != second[name]
    assert SECRET not in str(ways)
    assert kept(visitor, ERRAND).partition("%20")[0] not in str(ways)


async def test_the_browser_comes_back_to_the_page_that_it_wanted(
    service: SignInProcess, visitor: Visitor
) -> None:
    service.be(**ANNA)
    page = await visitor.get("/sign-in?next=%2Frequests%3Fteam%3Dbrand")
    assert f'href="{OUT}?next=%2Frequests%3Fteam%3Dbrand"' in page.text

    seen = await sign_in(visitor, "%2Frequests%3Fteam%3Dbrand")

    assert seen.leads_to == "/requests?team=brand"


@pytest.mark.parametrize("place", ["https%3A%2F%2Fevil.example", "%2F%2Fevil.example", "%2F%5Cx"])
async def test_nobody_is_led_to_another_site(
    place: str, service: SignInProcess, visitor: Visitor
) -> None:
    service.be(**ANNA)

    assert (await sign_in(visitor, place)).leads_to == "/"


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["gateway-admins"], "admin"),
        (["CN=finance,OU=people", "gateway-admins"], "admin"),
        (["brand-leads", "CN=finance,OU=people"], "finance"),
        ("brand-leads", "viewer@brand"),
    ],
)
async def test_the_first_group_of_the_mapping_decides(
    groups: object, role: str, service: SignInProcess, visitor: Visitor
) -> None:
    service.be(sub="anna", groups=groups)
    await sign_in(visitor)

    assert f'<span class="who-role">{role}</span>' in (await visitor.get("/")).text


async def test_what_somebody_changes_is_written_down_with_the_name_that_was_proved(
    service: SignInProcess, gateway: RunningGateway, visitor: Visitor
) -> None:
    service.be(**{**ANNA, "groups": ["gateway-admins"]})
    await sign_in(visitor)

    with gateway.gateway.database.reading() as cursor:
        rows = cursor.rows("SELECT principal, role, method, key_hash FROM sessions", {})

    assert rows == [("anna@example.com <anna>", "admin", "oidc", "")]


async def test_a_person_signs_out(
    service: SignInProcess, gateway: RunningGateway, visitor: Visitor
) -> None:
    service.be(**ANNA)
    await sign_in(visitor)
    token = visitor.token

    seen = await visitor.fill_in("/", "/sign-out")
    visitor.keep(token)

    assert seen.leads_to == "/sign-in"
    assert (await visitor.get("/")).status == 303


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_a_new_key_of_the_service_is_found(
    algorithm: str, service: SignInProcess, sqlite_url: str
) -> None:
    service.be(new_key=algorithm, **ANNA)
    routes = routes_for("http://127.0.0.1:9")
    async with (
        running(routes, sqlite_url, oidc=service.settings()) as gateway,
        visiting(gateway) as visitor,
    ):
        assert (await sign_in(visitor)).status == 303


# ---- closed by default


@pytest.mark.parametrize(
    "groups", [[], ["everybody"], "everybody", None, {"gateway-admins": True}, [["gateway-admins"]]]
)
async def test_nobody_without_a_group_that_was_mapped_gets_in(
    groups: object, service: SignInProcess, visitor: Visitor
) -> None:
    service.be(sub="anna", groups=groups)

    seen = await sign_in(visitor)

    assert is_refused(seen, visitor)
    assert seen.status == 403
    assert "none of your groups" in seen.text


async def test_without_the_claim_nobody_gets_in(service: SignInProcess, visitor: Visitor) -> None:
    service.be("no groups", **ANNA)

    assert is_refused(await sign_in(visitor), visitor)


async def test_an_address_that_was_not_verified_names_nobody(
    service: SignInProcess, visitor: Visitor
) -> None:
    service.be("unverified", **ANNA)
    await sign_in(visitor)

    page = (await visitor.get("/")).text
    assert "&lt;anna&gt;" in page
    assert "admin@example.com" not in page


async def test_the_roles_of_people_have_the_same_limits_as_those_of_keys(
    service: SignInProcess, visitor: Visitor
) -> None:
    service.be(sub="lead", groups=["brand-leads"])
    await sign_in(visitor)

    assert (await visitor.get("/")).status == 200
    assert (await visitor.get("/admin/v1/keys")).status == 401  # pages alone; the API asks for keys


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "nobody could sign in"),
        ("finance", "GROUP=ROLE"),
        ("x=emperor", "it is one of"),
        ("x=app", "for keys, not for people"),
        ("=admin", "GROUP=ROLE"),
        ("x=finance@", "after the @ stands a team"),
    ],
)
def test_a_mapping_that_says_nothing_does_not_load(text: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        GroupRoles.parse(text)

    assert says in str(refused.value)


def test_a_mapping_may_be_written_on_lines_and_with_signs_in_its_names() -> None:
    roles = GroupRoles.parse("\n cn=a,ou=b = finance ;\n c d=viewer@brand\n")

    assert roles.role_in(["c d", "cn=a,ou=b"]) == Role("finance")
    with pytest.raises(Forbidden):
        roles.role_in(["CN=a,ou=b"])


# ---- what is written down


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    lines = io.StringIO()
    handler, root = logging.StreamHandler(lines), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(handler)
    root.setLevel(level)


async def test_no_code_token_or_secret_is_logged_or_kept(
    service: SignInProcess, gateway: RunningGateway, visitor: Visitor, log: io.StringIO
) -> None:
    secrets = [SECRET]
    for lie in ("", "signature", "error", "500"):
        service.be(lie, **ANNA)
        back = await way_back(visitor)
        secrets += [kept(visitor, ERRAND), *parse_qs(urlsplit(back).query).get("code", [])]
        await visitor.get(back)
        secrets.append(visitor.token)
    database = gateway.gateway.database.file
    assert database is not None
    files = b"".join(path.read_bytes() for path in database.parent.glob("books.db*"))

    assert "has signed in with the role finance" in log.getvalue()
    assert "cannot be believed" in log.getvalue()
    for secret in filter(None, secrets):
        assert secret not in log.getvalue()
        assert secret.encode() not in files
    assert SECRET not in repr(gateway.gateway.settings)
