"""The office: the admin API, the pages, /docs and /metrics, perhaps on an address of their own.

With an address of its own the office is a second socket of the same server. Which of the two a
request came in by is known from the socket, so nothing that it says can lead it to the other:
what is the office's is not there in public, and /v1 is not there in the office.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.alerts.alerting import Alerting
from gateway.callers.sessions import Sessions
from gateway.callers.sign_in_loading import SignInService
from gateway.callers.signed_in import SignedIn
from gateway.doors.admin import admin_router, changes_router
from gateway.doors.alerts import alerts_router
from gateway.doors.budgets import budgets_router
from gateway.doors.configuration import configuration_router
from gateway.doors.directory import directory_router
from gateway.doors.documentation import document
from gateway.doors.entrance import Entrance
from gateway.doors.keys import KeyDesk, keys_router
from gateway.doors.oidc import WAY, OidcDoor
from gateway.doors.pages import PageDoor, PageParts
from gateway.doors.places import Places
from gateway.doors.policy import Guard
from gateway.doors.publishing import publishing_router
from gateway.doors.refusals import Refusals
from gateway.doors.sessions import sessions_router
from gateway.doors.sign_in import SignIn
from gateway.doors.spending import spending_router
from gateway.doors.why import Why, why_router
from gateway.errors import ConfigurationError
from gateway.insight.explaining import Explainer
from gateway.pipeline.reloading import Reloader
from gateway.web.all_pages import all_pages
from gateway.web.assets import Assets
from gateway.web.pages import Page
from gateway.web.rendering import Renderer
from gateway.web.sources import Sources
from gateway.web.wording import Locales


@dataclass(frozen=True, slots=True)
class WayIn:
    """How people get into the office, and where it is: with a key, or with a session; a key began
    it, or a sign-in service, if there is one."""

    entrance: Entrance
    sessions: Sessions
    service: SignInService | None
    places: Places


def furnish(
    office: FastAPI,
    sources: Sources,
    way_in: WayIn,
    refusals: Refusals,
    reloader: Reloader,
    alerting: Alerting,
) -> None:
    """Put everything into the office: the admin API, its description, and the pages."""
    guard = Guard(way_in.entrance)
    why = Why(Explainer(sources.database, sources.org), refusals, sources.desk.sees)
    for router in (
        admin_router(guard, sources.ledger, sources.live),
        changes_router(guard, sources.database, sources.org),
        spending_router(guard, sources.ledger, sources.live, sources.clock),
        directory_router(guard, sources.directory),
        keys_router(guard, KeyDesk(sources.registry, sources.live, sources.clock)),
        sessions_router(guard, SignedIn(sources.database, sources.org, sources.clock)),
        budgets_router(guard, sources.desk),
        why_router(guard, why),
        configuration_router(guard, reloader, sources.database, sources.org),
        publishing_router(guard, sources),
        alerts_router(guard, alerting, sources.live, sources.desk.sees),
    ):
        office.include_router(router)
    document(office)
    _add_pages(office, sources, way_in, all_pages(sources, why.told, alerting))


def _add_pages(office: FastAPI, sources: Sources, way_in: WayIn, pages: Sequence[Page]) -> None:
    """Put every page, the files that pages need, and the way in to them into the office."""
    assets = Assets()
    parts = PageParts(sources, way_in.sessions, assets, Renderer(assets), Locales(), way_in.places)
    door = PageDoor(parts, pages)
    sign_in = SignIn(parts, way_in.entrance, door, [WAY] if way_in.service else [])
    oidc = OidcDoor(way_in.service, way_in.sessions, sign_in, way_in.places)
    office.router.routes.extend([*door.routes(), *sign_in.routes(), *oidc.routes()])
    office.add_exception_handler(HTTPException, door.missing)


class TwoSides:
    """An ASGI app: what comes in by the office's port goes to the office, the rest in public."""

    def __init__(self, public: ASGIApp, office: ASGIApp, office_port: int) -> None:
        self._public, self._office, self._port = public, office, office_port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        server = scope.get("server")
        in_office = scope["type"] == "http" and server is not None and server[1] == self._port
        await (self._office if in_office else self._public)(scope, receive, send)


def parse_address(text: str, public_port: int) -> tuple[str, int]:
    """Host and port of the office's address, such as 127.0.0.1:4001 or [::1]:4001.

    Raises ConfigurationError for what is none, and for the public port: the port tells them apart.
    """
    host, _, port = text.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigurationError(
            [f"office address {text!r}: write a host and a port, such as 127.0.0.1:4001"]
        )
    if int(port) == public_port:
        raise ConfigurationError(
            [f"office address {text!r}: it needs another port than the public one"]
        )
    return host, int(port)
