"""Signing in to the pages with a key that has a role, and signing out.

Guessing is slowed down as it is everywhere: the key goes through the same entrance. The form is
tied to the browser by a cookie of its own, so that nobody can be signed in as somebody else by
another site. A session begins with a token that nobody had before, whatever the browser kept.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from gateway.callers.callers import Caller
from gateway.callers.roles import Permission
from gateway.callers.sessions import LIFE_SECONDS, form_token, is_form_token
from gateway.doors.answers import as_gateway_error
from gateway.doors.browsers import (
    DOORSTEP,
    SESSION,
    forget,
    keep,
    kept,
    posted,
    protected,
    way_back,
)
from gateway.doors.entrance import Entrance, Knock
from gateway.doors.pages import SIGN_IN, PageDoor, PageParts
from gateway.doors.policy import mapped
from gateway.errors import Forbidden, GatewayError, NotAuthenticated
from gateway.web.pages import Html, link

SIGN_OUT = "/sign-out"
_FORM_BYTES_AT_MOST = 4096
_DOORSTEP_SECONDS = 3600

OtherWay = tuple[str, str]
"""Another way to sign in: what its button says, and where it leads (a GET)."""


class SignIn:
    """The sign-in page, its form, and the way out."""

    def __init__(
        self, parts: PageParts, entrance: Entrance, door: PageDoor, ways: Sequence[OtherWay] = ()
    ) -> None:
        self._parts, self._entrance, self._door, self._ways = parts, entrance, door, ways

    def routes(self) -> list[Route]:
        """Where they are."""
        return [
            Route(SIGN_IN, self.show, methods=["GET"]),
            Route(SIGN_IN, self.prove, methods=["POST"]),
            Route(SIGN_OUT, self.leave, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """The form."""
        return protected(self._form(request, way_back(request.query_params.get("next")), None))

    async def prove(self, request: Request) -> Response:
        """Somebody sent a key."""
        place = "/"
        try:
            form = await posted(request, _FORM_BYTES_AT_MOST)
            place = way_back(form.get("next"))
            doorstep = kept(request, DOORSTEP)
            if not doorstep or not is_form_token(form.get("csrf", ""), doorstep):
                raise Forbidden("the form was too old; try once more")
            caller = await self._entrance.caller(request.scope, _knock(form.get("key", "")))
            _refuse_apps(caller)
            token = await mapped(asyncio.to_thread(self._begin, caller), request.method)
        except GatewayError as error:
            return protected(self._form(request, place, error))
        except Exception as error:
            return protected(self._door.told(request, as_gateway_error(error)))
        return protected(self.signed_in(request, token, place))

    async def leave(self, request: Request) -> Response:
        """Sign out."""
        token = kept(request, SESSION)
        try:
            form = await posted(request, _FORM_BYTES_AT_MOST)
            if token and not is_form_token(form.get("csrf", ""), token):
                raise Forbidden("this form is not of this session; load the page again")
            if token:
                ended = asyncio.to_thread(self._parts.sessions.end, token)
                await mapped(ended, request.method)
        except GatewayError as error:
            return protected(self._door.told(request, error))
        answer = RedirectResponse(SIGN_IN, 303)
        forget(answer, request, SESSION)
        return protected(answer)

    def refused(self, request: Request, place: str, error: GatewayError) -> Response:
        """The form again, with what was wrong."""
        return protected(self._form(request, place, error))

    def signed_in(self, request: Request, token: str, place: str) -> Response:
        """The answer that gives the browser its session and leads it on, to a place of ours."""
        answer = RedirectResponse(way_back(place), 303)
        keep(answer, request, SESSION, token, LIFE_SECONDS)
        forget(answer, request, DOORSTEP)
        return answer

    def _begin(self, caller: Caller) -> str:
        return self._parts.sessions.begin_with_key(caller)

    def _form(self, request: Request, place: str, error: GatewayError | None) -> Response:
        doorstep = kept(request, DOORSTEP) or secrets.token_urlsafe(32)
        onward = None if place == "/" else place
        ways = [(title, link(way, next=onward)) for title, way in self._ways]
        values = {"next": place, "ways": ways, "error": error}
        text = self._parts.renderer.bare(Html("sign_in.html", values), form_token(doorstep))
        answer = HTMLResponse(text, 200 if error is None else error.status)
        keep(answer, request, DOORSTEP, doorstep, _DOORSTEP_SECONDS)
        return answer


def _knock(key: str) -> Knock:
    """What a request with this key would have knocked with."""
    if not key:
        raise NotAuthenticated("enter a key: it begins with jg_")
    return Knock(f"Bearer {key}", None, None, None, encoded=False, length=None)


def _refuse_apps(caller: Caller) -> None:
    if not caller.principal.may(Permission.READ_BOOKS):
        raise Forbidden("this is the key of an app: it asks for answers, and opens no pages")
