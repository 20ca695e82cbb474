"""A browser that is sent to the sign-in service and comes back with what the service says."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import aiohttp

from tests.web.visiting import Seen, Visitor

OUT, BACK = "/sign-in/oidc", "/sign-in/oidc/back"
ERRAND = "jobgate_errand"
ANNA: dict[str, Any] = {
    "sub": "anna",
    "email": "anna@example.com",
    "email_verified": True,
    "groups": ["everybody", "CN=finance,OU=people"],
}


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
    """The whole way: what the browser is told when it is back."""
    return await visitor.get(await way_back(visitor, place))


def kept(visitor: Visitor, name: str) -> str:
    """The value of a cookie that the browser has, or nothing."""
    return next((cookie.value for cookie in visitor.http.cookie_jar if cookie.key == name), "")


def is_refused(seen: Seen, visitor: Visitor) -> bool:
    """The form again, no session, and the errand forgotten."""
    return (
        seen.status in (400, 401, 403, 503)
        and 'id="problem"' in seen.text
        and not visitor.token
        and not kept(visitor, ERRAND)
    )
