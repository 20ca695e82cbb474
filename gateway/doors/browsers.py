"""What is particular about browsers: cookies, forms, other sites, and headers that protect.

A browser sends cookies with whatever page asked it to, so a form has to carry a token that only
our own pages know, and has to come from our own origin. Cookies are out of every script's reach.
They are Lax and not Strict, so that a link in an alert leads to the page and not to the sign-in;
nothing is changed by following a link. Over https they carry the prefix that ties them to this
host and to https.
"""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from gateway.doors.multipart import FORM_WITH_FILES, parts_of
from gateway.errors import BadRequest, CallerLeft, Forbidden, TooLarge
from gateway.web.pages import Upload

SESSION = "jobgate_session"
"""The cookie with the token of a session."""
DOORSTEP = "jobgate_doorstep"
"""The cookie of somebody who has not signed in yet: it ties the form to the browser."""
SAID = "jobgate_said"
"""The cookie with what the next page has to tell, once."""
_FIELDS_AT_MOST = 200
_SAID_AT_MOST = 300
_FORM = "application/x-www-form-urlencoded"
_PROTECTION = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self'; font-src 'self'; connect-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


def protected(answer: Response, caching: str = "no-store") -> Response:
    """The same answer with the headers that protect a page; pages are not kept anywhere."""
    answer.headers.update(_PROTECTION)
    answer.headers["cache-control"] = caching
    return answer


def is_https(request: Request) -> bool:
    """Whether the browser speaks https with us, or with the proxy before us.

    A header says so for a proxy. Whoever makes it up harms only their own cookies.
    """
    told = request.headers.get("x-forwarded-proto", "")
    return request.url.scheme == "https" or told.partition(",")[0].strip() == "https"


def base_url(request: Request) -> str:
    """Where the browser reached us; for showing, and for addresses that lead back here."""
    scheme = "https" if is_https(request) else "http"
    return f"{scheme}://{request.headers.get('host', 'localhost')}"


def keep(
    answer: Response, request: Request, name: str, value: str, seconds: int | None = None
) -> None:
    """Let the browser keep a cookie: for so many seconds, or until it is closed."""
    secure = is_https(request)
    answer.set_cookie(
        _named(name, secure),
        quote(value, safe=""),
        max_age=seconds,
        path="/",
        secure=secure,
        httponly=True,
        samesite="lax",
    )


def kept(request: Request, name: str) -> str:
    """What the browser has kept; empty when nothing."""
    return unquote(request.cookies.get(_named(name, is_https(request)), ""))


def forget(answer: Response, request: Request, name: str) -> None:
    """Let the browser forget a cookie."""
    secure = is_https(request)
    answer.delete_cookie(
        _named(name, secure), path="/", secure=secure, httponly=True, samesite="lax"
    )


def say_next(answer: Response, request: Request, said: str) -> None:
    """Let the next page tell something, once."""
    keep(answer, request, SAID, said[:_SAID_AT_MOST], seconds=60)


async def posted(request: Request, bytes_at_most: int) -> dict[str, str]:
    """The fields of a form of our own; empty ones are left out.

    Raises Forbidden when another site sent it, TooLarge, and BadRequest for what is no form.
    """
    body = await _body(request, _FORM, bytes_at_most)
    try:
        return await asyncio.to_thread(lambda: fields(body.decode("ascii")))
    except (UnicodeDecodeError, ValueError):
        raise BadRequest("this form cannot be read") from None


async def posted_with_files(
    request: Request, bytes_at_most: int
) -> tuple[dict[str, str], list[Upload]]:
    """The same of a form with files, and the files. Raises as `posted` does."""
    body = await _body(request, FORM_WITH_FILES, bytes_at_most)
    try:
        return await asyncio.to_thread(parts_of, request.headers["content-type"], body)
    except ValueError:
        raise BadRequest("this form cannot be read") from None


async def _body(request: Request, media_type: str, bytes_at_most: int) -> bytes:
    """What a form of our own has sent."""
    refuse_others(request)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != media_type:
        raise BadRequest("this is not a form")
    return await _read(request, bytes_at_most)


def refuse_others(request: Request) -> None:
    """Raises Forbidden when a page of another origin has sent this."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    host = request.headers.get("host", "")
    if site not in ("same-origin", "none") or (origin and _host_of(origin) != host):
        raise Forbidden("this was sent from another site")


def fields(text: str) -> dict[str, str]:
    """The last value of each name of a query or a form, without spaces around; no empty ones.

    Raises ValueError for more fields than anybody fills in.
    """
    pairs = parse_qsl(text, max_num_fields=_FIELDS_AT_MOST)
    return {name: value.strip() for name, value in pairs if value.strip()}


def way_back(place: str | None) -> str:
    """A place of ours that a form or a link named; the first page for anything else."""
    if not place or not place.startswith("/") or place[1:2] in ("/", "\\"):
        return "/"
    return place if place.isprintable() else "/"


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # such as http://[
        return None


def _named(name: str, secure: bool) -> str:
    return f"__Host-{name}" if secure else name


async def _read(request: Request, bytes_at_most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > bytes_at_most:
                raise TooLarge(f"the form is larger than {bytes_at_most:,} bytes")
            parts.append(part)
    except ClientDisconnect:
        raise CallerLeft("the browser left before the form was complete") from None
    return b"".join(parts)
