"""Playing one answer to one client: writing, waiting, cutting, and charging exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tests.scripted.answer import Answer
from tests.scripted.frames import Broken, Cut, Pause, Send, Stall, Step
from tests.scripted.http import Connection
from tests.scripted.records import Seen

Charge = Callable[[Answer, Seen, int, bool], None]
"""Called with the answer, its request, the pieces sent, and whether it is complete."""


class Gates:
    """Where answers wait for the test, and where the test waits for answers."""

    def __init__(self) -> None:
        self.open = 0
        """Answers under way, held and stalled ones included."""
        self.stalled = 0
        self._gate = asyncio.Event()
        self._gate.set()
        self._stall_over = asyncio.Event()
        self._changed = asyncio.Event()

    def hold(self) -> None:
        """Let no answer begin."""
        self._gate.clear()

    def release(self) -> None:
        """Let all answers begin."""
        self._gate.set()

    @property
    def is_held(self) -> bool:
        return not self._gate.is_set()

    async def begin(self) -> None:
        """Wait until answers may begin."""
        await self._gate.wait()

    def resume(self) -> None:
        """Let go on what is stalled now."""
        going, self._stall_over = self._stall_over, asyncio.Event()
        going.set()

    async def stall(self) -> None:
        """Wait for the next `resume`."""
        self.stalled += 1
        self.note()
        try:
            await self._stall_over.wait()
        finally:
            self.stalled -= 1

    def note(self) -> None:
        """Something changed: let those who wait look again."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def until(self, condition: Callable[[], object], timeout: float) -> None:
        """Wait until the condition holds. Raises TimeoutError after so many seconds."""
        async with asyncio.timeout(timeout):
            while not condition():
                await self._changed.wait()


class Exchange:
    """One answer on its way out. It is charged before its last bytes are written."""

    def __init__(
        self, gates: Gates, connection: Connection, answer: Answer, seen: Seen, charge: Charge
    ) -> None:
        self._gates = gates
        self._connection = connection
        self._answer = answer
        self._seen = seen
        self._charge = charge
        self._at = 0
        gates.open += 1

    def start(self) -> Coroutine[Any, Any, None] | None:
        """Write at once what needs no waiting; what is returned does the rest."""
        if self._gates.is_held or not isinstance(self._answer.steps[0], Send):
            return self._play(None)
        step = self._write_on()
        if step is None and self._at == len(self._answer.steps):
            return None
        return self._play(step)

    async def _play(self, step: Step | None) -> None:
        begun = self._at > 0
        try:
            if not begun:
                await self._gates.begin()
                begun = True
            while step is not None or self._at < len(self._answer.steps):
                if step is not None:
                    await self._wait(step)
                await self._connection.drained()
                step = self._write_on()
                self._gates.note()
        except asyncio.CancelledError:
            self._seen.client_gone = self._connection.is_gone and not self._seen.done
            self._end(complete=False, charged=begun)
            raise

    async def _wait(self, step: Step) -> None:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
        elif isinstance(step, Stall):
            await self._gates.stall()
        elif isinstance(step, Cut):
            self._end(complete=False)
            if step.mode == "reset":
                await self._connection.reset()
            else:
                self._connection.transport.close()

    def _write_on(self) -> Step | None:
        """Write until something is to be waited for (returned), or there is no more room."""
        steps, seen = self._answer.steps, self._seen
        while self._at < len(steps):
            step = steps[self._at]
            self._at += 1
            if isinstance(step, Broken):
                self._end(complete=False)
            elif not isinstance(step, Send):
                return step
            elif self._connection.is_gone:
                self._at, seen.client_gone = len(steps), not seen.done
                self._end(complete=False)
                return None
            else:
                seen.chunks_sent = step.pieces
                seen.bytes_sent += len(step.data)
                seen.usage_told = seen.usage_told or step.told
                if self._at == len(steps):
                    self._end(complete=True)
                elif isinstance(steps[self._at], Broken):
                    self._end(complete=False)
                self._connection.transport.write(step.data)
                if self._connection.is_full:
                    return None
        return None

    def _end(self, *, complete: bool, charged: bool = True) -> None:
        if self._seen.done:
            return
        self._seen.done = True
        self._gates.open -= 1
        if charged:
            self._charge(self._answer, self._seen, self._seen.chunks_sent, complete)
        self._gates.note()
