"""Parameters of requests that ask alike, worked out once.

Apps ask with the same few parameters all day; only the messages differ, and those are not looked
at unless the job puts words of its own in front of them. So what is sent is remembered by
what was asked: the job, the target, and every other field as the bytes that came.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.jobs.native_parameters import APPLY
from gateway.jobs.parameters import Effective
from gateway.jobs.routes import Job, Target

REMEMBERED_AT_MOST = 2_000
"""Ways to ask that are kept; beyond it the memory starts anew."""
_BYTES_AT_MOST = 500
"""Longer fields, such as tools, are worked through each time."""
_LONG = frozenset({"messages", "input"})
"""What is said: never looked at, so that it is there is all that is remembered of it."""

_Key = tuple[object, ...]


class Parameters:
    """What to send, by one version of the rules; `native_parameters.APPLY` with a memory."""

    def __init__(self) -> None:
        self._known: dict[_Key, Effective] = {}

    def effective(
        self, job: Job, target: Target, form: str, asked: Mapping[str, msgspec.Raw]
    ) -> Effective:
        """What to send to `target` for a body of this form whose top level is `asked`.

        Raises BadRequest.
        """
        key = None if job.system is not None else _key(job, target, form, asked)
        if key is None:
            return APPLY[form](job, target, asked)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= REMEMBERED_AT_MOST:
                self._known.clear()
            found = self._known[key] = APPLY[form](job, target, asked)
        return found


def _key(job: Job, target: Target, form: str, asked: Mapping[str, msgspec.Raw]) -> _Key | None:
    """What decides the parameters, or None when it is too long to be kept."""
    told: list[object] = [job.name, target.name, form]
    for name, raw in asked.items():
        told.append(name)
        if name not in _LONG:
            value = bytes(raw)
            if len(value) > _BYTES_AT_MOST:
                return None
            told.append(value)
    return tuple(told)
