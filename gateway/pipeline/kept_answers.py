"""Answers that are kept for those who ask the same again, in memory and nowhere else (law 13).

Promises: never more than so many bytes in all, so many answers for one API key, and none for
longer than so many seconds; the oldest go first. An answer that is too large is not kept.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from gateway.clock import MICROS
from gateway.treasury.claims import Name

KEPT_SECONDS = 600
"""How long an answer is kept."""
KEPT_BYTES = 64 * 1024 * 1024
"""Bytes of all answers together, and of streams that are being recorded."""
ANSWER_BYTES = 4 * 1024 * 1024
"""Bytes of the largest answer that is kept."""
ANSWERS_OF_A_KEY = 1000
"""Answers that are kept for one API key."""
_OVERHEAD = 1024
"""Bytes that an answer takes beside its body, roughly."""


class KeptAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer as it was given; only what was answered with 200 is kept."""

    body_digest: str
    body: bytes
    is_stream: bool
    headers: tuple[tuple[bytes, bytes], ...]
    """The x-jobgate headers of the first, its cost included."""
    job: str
    target: str
    kept_at: int
    """Microseconds since 1970."""


class KeptAnswers:
    """All that are kept by this process."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Name, KeptAnswer] = OrderedDict()
        self._of_key: dict[str, OrderedDict[Name, None]] = {}
        self.size = 0
        """Bytes that are taken now."""

    def get(self, name: Name, now: int) -> KeptAnswer | None:
        """The answer of that name, unless its time is over."""
        self._forget_old(now)
        return self._answers.get(name)

    def reserve(self, size: int) -> bool:
        """Take so many bytes, at the cost of the oldest answers; False when there are not any."""
        while self.size + size > KEPT_BYTES and self._answers:
            self._forget(next(iter(self._answers)))
        if self.size + size > KEPT_BYTES:
            return False
        self.size += size
        return True

    def release(self, size: int) -> None:
        """Give bytes back."""
        self.size -= size

    def keep(self, name: Name, answer: KeptAnswer) -> None:
        """Keep an answer, if it is not too large."""
        self._forget_old(answer.kept_at)
        if len(answer.body) > ANSWER_BYTES or not self.reserve(_size(answer)):
            return
        self._answers[name] = answer
        names = self._of_key.setdefault(name.key_id, OrderedDict())
        names[name] = None
        if len(names) > ANSWERS_OF_A_KEY:
            self._forget(next(iter(names)))

    def _forget_old(self, now: int) -> None:
        while self._answers:
            name, oldest = next(iter(self._answers.items()))
            if now < oldest.kept_at + KEPT_SECONDS * MICROS:
                return
            self._forget(name)

    def _forget(self, name: Name) -> None:
        self.release(_size(self._answers.pop(name)))
        names = self._of_key[name.key_id]
        del names[name]
        if not names:
            del self._of_key[name.key_id]


class Recording:
    """The events of a stream, as far as they are few enough to be kept."""

    def __init__(self, answers: KeptAnswers) -> None:
        self._answers = answers
        self._events: list[bytes] = []
        self._size = 0
        self._too_large = False

    def add(self, events: bytes) -> None:
        """Record what goes to the caller."""
        if self._too_large:
            return
        size = len(events)
        if self._size + size > ANSWER_BYTES or not self._answers.reserve(size):
            self._too_large = True
            self._drop()
            return
        self._events.append(events)
        self._size += size

    def take(self) -> bytes | None:
        """All that was recorded, once; None when it was too large. Its room is given back."""
        whole = None if self._too_large else b"".join(self._events)
        self._drop()
        return whole

    def _drop(self) -> None:
        self._answers.release(self._size)
        self._events, self._size = [], 0


def _size(answer: KeptAnswer) -> int:
    return len(answer.body) + _OVERHEAD
