"""One call to a provider that costs nothing: its list of models, asked for with our key.

It tells whether the provider is there, whether it takes the key, and what its clock says. It is a
GET, never anything that a provider bills; redirects are not followed and proxies of the
environment not used, so no host but the configured one gets to see the key.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import msgspec

from gateway.clock import MICROS, to_micros
from gateway.jobs.routes import Provider
from gateway.upstreams.translated import ANTHROPIC_VERSION

_BYTES_AT_MOST = 8 * 1024 * 1024
"""Of a list of models; the longest there are have a few hundred kilobytes."""
_HALF_A_SECOND = MICROS // 2
"""The header Date has whole seconds, so half of one is missing on average."""


class Reached(msgspec.Struct, frozen=True):
    """What came back; `error` says why nothing did."""

    status: int = 0
    error: str = ""
    models: frozenset[str] = frozenset()
    """Names in the list; empty when it has none that we can read."""
    clock_off_micros: int | None = None
    """By how much its clock is ahead of ours; None when it does not tell the time."""
    seconds: float = 0.0


def can_be_asked(provider: Provider) -> bool:
    """Whether there is a call to this provider that is known to be free."""
    return provider.base_url is not None and provider.wire != "litellm"


def address(provider: Provider, credential: str | None) -> tuple[str, Mapping[str, str]]:
    """Where the free call goes, and with which headers."""
    base, headers = provider.base_url or "", dict(provider.headers)
    if provider.wire == "anthropic":
        headers["anthropic-version"] = ANTHROPIC_VERSION
        if credential:
            headers["x-api-key"] = credential
        return base.removesuffix("/v1") + "/v1/models", headers
    if provider.wire == "gemini":
        if credential:
            headers["x-goog-api-key"] = credential
        return base.removesuffix("/v1beta") + "/v1beta/models", headers
    if credential:
        headers["Authorization"] = f"Bearer {credential}"
    # OpenRouter lists its models for anybody; what it says of a key only to who has it
    return base + ("/key" if provider.flavour == "openrouter" else "/models"), headers


async def ask_for_nothing(provider: Provider, credential: str | None, seconds: float) -> Reached:
    """Ask, and wait no longer than that. Never raises but for cancellation."""
    url, headers = address(provider, credential)
    began = time.monotonic()
    try:
        async with (
            asyncio.timeout(seconds),
            aiohttp.ClientSession(trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.get(url, headers=headers, allow_redirects=False) as response,
        ):
            took = time.monotonic() - began
            off = _off(response.headers.get("Date"), time.time_ns() // 1000, took)
            body = await response.content.read(_BYTES_AT_MOST)
            while not response.content.at_eof() and len(body) < _BYTES_AT_MOST:
                body += await response.content.read(_BYTES_AT_MOST)
            return Reached(response.status, "", _names(body), off, took)
    except TimeoutError:
        return Reached(error=f"no answer within {seconds:g} s", seconds=seconds)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Reached(error=_in_words(error), seconds=time.monotonic() - began)


def _in_words(error: Exception) -> str:
    """What the operating system says, else the kind of error; never an address with a key."""
    number = getattr(error, "errno", None)
    return os.strerror(number) if number and number > 0 else type(error).__name__


def _off(date: str | None, now: int, took: float) -> int | None:
    """By how much a Date header is ahead of our clock, in microseconds."""
    if date is None:
        return None
    try:
        told = to_micros(parsedate_to_datetime(date))
    except (ValueError, TypeError):
        return None
    return told + _HALF_A_SECOND - (now - round(took * MICROS / 2))


def _names(body: bytes) -> frozenset[str]:
    """The models of a list in OpenAI's, Anthropic's or Gemini's shape."""
    try:
        found: Any = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return frozenset()
    listed = found if isinstance(found, dict) else {"data": found}
    rows = listed.get("data") or listed.get("models") or ()
    names = [
        row.get("id") or row.get("name")
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, dict)
    ]
    return frozenset(name.removeprefix("models/") for name in names if isinstance(name, str))
