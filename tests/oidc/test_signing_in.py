"""Signing in by a sign-in service: whoever it vouches for gets in, and nothing else does."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from gateway.callers.people import GroupRoles
from gateway.callers.roles import Role
from gateway.errors import ConfigurationError, Forbidden
from tests.gateways import RunningGateway, routes_for, running
from tests.oidc.__main__ import SECRET
from tests.oidc.conftest import SignInProcess
from tests.web.visiting import Seen, Visitor, visiting

pytestmark = pytest.mark.anyio

OUT, BACK = "/sign-in/oidc", "/sign-in/oidc/back"
ERRAND = "jobgate_errand"
ANNA: dict[str, Any] = {
    "sub": "anna",
    "email": "anna@example.com",
    "email_verified": True,
    "groups": ["everybody", "CN=finance,OU=people"],
}
LIES_OF_THE_PROOF = (
    *("nonce", "no nonce", "audience", "other audiences", "azp", "issuer", "expired", "not yet"),
    *("signature", "none", "hs256", "key of a stranger", "no proof", "garbage", "no expiry"),
    *("at_hash", "nobody", "iss", "no iss", "error"),
)


async def there(place: str) -> str:
    """Where the service sends a browser on that comes by this address."""
    async with (
        aiohttp.ClientSession() as http,
        http.get(place, allow_redirects=False) as answer,
    ):
        assert answer.status == 302, await answer.text()
        return str(answer.headers["location"])


async def way_back(visitor: Visitor, place: str = "") -> str:
    """Go out to the service; the address of ours that the browser is sent back to."""
    seen = await visitor.get(OUT + (f"?next={place}" if place else ""))
    assert seen.status == 303, seen.text
    back = urlsplit(await there(seen.leads_to))
    return f"{back.path}?{back.query}"


async def sign_in(visitor: Visitor, place: str = "") -> Seen:
    return await visitor.get(await way_back(visitor, place))


def kept(visitor: Visitor, name: str) -> str:
    return next((cookie.value for cookie in visitor.http.cookie_jar if cookie.key == name), "")


def is_refused(seen: Seen, visitor: Visitor) -> bool:
    """The form again, no session, and the errand forgotten."""
    return (
        seen.status in (400, 401, 403, 503)
        and 'id="problem"' in seen.text
        and not visitor.token
        and not kept(visitor, ERRAND)
    )


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


# ---- proofs that are none


@pytest.mark.parametrize("lie", LIES_OF_THE_PROOF)
async def test_a_proof_that_is_not_good_lets_nobody_in(
    lie: str, service: SignInProcess, visitor: Visitor
) -> None:
    service.be(lie, **{**ANNA, "groups": ["gateway-admins"]})

    seen = await sign_in(visitor)

    assert is_refused(seen, visitor)
    assert seen.status == 401
    assert "<script>alert" not in seen.text
    assert (await visitor.get("/")).status == 303


@pytest.mark.parametrize("lie", ["500", "html", "huge", "slow"])
async def test_a_service_that_fails_is_waited_for_a_little_and_lets_nobody_in(
    lie: str, service: SignInProcess, visitor: Visitor
) -> None:
    service.be(lie, **ANNA)

    seen = await sign_in(visitor)

    assert is_refused(seen, visitor)
    assert seen.status == 503


async def test_a_redirect_of_the_service_is_not_followed_with_our_secret(
    service: SignInProcess, visitor: Visitor
) -> None:
    service.be("redirect", **ANNA)
    before = service.asked()

    seen = await sign_in(visitor)

    assert is_refused(seen, visitor)
    assert service.asked()[len(before) :][-1] == "token"


@pytest.mark.parametrize("lie", ["document of another", "http"])
async def test_a_document_that_leads_elsewhere_is_not_believed(
    lie: str, service: SignInProcess, visitor: Visitor
) -> None:
    service.be(lie, **ANNA)

    seen = await visitor.get(OUT)

    assert (seen.status, 'id="problem"' in seen.text) == (503, True)


async def test_while_the_service_is_away_keys_still_sign_in(sqlite_url: str) -> None:
    nobody = SignInProcess("http://127.0.0.1:9").settings()
    async with (
        running(routes_for("http://127.0.0.1:9"), sqlite_url, oidc=nobody) as gateway,
        visiting(gateway) as visitor,
    ):
        assert (await visitor.get(OUT)).status == 503
        assert (await visitor.sign_in(gateway.admin_key)).status == 303


# ---- state, codes, other browsers


@pytest.mark.parametrize("lie", ["state", "no state"])
async def test_an_answer_with_another_state_is_refused_before_its_code_is_looked_at(
    lie: str, service: SignInProcess, visitor: Visitor
) -> None:
    service.be(lie, **ANNA)
    back = await way_back(visitor)
    before = service.asked()

    seen = await visitor.get(back)

    assert is_refused(seen, visitor)
    assert service.asked() == before


async def test_nobody_is_signed_in_as_somebody_else_by_a_link(
    service: SignInProcess, gateway: RunningGateway, visitor: Visitor
) -> None:
    """Login CSRF: the attacker's own answer of the service, opened by the victim's browser."""
    service.be(**ANNA)
    theirs = await way_back(visitor)
    async with visiting(gateway) as victim:
        without_an_errand = await victim.get(theirs)
        assert is_refused(without_an_errand, victim)
        await way_back(victim)  # one errand of its own does not help the attacker
        assert is_refused(await victim.get(theirs), victim)

    assert (await visitor.get(theirs)).status == 303


async def test_an_answer_of_the_service_is_good_once(
    service: SignInProcess, gateway: RunningGateway, visitor: Visitor
) -> None:
    service.be(**ANNA)
    back = await way_back(visitor)
    errand = kept(visitor, ERRAND)
    assert (await visitor.get(back)).status == 303

    async with visiting(gateway) as other:  # somebody who has the address and even the cookie
        other.http.cookie_jar.update_cookies(
            {ERRAND: errand}, response_url=aiohttp.client.URL(gateway.url)
        )
        assert is_refused(await other.get(back), other)


async def test_a_code_cannot_be_put_into_another_browsers_answer(
    service: SignInProcess, gateway: RunningGateway, visitor: Visitor
) -> None:
    """Code injection: PKCE binds the code to the browser that asked for it."""
    service.be(**ANNA)
    stolen = parse_qs(urlsplit(await way_back(visitor)).query)["code"][0]
    async with visiting(gateway) as thief:
        own = await way_back(thief)
        mixed = own.replace(parse_qs(urlsplit(own).query)["code"][0], stolen)

        seen = await thief.get(mixed)

        assert is_refused(seen, thief)
        assert "400 to its own code" in seen.text


async def test_nobody_can_choose_a_session_for_somebody_who_signs_in(
    service: SignInProcess, visitor: Visitor
) -> None:
    """Session fixation: a session that the browser had is not the one that begins."""
    service.be(**ANNA)
    visitor.keep("chosen-by-somebody-else")

    await sign_in(visitor)
    first = visitor.token
    await sign_in(visitor)

    assert len({"chosen-by-somebody-else", first, visitor.token}) == 3


async def test_cookies_cannot_be_read_by_scripts_and_over_https_go_to_this_host_alone(
    service: SignInProcess, visitor: Visitor
) -> None:
    plain = (await visitor.get(OUT)).headers["set-cookie"]
    secure = (await visitor.get(OUT, X_Forwarded_Proto="https")).headers["set-cookie"]

    assert "HttpOnly" in plain
    assert "SameSite=lax" in plain
    assert secure.startswith(f"__Host-{ERRAND}=")
    assert "Secure" in secure
    assert "Domain" not in secure


async def test_whoever_comes_back_without_a_proof_again_and_again_is_slowed(
    service: SignInProcess, visitor: Visitor
) -> None:
    seconds = []
    for _ in range(8):
        began = time.monotonic()
        assert (await visitor.get(f"{BACK}?state=x&code=y")).status == 401
        seconds.append(time.monotonic() - began)

    assert all(waited >= least for waited, least in zip(seconds[6:], (0.1, 0.2), strict=True))


async def test_without_a_service_both_places_lead_to_the_form(sqlite_url: str) -> None:
    async with (
        running(routes_for("http://127.0.0.1:9"), sqlite_url) as gateway,
        visiting(gateway) as visitor,
    ):
        for place in (OUT, BACK):
            assert (await visitor.get(place)).leads_to == "/sign-in"
        assert OUT not in (await visitor.get("/sign-in")).text


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
