"""Which permission each door asks for: one table, and the guard that keeps it.

The table is by method and by the path as it was routed, never as it was written in the request.
A route under /admin that is not in it is closed to everybody. The doors under /v1 read their own
headers, for speed, and ask the same function (`callers.roles.authorise`).

A signed-in person and a key are the same to everything behind this guard: an actor.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, TypeVar

from fastapi import Depends
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import Scope

from gateway.callers.changes import By
from gateway.callers.roles import Permission, Principal, authorise
from gateway.doors.entrance import Entrance, peer_of, read_headers
from gateway.errors import BadRequest, ConfigurationError, Conflict, Forbidden, Unavailable
from gateway.store.database import DatabaseConflict, DatabaseDown

BODY_BYTES_AT_MOST = 64 * 1024
"""What people change by hand is smaller."""

_NAME_SHOWN = 64
_Answered = TypeVar("_Answered")


class Open(Enum):
    """Doors that ask for no permission."""

    TO_ALL = "anybody"
    TO_KEYS = "any key, whatever its role"


_P = Permission
_A = "/admin/v1"
POLICY: Mapping[tuple[str, str], Permission | Open] = {
    ("GET", "/healthz"): Open.TO_ALL,
    ("GET", "/readyz"): Open.TO_ALL,
    ("GET", "/metrics"): Open.TO_ALL,
    ("GET", "/docs"): Open.TO_ALL,
    ("GET", "/openapi.json"): Open.TO_ALL,
    ("POST", "/v1/chat/completions"): _P.USE_JOBS,
    ("POST", "/v1/embeddings"): _P.USE_JOBS,
    ("POST", "/v1/messages"): _P.USE_JOBS,
    ("POST", "/v1/responses"): _P.USE_JOBS,
    ("GET", "/v1/models"): Open.TO_KEYS,
    ("GET", "/v1/models/{name:path}"): Open.TO_KEYS,
    ("GET", f"{_A}/me"): Open.TO_KEYS,
    ("GET", f"{_A}/entries"): _P.READ_BOOKS,
    ("GET", f"{_A}/spend"): _P.READ_BOOKS,
    ("GET", f"{_A}/requests/{{request_id}}"): _P.READ_BOOKS,
    ("GET", f"{_A}/changes"): _P.READ_CHANGES,
    ("GET", f"{_A}/teams"): _P.READ_DIRECTORY,
    ("POST", f"{_A}/teams"): _P.CHANGE_TEAMS,
    ("GET", f"{_A}/teams/{{name}}"): _P.READ_DIRECTORY,
    ("PATCH", f"{_A}/teams/{{name}}"): _P.CHANGE_TEAMS,
    ("DELETE", f"{_A}/teams/{{name}}"): _P.CHANGE_TEAMS,
    ("GET", f"{_A}/apps"): _P.READ_DIRECTORY,
    ("POST", f"{_A}/apps"): _P.CHANGE_APPS,
    ("GET", f"{_A}/apps/{{name}}"): _P.READ_DIRECTORY,
    ("PATCH", f"{_A}/apps/{{name}}"): _P.CHANGE_APPS,
    ("DELETE", f"{_A}/apps/{{name}}"): _P.CHANGE_APPS,
    ("GET", f"{_A}/keys"): _P.READ_DIRECTORY,
    ("POST", f"{_A}/keys"): _P.CHANGE_KEYS,
    ("GET", f"{_A}/keys/{{key_id}}"): _P.READ_DIRECTORY,
    ("PATCH", f"{_A}/keys/{{key_id}}"): _P.CHANGE_KEYS,
    ("DELETE", f"{_A}/keys/{{key_id}}"): _P.CHANGE_KEYS,
    ("POST", f"{_A}/keys/{{key_id}}/rotate"): _P.CHANGE_KEYS,
    ("GET", f"{_A}/sessions"): _P.GRANT_ROLES,
    ("POST", f"{_A}/sessions/end"): _P.GRANT_ROLES,
    ("GET", f"{_A}/budgets"): _P.READ_BOOKS,
    ("GET", f"{_A}/raises"): _P.READ_BOOKS,
    ("POST", f"{_A}/raises"): _P.CHANGE_BUDGETS,
    ("POST", f"{_A}/raises/{{raise_id}}/end"): _P.CHANGE_BUDGETS,
    ("GET", f"{_A}/alerts"): _P.READ_BOOKS,
    ("POST", f"{_A}/alerts/test"): _P.SEND_ALERTS,
    ("POST", f"{_A}/alerts/{{delivery_id}}/retry"): _P.SEND_ALERTS,
    ("GET", f"{_A}/routes"): _P.READ_ROUTES,
    ("GET", f"{_A}/routes/status"): _P.READ_ROUTES,
    ("GET", f"{_A}/routes/history"): _P.READ_ROUTES,
    ("POST", f"{_A}/routes/reload"): _P.CHANGE_ROUTES,
    ("POST", f"{_A}/routes/check"): _P.CHANGE_ROUTES,
    ("POST", f"{_A}/routes/publish"): _P.CHANGE_ROUTES,
    ("GET", f"{_A}/routes/diff"): _P.CHANGE_ROUTES,
    ("GET", f"{_A}/routes/versions/{{version}}"): _P.CHANGE_ROUTES,
    ("POST", f"{_A}/routes/versions/{{version}}/restore"): _P.CHANGE_ROUTES,
    ("GET", "/static/{name:path}"): Open.TO_ALL,
    ("GET", "/sign-in"): Open.TO_ALL,
    ("POST", "/sign-in"): Open.TO_ALL,
    ("GET", "/sign-in/oidc"): Open.TO_ALL,
    ("GET", "/sign-in/oidc/back"): Open.TO_ALL,
    ("POST", "/sign-out"): Open.TO_ALL,
    ("GET", "/"): _P.READ_BOOKS,
    ("GET", "/parts/so-far"): _P.READ_BOOKS,
    ("GET", "/parts/ends"): _P.READ_BOOKS,
    ("GET", "/budgets"): _P.READ_BOOKS,
    ("GET", "/parts/budgets"): _P.READ_BOOKS,
    ("GET", "/budgets/one"): _P.READ_BOOKS,
    ("GET", "/parts/budget"): _P.READ_BOOKS,
    ("POST", "/budgets/raises"): _P.CHANGE_BUDGETS,
    ("POST", "/budgets/raises/{raise_id}/end"): _P.CHANGE_BUDGETS,
    ("GET", "/jobs"): _P.READ_BOOKS,
    ("GET", "/jobs/{name}"): _P.READ_BOOKS,
    ("GET", "/requests"): _P.READ_BOOKS,
    ("GET", "/requests.csv"): _P.READ_BOOKS,
    ("GET", "/requests/{request_id}"): _P.READ_BOOKS,
    ("GET", "/reports"): _P.READ_BOOKS,
    ("GET", "/reports/statement"): _P.READ_BOOKS,
    ("GET", "/reports/statement.html"): _P.READ_BOOKS,
    ("GET", "/reports/statement.csv"): _P.READ_BOOKS,
    ("GET", "/reports/statement.json"): _P.READ_BOOKS,
    ("GET", "/reports/focus.csv"): _P.READ_BOOKS,
    ("GET", "/reports/closing"): _P.KEEP_BOOKS,
    ("POST", "/reports/closing"): _P.KEEP_BOOKS,
    ("GET", "/reports/bills"): _P.KEEP_BOOKS,
    ("POST", "/reports/bills"): _P.KEEP_BOOKS,
    ("POST", "/reports/bills/corrections"): _P.KEEP_BOOKS,
    ("GET", "/callers"): _P.READ_DIRECTORY,
    ("POST", "/callers/teams"): _P.CHANGE_TEAMS,
    ("POST", "/callers/teams/{name}/remove"): _P.CHANGE_TEAMS,
    ("POST", "/callers/teams/{name}/contact"): _P.CHANGE_TEAMS,
    ("POST", "/callers/apps"): _P.CHANGE_APPS,
    ("GET", "/callers/apps/{name}"): _P.READ_DIRECTORY,
    ("POST", "/callers/apps/{name}/remove"): _P.CHANGE_APPS,
    ("POST", "/callers/apps/{name}/contact"): _P.CHANGE_APPS,
    ("POST", "/callers/keys"): _P.CHANGE_KEYS,
    ("GET", "/callers/keys/{key_id}"): _P.READ_DIRECTORY,
    ("POST", "/callers/keys/{key_id}/change"): _P.CHANGE_KEYS,
    ("POST", "/callers/keys/{key_id}/rotate"): _P.CHANGE_KEYS,
    ("POST", "/callers/keys/{key_id}/revoke"): _P.CHANGE_KEYS,
    ("GET", "/routes"): _P.CHANGE_ROUTES,
    ("GET", "/routes/edit"): _P.CHANGE_ROUTES,
    ("POST", "/routes/check"): _P.CHANGE_ROUTES,
    ("POST", "/routes/whatif"): _P.CHANGE_ROUTES,
    ("POST", "/routes/publish"): _P.CHANGE_ROUTES,
    ("GET", "/routes/history"): _P.CHANGE_ROUTES,
    ("GET", "/routes/versions/{number}"): _P.CHANGE_ROUTES,
    ("POST", "/routes/versions/{number}/restore"): _P.CHANGE_ROUTES,
    ("GET", "/alerts"): _P.SEND_ALERTS,
    ("POST", "/alerts/test"): _P.SEND_ALERTS,
    ("POST", "/alerts/{delivery_id}/retry"): _P.SEND_ALERTS,
}
"""What each method of each path asks for."""
_FORMS = tuple((method, compile_path(path)[0]) for method, path in POLICY)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks, and from which address."""

    principal: Principal
    address: str

    @property
    def by(self) -> By:
        """Who this is to the log of changes."""
        return By(self.principal.name, str(self.principal.role), self.address)


