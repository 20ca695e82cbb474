"""Signing in with a sign-in service: out to it, and back with a proof.

What the browser has to keep between the two is in one cookie, which no script and no other site
can read or set. It is forgotten when the browser comes back, whatever comes of it, and a session
begins with a token of its own, as it does for a key. Whoever tries without a proof is slowed.
"""

from __future__ import annotations

import asyncio
import logging
import secrets

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from gateway.callers.sessions import Sessions
from gateway.callers.sign_in_loading import SignInService
from gateway.callers.throttle import Throttle
from gateway.doors.answers import as_gateway_error
from gateway.doors.browsers import fields, forget, keep, kept, protected, way_back
from gateway.doors.entrance import peer_of
from gateway.doors.pages import SIGN_IN
from gateway.doors.places import Places
from gateway.doors.policy import mapped
from gateway.doors.sign_in import SignIn
from gateway.errors import BadRequest, NotAuthenticated

OUT = "/sign-in/oidc"
BACK = "/sign-in/oidc/back"
WAY = ("Sign in with your organisation", OUT)
_ERRAND = "jobgate_errand"
"""The cookie of a browser that is on its way to the service and back."""
_ERRAND_SECONDS = 600
_PLACE_LENGTH = 1000

log = logging.getLogger(__name__)


class OidcDoor:
    """The two places that a browser passes; without a service both lead to the sign-in page."""

    def __init__(
        self,
        service: SignInService | None,
        sessions: Sessions,
        sign_in: SignIn,
        places: Places,
    ) -> None:
        self._service, self._sessions, self._sign_in = service, sessions, sign_in
        self._places = places
        self._throttle = Throttle()

    def routes(self) -> list[Route]:
        """Where they are."""
        return [
            Route(OUT, self.leave, methods=["GET"]),
            Route(BACK, self.come_back, methods=["GET"]),
        ]

    async def leave(self, request: Request) -> Response:
        """Send the browser to the service."""
        place, secret = way_back(request.query_params.get("next")), secrets.token_urlsafe(32)
        if self._service is None:
            return protected(RedirectResponse(SIGN_IN, 303))
        try:
            there = await self._service.way_there(self._back(request), secret)
        except Exception as error:
            return self._sign_in.refused(request, place, as_gateway_error(error))
        answer = RedirectResponse(there, 303)
        keep(answer, request, _ERRAND, f"{secret} {place[:_PLACE_LENGTH]}", _ERRAND_SECONDS)
        return protected(answer)

    async def come_back(self, request: Request) -> Response:
        """Somebody comes back from there."""
        if self._service is None:
            return protected(RedirectResponse(SIGN_IN, 303))
        secret, _, place = kept(request, _ERRAND).partition(" ")
        try:
            answer = await self._let_in(request, self._service, secret, place)
        except Exception as error:
            answer = self._sign_in.refused(request, way_back(place), as_gateway_error(error))
        forget(answer, request, _ERRAND)
        return answer

    def _back(self, request: Request) -> str:
        """The address that the service sends the browser back to."""
        return self._places.of_pages(request) + BACK

    async def _let_in(
        self, request: Request, service: SignInService, secret: str, place: str
    ) -> Response:
        address = peer_of(request.scope)
        if delay := self._throttle.delay(address):
            await asyncio.sleep(delay)
        try:
            told = fields(request.scope["query_string"].decode("ascii", "replace"))
        except ValueError:
            raise BadRequest("this address has too many fields") from None
        try:
            person = await service.person(told, self._back(request), secret)
        except NotAuthenticated:
            self._throttle.failed(address)
            raise
        self._throttle.succeeded(address)
        begun = asyncio.to_thread(self._sessions.begin_for_person, person.name, person.role, "oidc")
        token = await mapped(begun, "GET")
        log.info("%s has signed in with the role %s", person.name, person.role)
        return protected(self._sign_in.signed_in(request, token, place))
