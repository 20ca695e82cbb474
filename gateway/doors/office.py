"""The office: the admin API, the pages, /docs and /metrics, perhaps on an address of their own.

With an address of its own the office is a second socket of the same server. Which of the two a
request came in by is known from the socket, so nothing that it says can lead it to the other:
what is the office's is not there in public, and /v1 is not there in the office.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import APIRouter
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.callers.directory import Directory
from gateway.callers.registry import Registry
from gateway.clock import Clock
from gateway.doors.admin import admin_router, changes_router
from gateway.doors.budgets import BudgetDesk, budgets_router
from gateway.doors.directory import directory_router
from gateway.doors.keys import KeyDesk, keys_router
from gateway.doors.policy import Guard
from gateway.errors import ConfigurationError
from gateway.jobs.routes import Routes
from gateway.ledger.queries import Ledger
from gateway.store.database import Database
from gateway.treasury.raises import RaiseBook


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficeParts:
    """What the admin API works with."""

    database: Database
    org: str
    clock: Clock
    ledger: Ledger
    registry: Registry
    directory: Directory
    raises: RaiseBook
    live: Callable[[], Routes]
    """The routing rules of this moment."""


def office_routers(guard: Guard, parts: OfficeParts) -> list[APIRouter]:
    """The whole admin API; every route of it passes the guard."""
    desk = BudgetDesk(
        database=parts.database,
        org=parts.org,
        clock=parts.clock,
        live=parts.live,
        book=parts.raises,
        directory=parts.directory,
        registry=parts.registry,
    )
    return [
        admin_router(guard, parts.ledger, parts.live),
        changes_router(guard, parts.database, parts.org),
        directory_router(guard, parts.directory),
        keys_router(guard, KeyDesk(parts.registry, parts.live, parts.clock)),
        budgets_router(guard, desk),
    ]


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
