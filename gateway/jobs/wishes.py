"""A request on its way through a job's policies: what is asked by now, and what became of it.

It is a copy of the caller's fields that policies write into. Whoever reads it afterwards sees a
request as if the caller had asked it so, and knows which fields the job put there, which it took
away, and what has to be told.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from gateway.errors import BadRequest
from gateway.jobs.policies import Outside

_NULL = b"null"
_encode = msgspec.json.encode


@dataclass(slots=True)
class Wish:
    """A request on its way through the policies: what is asked by now, and what became of it."""

    job: str
    asked: dict[str, msgspec.Raw]
    fields: dict[str, bytes] = field(default_factory=dict)
    """What the job put in place, as raw JSON."""
    removed: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)

    def given(self, name: str) -> bytes | None:
        """What is asked, None when it is nothing or null."""
        raw = self.asked.get(name)
        return None if raw is None or (said := bytes(raw)) == _NULL else said

    def put(self, name: str, value: object) -> None:
        """Ask this instead."""
        self.fields[name] = raw = _encode(value)
        self.asked[name] = msgspec.Raw(raw)
        self.removed.discard(name)

    def leave_out(self, name: str, why: str) -> None:
        """Ask nothing of it, and tell why."""
        self.fields.pop(name, None)
        self.asked.pop(name, None)
        self.removed.add(name)
        self.told.append(f"{name} dropped ({why})")

    def close(self, name: str, outside: Outside, why: str) -> None:
        """Ask nothing of it, or refuse. Raises BadRequest."""
        if outside == "refuse":
            raise BadRequest(f"job {self.job!r} does not take {name}: {why}", param=name)
        self.leave_out(name, why)
