"""Whether the caller is still there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from gateway.errors import CallerLeft

T = TypeVar("T")


class Presence:
    """Told once by the door that the caller has left; tells whoever wants to know."""

    def __init__(self, start_watching: Callable[[Presence], None]) -> None:
        self.gone = False
        self._start_watching = start_watching
        self._callbacks: list[Callable[[], object]] = []
        self._watching = False

    def when_gone(self, callback: Callable[[], object]) -> None:
        """Call back when the caller leaves, or now if they have left. Watching costs a task,
        so it begins with the first who wants to know."""
        if self.gone:
            callback()
            return
        self._callbacks.append(callback)
        if not self._watching:
            self._watching = True
            self._start_watching(self)

    def left(self) -> None:
        """The caller has hung up."""
        if not self.gone:
            self.gone = True
            for callback in self._callbacks:
                callback()


async def while_present(presence: Presence, work: Coroutine[Any, Any, T]) -> T:
    """Do the work as long as the caller is there; raises CallerLeft when they leave first."""
    task = asyncio.ensure_future(work)
    presence.when_gone(task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        task.cancel()
        if presence.gone:
            raise CallerLeft("the caller left before the answer came") from None
        raise
