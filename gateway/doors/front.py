"""The front of the house: requests for an exact path go straight to their door.

The same doors stand among the app's routes, where its list of routes has them. But the way there
leads through a framework's layers, which cost a chat request a tenth of its time and do nothing
for it: the doors under /v1 read, answer and fail on their own.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send


class Front:
    """An ASGI app: `straight` by method and path, everything else to `app`."""

    def __init__(self, app: ASGIApp, straight: Mapping[tuple[str, str], ASGIApp]) -> None:
        self._app, self._straight = app, straight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        door = None
        if scope["type"] == "http":
            door = self._straight.get((scope["method"], scope["path"]))
        await (door or self._app)(scope, receive, send)
