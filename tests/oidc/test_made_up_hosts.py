"""A gateway that is told where it is reached believes no Host header about that."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.gateways import routes_for, running
from tests.oidc.conftest import SignInProcess
from tests.oidc.there_and_back import BACK, OUT
from tests.web.visiting import visiting

pytestmark = pytest.mark.anyio

OURS, OTHERS = "https://jobgate.example.com", "evil.example"


@pytest.mark.parametrize("public_url", ["", OURS])
async def test_a_made_up_host_leads_no_sign_in_and_no_app_to_itself(
    public_url: str, service: SignInProcess, sqlite_url: str
) -> None:
    told = {"oidc": service.settings(), "public_url": public_url}
    async with running(routes_for("http://127.0.0.1:9"), sqlite_url, **told) as gateway:
        gateway.key()
        async with visiting(gateway, "platform") as platform:
            page = await platform.get("/callers/apps/site", Host=OTHERS)
            out = await platform.get(OUT, Host=OTHERS)

    (back,) = parse_qs(urlsplit(out.leads_to).query)["redirect_uri"]
    expected = public_url or f"http://{OTHERS}"
    assert (page.status, out.status) == (200, 303)
    assert back == expected + BACK
    assert f"{expected}/v1" in page.text
    assert (OTHERS in page.text) is (not public_url)