class Guard:
    """Finds out who asks, and lets in whom the table lets in."""

    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance

    async def admit(self, scope: Scope, method: str, path: str) -> Actor:
        """Whoever asks for that. Raises NotAuthenticated or Forbidden."""
        caller = await self._entrance.caller(scope, read_headers(scope))
        actor = Actor(caller.principal, peer_of(scope))
        allow(actor.principal, method, path)
        return actor


def methods_at(path: str) -> list[str]:
    """The methods of a path as it was asked for; in order, and none where there is nothing."""
    return sorted({method for method, form in _FORMS if form.fullmatch(path)})


def allow(principal: Principal, method: str, path: str) -> None:
    """Raises Forbidden unless the table lets somebody do that; `path` is as it was routed."""
    needed = POLICY.get((method, path))
    if needed is None:
        raise Forbidden("nobody may do this: it has no policy")
    if isinstance(needed, Permission):
        authorise(principal, needed)


async def acting(request: Request) -> Actor:
    """Whom the guard let in."""
    actor: Actor = request.state.actor
    return actor


Acting = Annotated[Actor, Depends(acting)]


def guarded(guard: Guard) -> type[APIRoute]:
    """The kind of route whose requests pass the guard before anything of them is read.

    What the rooms below say no with is told as what it means to a caller.
    """

    class Guarded(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            """What answers a request: the guard first."""
            handler = super().get_route_handler()

            async def answer(request: Request) -> Response:
                request.state.actor = await guard.admit(request.scope, request.method, self.path)
                _refuse_repeats(request)
                answered = await mapped(handler(request), request.method)
                answered.headers["cache-control"] = "no-store"  # a secret may be in it
                return answered

            return answer

    return Guarded


def _refuse_repeats(request: Request) -> None:
    """Raises BadRequest for a parameter that is there twice: which counts, nobody could say."""
    seen: set[str] = set()
    for name, _value in request.query_params.multi_items():
        if name in seen:
            raise BadRequest(f"{name[:_NAME_SHOWN]!a} is there more than once", param="query")
        seen.add(name)


async def mapped(answer: Awaitable[_Answered], method: str) -> _Answered:
    """An answer, where what the rooms below say no with is a GatewayError to whoever asked."""
    try:
        return await answer
    except ConfigurationError as error:
        raise BadRequest("; ".join(error.problems)) from None
    except DatabaseConflict:
        if method == "GET":
            raise BadRequest("this cannot be looked for") from None
        raise Conflict("somebody else changed the same at the same moment; look again") from None
    except DatabaseDown:
        raise Unavailable("the books are out of reach; try again", retry_after=2.0) from None
