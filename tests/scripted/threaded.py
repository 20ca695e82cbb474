"""The scripted provider for tests without an event loop: the same, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import TypeVar

from gateway.metering.usage import Usage
from tests.scripted.provider import ScriptedProvider
from tests.scripted.records import BillLine, Seen
from tests.scripted.script import Script

T = TypeVar("T")


class ThreadedProvider:
    """Runs a `ScriptedProvider` in a thread; every method may be called from any other.

    `make` builds the provider inside the thread.
    """

    def __init__(self, make: Callable[[], ScriptedProvider] = ScriptedProvider) -> None:
        self._make = make
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self.provider: ScriptedProvider

    def start(self) -> ThreadedProvider:
        """Start the thread and return when the provider listens."""
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        ready.result(timeout=10)
        return self

    def stop(self) -> None:
        """Stop listening and end the thread."""
        if self._thread is not None:
            asyncio.run_coroutine_threadsafe(self.provider.stop(), self._loop).result(timeout=10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=10)
            self._thread = None

    def __enter__(self) -> ThreadedProvider:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return self.provider.url

    @property
    def script(self) -> Script:
        return self.provider.script

    @script.setter
    def script(self, script: Script) -> None:
        self._do(lambda: setattr(self.provider, "script", script))

    @property
    def by_model(self) -> dict[str, Script]:
        return self.provider.by_model

    @property
    def requests(self) -> list[Seen]:
        """A copy, as it is now."""
        return list(self.provider.requests)

    @property
    def bill(self) -> list[BillLine]:
        """A copy, as it is now."""
        return list(self.provider.bill)

    def totals(self) -> Usage:
        """All that was charged."""
        return self._do(self.provider.totals)

    def scripts(self, *scripts: Script) -> None:
        """Queue these, one for each of the next requests."""
        self._do(lambda: self.provider.scripts(*scripts))

    def hold(self) -> None:
        """Let requests arrive, and answer none, until `release()`."""
        self._do(self.provider.hold)

    def release(self) -> None:
        """Answer what was held, and hold no longer."""
        self._do(self.provider.release)

    def resume(self) -> None:
        """Let go on what is stalled now."""
        self._do(self.provider.resume)

    def reset(self) -> None:
        """Forget requests, bill, queue and failures so far."""
        self._do(self.provider.reset)

    def until(self, condition: Callable[[ScriptedProvider], object], timeout: float = 5.0) -> None:
        """Wait until the condition, which runs in the thread, holds. Raises TimeoutError."""
        waiting = self.provider.until(condition, timeout)
        asyncio.run_coroutine_threadsafe(waiting, self._loop).result(timeout=timeout + 5)

    def _do(self, action: Callable[[], T]) -> T:
        async def inside() -> T:
            return action()

        return asyncio.run_coroutine_threadsafe(inside(), self._loop).result(timeout=10)

    def _run(self, ready: Future[None]) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            try:
                self.provider = self._make()
                runner.run(self.provider.start())
            except BaseException as failure:
                ready.set_exception(failure)
                return
            self._loop.call_soon(ready.set_result, None)
            self._loop.run_forever()
