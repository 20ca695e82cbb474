"""The pages' door: who is signed in, may they, is the form their own; then the page answers.

Promises: every page passes the table of policies; a form without the session's own token changes
nothing; no page is cached; what goes wrong is told on a page, without a word of what is inside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from babel import Locale
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from gateway.callers.changes import By
from gateway.callers.roles import Permission, Principal
from gateway.callers.sessions import Sessions, form_token, is_form_token
from gateway.doors.answers import answer_http_error, as_gateway_error
from gateway.doors.browsers import (
    SAID,
    SESSION,
    fields,
    forget,
    kept,
    posted,
    posted_with_files,
    protected,
    say_next,
)
from gateway.doors.entrance import peer_of
from gateway.doors.places import Places
from gateway.doors.policy import POLICY, allow, mapped
from gateway.errors import BadRequest, Forbidden, GatewayError, NotAuthenticated, NotFound
from gateway.web.assets import PLACE, Assets
from gateway.web.pages import (
    SECTIONS,
    Answer,
    Download,
    Errand,
    Html,
    Page,
    Redirect,
    Section,
    Upload,
    Visit,
    link,
)
from gateway.web.rendering import Renderer
from gateway.web.sources import Sources
from gateway.web.wording import Locales, Wording

SIGN_IN = "/sign-in"
_OF_PROGRAMS = ("/v1/", "/admin/")
_A_YEAR = "public, max-age=31536000, immutable"
_FORM_TOKEN = "csrf"  # noqa: S105 - the name of a field


@dataclass(frozen=True, slots=True)
class PageParts:
    """What this door works with."""

    sources: Sources
    sessions: Sessions
    assets: Assets
    renderer: Renderer
    locales: Locales
    places: Places


class PageDoor:
    """Serves pages to those who are signed in, and the files that pages need to all."""

    def __init__(self, parts: PageParts, pages: Sequence[Page]) -> None:
        self._parts, self._pages = parts, pages
        served = {page.path for page in pages if page.method == "GET"}
        self._sections = [section for section in SECTIONS if section.path in served]

    def routes(self) -> list[Route]:
        """Where everything is."""
        routes = [Route(PLACE + "{name:path}", self.static, methods=["GET"])]
        for page in self._pages:
            routes.append(Route(page.path, partial(self.serve, page), methods=[page.method]))
        return routes

    async def static(self, request: Request) -> Response:
        """A style sheet or a script, by its name with its hash."""
        asset = self._parts.assets.find(request.path_params["name"])
        if asset is None:
            raise NotFound("there is no such file")
        return protected(Response(asset.body, media_type=asset.media_type), _A_YEAR)

    async def serve(self, page: Page, request: Request) -> Response:
        """What a page answers, or a page that tells why it does not."""
        try:
            return protected(await self._answer(page, request))
        except NotAuthenticated:
            return protected(_to_sign_in(request))
        except GatewayError as error:
            return protected(self.told(request, error))
        except Exception as error:
            return protected(self.told(request, as_gateway_error(error)))

    def told(self, request: Request, error: GatewayError) -> Response:
        """An error as a page; as a part of one where a part was asked for."""
        part = "hx-request" in request.headers
        template = "error_part.html" if part else "error.html"
        text = self._parts.renderer.bare(Html(template, {"error": error}))
        return HTMLResponse(text, error.status)

    async def missing(self, request: Request, error: Exception) -> Response:
        """No such page, or a wrong method: as a page to a browser, else as the API tells it."""
        path = request.scope["path"]
        browser = "text/html" in request.headers.get("accept", "")
        if not browser or path.startswith(_OF_PROGRAMS) or not isinstance(error, HTTPException):
            return answer_http_error(request, error)
        told = NotFound("there is no such page here")
        told.status = error.status_code
        return protected(self.told(request, told))

    async def _answer(self, page: Page, request: Request) -> Response:
        token = kept(request, SESSION)
        if not token:
            raise NotAuthenticated("nobody is signed in")
        looked = asyncio.to_thread(self._find, token, peer_of(request.scope), page)
        principal = await mapped(looked, page.method)
        form: Mapping[str, str] = {}
        files: Sequence[Upload] = ()
        if page.method == "POST":
            if page.takes_files:
                form, files = await posted_with_files(request, page.form_bytes_at_most)
            else:
                form = await posted(request, page.form_bytes_at_most)
            if not is_form_token(form.get(_FORM_TOKEN, ""), token):
                raise Forbidden("this form is not of this session; load the page again")
        visit = replace(self._visit(request, principal, form), files=files)
        made = await mapped(
            asyncio.to_thread(self._respond, page.answer, visit, request, token), page.method
        )
        if isinstance(made, Response):
            return made
        told = await mapped(made.run(), page.method)
        done = await asyncio.to_thread(self._respond, lambda _: told, visit, request, token)
        assert isinstance(done, Response)  # noqa: S101 - an errand ends in no other
        return done

    def _find(self, token: str, address: str, page: Page) -> Principal:
        principal = self._parts.sessions.find(token, address).principal
        allow(principal, page.method, page.path)
        return principal

    def _visit(self, request: Request, principal: Principal, form: Mapping[str, str]) -> Visit:
        try:
            query = fields(request.url.query)
        except ValueError:
            raise BadRequest("this address has too many fields") from None
        address = peer_of(request.scope)
        return Visit(
            principal=principal,
            by=By(principal.name, str(principal.role), address),
            place=request.scope["path"],
            path=request.path_params,
            query=query,
            form=form,
            say=Wording(self._locale(request), self._parts.sources.live().time_zone),
            now=self._parts.sources.clock.now(),
            base_url=self._parts.places.of_apps(request),
        )

    def _locale(self, request: Request) -> Locale:
        return self._parts.locales.best(request.headers.get("accept-language"))

    def _respond(
        self, ask: Callable[[Visit], Answer], visit: Visit, request: Request, token: str
    ) -> Response | Errand:
        """Ask the page, and make its answer ready to be sent; an errand is still to be done.

        Blocks.
        """
        answer = ask(visit)
        if isinstance(answer, Errand):
            return answer
        if isinstance(answer, Download):
            told = {"content-disposition": f'attachment; filename="{answer.name}"'}
            return StreamingResponse(answer.parts, 200, told, answer.media_type)
        if isinstance(answer, Redirect):
            response: Response = RedirectResponse(answer.place, 303)
            if answer.said:
                say_next(response, request, answer.said)
            return response
        said = kept(request, SAID)
        text = self._parts.renderer.page(
            answer, visit, nav=self._nav(visit.principal), csrf=form_token(token), said=said
        )
        response = HTMLResponse(text, answer.status)
        if said:
            forget(response, request, SAID)
        return response

    def _nav(self, principal: Principal) -> list[Section]:
        """The sections that somebody may open."""
        return [section for section in self._sections if _may_open(principal, section.path)]


def _may_open(principal: Principal, path: str) -> bool:
    needed = POLICY.get(("GET", path))
    return isinstance(needed, Permission) and principal.may(needed)


def _to_sign_in(request: Request) -> Response:
    """Go and sign in; then come back, if it was only looking."""
    place = request.scope["path"]
    if request.method != "GET" or place == "/":
        back = SIGN_IN
    else:
        query = request.url.query
        back = link(SIGN_IN, next=f"{place}?{query}" if query else place)
    if "hx-request" in request.headers:
        return Response(status_code=204, headers={"hx-redirect": back})
    return RedirectResponse(back, 303)
