"""GET /v1/models: to a client the jobs are the models, and so are their aliases."""

from __future__ import annotations

import msgspec
from starlette.types import Receive, Scope, Send

from gateway.clock import MICROS
from gateway.doors.answers import JSON, as_gateway_error, send_error, send_whole
from gateway.doors.entrance import Entrance, read_headers
from gateway.errors import UnknownJob
from gateway.pipeline.asked import Trace, new_request_id
from gateway.pipeline.live import Configuration, Live

_NAME_SHOWN = 64
_encode = msgspec.json.Encoder().encode


class CatalogueDoor:
    """An ASGI endpoint for the list and for one of its rows."""

    def __init__(self, entrance: Entrance, live: Live) -> None:
        self._entrance, self._live = entrance, live

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        headers = Trace(new_request_id()).headers(with_cost=False)
        try:
            caller = await self._entrance.caller(scope, read_headers(scope))
            now = self._live.now
            names = now.routes.names_for(caller.jobs)
            wanted = scope["path_params"].get("name")
            if wanted is None:
                body: dict[str, object] = {
                    "object": "list",
                    "data": [_row(now, name) for name in names],
                }
            elif wanted in names:
                body = _row(now, wanted)
            else:
                raise UnknownJob(
                    f"there is no job {wanted[:_NAME_SHOWN]!a} for this key;"
                    f" jobs: {', '.join(names) or 'none'}",
                    param="model",
                    details={"jobs": list(names)},
                )
        except Exception as error:
            await send_error(send, as_gateway_error(error), headers)
            return
        await send_whole(send, 200, _encode(body), [JSON, *headers])


def _row(now: Configuration, name: str) -> dict[str, object]:
    job = now.routes.named[name]
    return {
        "id": name,
        "object": "model",
        "created": now.loaded_at // MICROS,
        "owned_by": job.owner,
        "jobgate": {
            "job": job.name,
            "purpose": job.purpose,
            "targets": [target.name for target in job.targets],
            "residency": job.residency,
        },
    }
