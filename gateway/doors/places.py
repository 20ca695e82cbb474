"""Where the gateway is reached from outside: for examples to copy, and for the way back to it.

Unless it is told, only the browser knows, and says so in its Host header. Whoever can make that
header up could then lead a sign-in to another host, so a gateway that others reach is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request

from gateway.doors.browsers import base_url
from gateway.errors import ConfigurationError
from gateway.settings import Settings

_HOST_AT_MOST = 253
_HOST_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-:[]")


@dataclass(frozen=True, slots=True)
class Places:
    """Addresses such as https://jobgate.example.com; an empty one is what the browser says."""

    public: str = ""
    """Where apps reach /v1."""
    office: str = ""
    """Where people reach the pages."""

    def of_apps(self, request: Request) -> str:
        """The address to put before /v1, as seen by somebody who looks at a page."""
        return self.public or base_url(request)

    def of_pages(self, request: Request) -> str:
        """The address to put before the path of a page."""
        return self.office or base_url(request)


def places_in(settings: Settings) -> Places:
    """Where this gateway is reached. Raises ConfigurationError.

    An office that has no address of its own is where the public is.
    """
    problems: list[str] = []
    public = _parse("JOBGATE_PUBLIC_URL", settings.public_url, problems)
    office = _parse("JOBGATE_OFFICE_URL", settings.office_url, problems)
    if office and not settings.office_address:
        problems.append(
            "JOBGATE_OFFICE_URL: the office has no address of its own (JOBGATE_OFFICE_ADDRESS);"
            " its pages are at JOBGATE_PUBLIC_URL"
        )
    if problems:
        raise ConfigurationError(problems)
    return Places(public, office if settings.office_address else public)


def _parse(name: str, text: str, problems: list[str]) -> str:
    """Scheme, host and perhaps a port, and nothing else; problems are added to the list."""
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    netloc = parts.netloc.lower()
    whole = f"{parts.scheme}://{netloc}"
    if (
        parts.scheme not in ("http", "https")
        or not 0 < len(host) <= _HOST_AT_MOST
        or not set(netloc) <= _HOST_CHARACTERS
        or netloc.endswith(":")
        or port == 0
        or text.lower() not in (whole, f"{whole}/")
    ):
        problems.append(
            f"{name} {text!r}: write a scheme and a host, such as https://jobgate.example.com"
        )
    return whole
