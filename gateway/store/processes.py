"""Work over the books that several processes share, each with a connection of its own.

A crew is some processes that each have made the same worker. It hands each the next part that
nobody has, and none is left behind, however the work ends. It knows nothing of what a part is:
parts, and what they come to, have to be such that one process can send them to another.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from gateway.store.failing import DatabaseDown

_SECONDS_TO_END = 5.0
_ENDED = "a process that read the books ended before it was done"
Part = TypeVar("Part")
Result = TypeVar("Result")
_Taken = TypeVar("_Taken", contravariant=True)
_Given = TypeVar("_Given", covariant=True)


class Worker(Protocol[_Taken, _Given]):
    """Does one part after the other."""

    def take(self, part: _Taken, /) -> _Given:
        """What a part comes to. Raises DatabaseDown."""
        ...

    def close(self) -> None:
        """Give the connections back."""
        ...


class Crew(Generic[Part, Result]):
    """Some processes with a worker each, which `make` makes there; they end with the block."""

    def __init__(self, make: Callable[[], Worker[Part, Result]], processes: int) -> None:
        self._make, self._count = make, processes
        self._lines: dict[Connection, SpawnProcess] = {}

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")
        try:
            for _ in range(self._count):
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(theirs, self._make), daemon=True)
                process.start()
                theirs.close()
                self._lines[ours] = process
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._end()

    def each(self, part: Part, within: float) -> None:
        """Give the same part to every worker, and wait so many seconds for all of them.

        Raises DatabaseDown when one fails, or is not done by then.
        """
        until = time.monotonic() + within
        for line in self._lines:
            _send(line, part)
        for line in self._lines:
            if not line.poll(max(0.0, until - time.monotonic())):
                raise DatabaseDown(f"a process was not ready within {within:g} seconds")
            _answer(line)

    def share(self, parts: Sequence[Part]) -> Iterator[tuple[int, Result]]:
        """The place of each part and what it came to, as soon as it is known.

        The first parts are handed out at once, before the first is asked for. Raises DatabaseDown.
        """
        waiting = list(reversed(list(enumerate(parts))))
        busy: dict[Connection, int] = {}
        for line in self._lines:
            if waiting:
                busy[line] = _hand_out(line, waiting)
        return self._done(busy, waiting)

    def _done(
        self, busy: dict[Connection, int], waiting: list[tuple[int, Part]]
    ) -> Iterator[tuple[int, Result]]:
        while busy:
            for line in wait(list(busy)):
                assert isinstance(line, Connection)  # noqa: S101 - for mypy: nothing else is there
                place, answer = busy.pop(line), _answer(line)
                if waiting:
                    busy[line] = _hand_out(line, waiting)
                yield place, answer

    def _end(self) -> None:
        for line in self._lines:
            line.close()  # whoever waits for more sees the end of it
        for process in self._lines.values():
            process.join(_SECONDS_TO_END)
            if process.is_alive():
                process.terminate()
                process.join()
        self._lines.clear()


def _hand_out(line: Connection, waiting: list[tuple[int, Any]]) -> int:
    place, part = waiting.pop()
    _send(line, part)
    return place


def _send(line: Connection, part: object) -> None:
    try:
        line.send(part)
    except OSError:  # nobody reads it: the process has ended
        raise DatabaseDown(_ENDED) from None


def _answer(line: Connection) -> Any:
    try:
        failed, answer = line.recv()
    except (EOFError, OSError):
        raise DatabaseDown(_ENDED) from None
    if failed:
        raise DatabaseDown(answer)
    return answer


def _serve(line: Connection, make: Callable[[], Worker[Any, Any]]) -> None:
    """Do what comes over the line until nothing more comes, or nobody waits for it any more."""
    worker = make()
    try:
        while True:
            try:
                part = line.recv()
            except (EOFError, OSError):
                return
            try:
                answer = (False, worker.take(part))
            except DatabaseDown as error:
                answer = (True, str(error))
            try:
                line.send(answer)
            except OSError:
                return
    finally:
        worker.close()
