"""Documents of the issuer of a sign-in service: fetched over https, bounded in size and in time.

Redirects are not followed and proxies of the environment not used; nothing is sent but what the
call says. Whatever goes wrong is Unavailable, and the log has its kind.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from gateway.errors import Unavailable

log = logging.getLogger(__name__)

SECONDS = 5.0
"""For so long is the service waited for, each time."""
_DOCUMENT_BYTES = 512 * 1024
_HERE = ("127.0.0.1", "::1", "localhost")
_AT_ONCE = 16

Json = dict[str, Any]


class Issuer:
    """Asks one sign-in service for documents."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def fetch(self, url: str) -> Json:
        """A JSON object at an address. Raises Unavailable."""
        status, document = await self._ask("GET", url, None, {})
        if status != 200:
            raise out_of_reach(f"it answered {status}")
        return document

    async def post(
        self, url: str, fields: Mapping[str, str], headers: Mapping[str, str]
    ) -> tuple[int, Json]:
        """The status and the JSON object that a form is answered with. Raises Unavailable."""
        return await self._ask("POST", url, fields, headers)

    async def _ask(
        self,
        method: str,
        url: str,
        fields: Mapping[str, str] | None,
        headers: Mapping[str, str],
    ) -> tuple[int, Json]:
        body = bytearray()
        try:
            async with (
                self._turn,
                asyncio.timeout(SECONDS),
                aiohttp.ClientSession(
                    trust_env=False,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                ) as session,
                session.request(
                    method, url, data=fields, headers=headers, allow_redirects=False
                ) as answer,
            ):
                async for part in answer.content.iter_any():
                    body += part
                    if len(body) > _DOCUMENT_BYTES:
                        raise out_of_reach("its document is too large")
            document = msgspec.json.decode(body)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, RecursionError) as error:
            raise out_of_reach(type(error).__name__) from None
        if answer.status >= 500 or not isinstance(document, dict):
            raise out_of_reach(f"it answered {answer.status} and no object")
        return answer.status, document


def is_safe(url: object) -> bool:
    """Whether nobody can listen on the way to an address: https, or within this machine."""
    try:
        parsed = URL(url) if isinstance(url, str) else None
    except ValueError:
        return False
    if parsed is None or not parsed.host or parsed.user or parsed.password or parsed.fragment:
        return False
    return parsed.scheme == "https" or (parsed.scheme == "http" and parsed.host in _HERE)


def out_of_reach(why: str) -> Unavailable:
    """The error for a service that cannot be asked."""
    log.warning("the sign-in service cannot be asked: %s", why)
    return Unavailable("the sign-in service is out of reach; try again", retry_after=5.0)
