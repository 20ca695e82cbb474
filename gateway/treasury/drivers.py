"""When and where the committer takes its turns.

On PostgreSQL a commit is a journey over the network, so a thread makes it. On SQLite without
full sync a commit is a write to the page cache of a tenth of a millisecond; handing it to a
thread and back costs several times as much, because two threads have to pass the interpreter to
each other for each statement. There the event loop itself takes the turn, once for all that its
current round has brought. What could take long, copying the log back into the database file,
is done by a thread (`store.checkpoints`).
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Protocol

log = logging.getLogger(__name__)

Turn = Callable[[], float]
"""Commits what has arrived; returns in how many seconds to look again."""
Look = Callable[[], None]
"""Sees to those who wait for a turn that hangs."""


class Driver(Protocol):
    """Takes turns."""

    on_the_loop: bool
    """Whether turns run on the event loop, and therefore may not wait."""

    def start(self, turn: Turn, look: Look) -> None:
        """Begin; called on the loop. `look` is called there while a turn may hang elsewhere."""
        ...

    def wake(self) -> None:
        """Something has arrived."""
        ...

    def on_loop(self, callback: Callable[[], None]) -> None:
        """Call back on the loop."""
        ...

    async def stop(self) -> bool:
        """Take turns until nothing is left to do, then end; False if the last would not end."""
        ...


class LoopDriver:
    """Turns on the event loop, at the end of the round in which something arrived."""

    on_the_loop = True

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop
        self._turn: Turn
        self._scheduled = False
        self._rounds = 0
        self._more = False
        self._later: asyncio.TimerHandle | None = None

    def start(self, turn: Turn, _look: Look) -> None:
        """Begin; called on the loop."""
        self._loop, self._turn = asyncio.get_running_loop(), turn
        self.wake()

    def wake(self) -> None:
        """Something has arrived: the turn comes when a round of the loop brings nothing more."""
        self._more = True
        if not self._scheduled:
            self._scheduled = True
            self._rounds = 0
            self._loop.call_soon(self._run)

    def on_loop(self, callback: Callable[[], None]) -> None:
        """We are there."""
        callback()

    async def stop(self) -> bool:
        """Take turns until the next is only for looking, then end."""
        for _ in range(_LAST_TURNS):
            if (delay := self._turn()) >= _ONLY_LOOKING:
                break
            await asyncio.sleep(delay)
        if self._later is not None:
            self._later.cancel()
        self._scheduled = True
        return True

    def _run(self) -> None:
        if self._more and self._rounds < _ROUNDS_AT_MOST:
            self._more = False
            self._rounds += 1
            self._loop.call_soon(self._run)
            return
        self._scheduled = self._more = False
        if self._later is not None:
            self._later.cancel()
            self._later = None
        delay = self._turn()
        if delay <= 0:
            self.wake()
        else:
            self._later = self._loop.call_later(delay, self.wake)


class ThreadDriver:
    """Turns in a thread of their own."""

    on_the_loop = False

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop
        self._turn: Turn
        self._arrived = threading.Event()
        self._stopping = False
        self._looking: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)

    def start(self, turn: Turn, look: Look) -> None:
        """Begin; called on the loop."""
        self._loop, self._turn = asyncio.get_running_loop(), turn
        self._thread.start()
        self._keep_looking(look)

    def wake(self) -> None:
        """Something has arrived."""
        self._arrived.set()

    def on_loop(self, callback: Callable[[], None]) -> None:
        """Hand over to the loop."""
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:  # the loop has been closed: nobody is left to be told
            log.debug("the loop is closed")

    async def stop(self) -> bool:
        """Let the thread finish, if it does so in time."""
        self._stopping = True
        self._arrived.set()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, _LAST_SECONDS)
        if self._looking is not None:
            self._looking.cancel()
        return not self._thread.is_alive()

    def _keep_looking(self, look: Look) -> None:
        look()
        self._looking = self._loop.call_later(_LOOK_SECONDS, self._keep_looking, look)

    def _run(self) -> None:
        last_turns = _LAST_TURNS
        while last_turns:
            self._arrived.clear()
            delay = self._turn()
            if self._stopping:
                if delay >= _ONLY_LOOKING:
                    return
                last_turns -= 1
            self._arrived.wait(delay)


_ROUNDS_AT_MOST = 8
"""Rounds of the loop that are waited for while each brings more: larger groups, same latency."""
_ONLY_LOOKING = 0.2
"""A turn that asks for so many seconds of pause has nothing to do, or cannot do it."""
_LOOK_SECONDS = 1.0
_LAST_SECONDS = 30.0
"""How long the last turns of a thread are waited for: a server may never answer."""
_LAST_TURNS = 2000
"""Turns that stopping takes at the most, while another writer keeps the database busy."""
