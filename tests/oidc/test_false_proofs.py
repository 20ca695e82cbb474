"""No false proof, failing service or answer that was meant for somebody else lets anybody in."""

from __future__ import annotations

import time
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from tests.gateways import RunningGateway, routes_for, running
from tests.oidc.conftest import SignInProcess
from tests.oidc.there_and_back import ANNA, BACK, ERRAND, OUT, is_refused, kept, sign_in, way_back
from tests.web.visiting import Visitor, visiting

pytestmark = pytest.mark.anyio

LIES_OF_THE_PROOF = (
    *("nonce", "no nonce", "audience", "other audiences", "azp", "issuer", "expired", "not yet"),
    *("signature", "none", "hs256", "key of a stranger", "no proof", "garbage", "no expiry"),
    *("at_hash", "nobody", "iss", "no iss", "error"),
)

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
