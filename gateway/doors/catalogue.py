"""GET /v1/models: to a client the jobs are the models, and so are their aliases."""

from __future__ import annotations

import msgspec
from starlette.types import Receive, Scope, Send

from gateway.doors.answers import JSON, as_gateway_error, send_error, send_whole
from gateway.doors.entrance import Entrance, read_headers
from gateway.errors import UnknownJob
from gateway.jobs.routes import Routes

_encode = msgspec.json.Encoder().encode


class CatalogueDoor:
    """An ASGI endpoint for the list and for one of its rows."""

    def __init__(self, entrance: Entrance, routes: Routes, loaded_at: int) -> None:
        self._entrance, self._routes, self._loaded_at = entrance, routes, loaded_at

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        try:
            caller = await self._entrance.caller(scope, read_headers(scope))
            names = self._routes.names_for(caller.jobs)
            wanted = scope["path_params"].get("name")
            if wanted is None:
                body: dict[str, object] = {
                    "object": "list",
                    "data": [self._row(name) for name in names],
                }
            elif wanted in names:
                body = self._row(wanted)
            else:
                listed = ", ".join(names) or "none"
                raise UnknownJob(f"there is no job {wanted!r} for this key; jobs: {listed}")
        except Exception as error:
            await send_error(send, as_gateway_error(error))
            return
        await send_whole(send, 200, _encode(body), [JSON])

    def _row(self, name: str) -> dict[str, object]:
        job = self._routes.named[name]
        return {
            "id": name,
            "object": "model",
            "created": self._loaded_at,
            "owned_by": job.owner,
            "jobgate": {
                "job": job.name,
                "purpose": job.purpose,
                "targets": [target.name for target in job.targets],
                "residency": job.residency,
            },
        }
