"""What a job does with the parameters that callers state: values, and no opinion on them.

Every policy has the same shape. A `default` is set when the caller says nothing. `outside` says
what happens to a value that is not allowed: "clamp" puts the nearest one that is in its place,
and tells it; "refuse" refuses the request. `pinned` means that one value is allowed alone. How
they are applied is in `limiting`, and for temperature and output in `parameters`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Outside = Literal["clamp", "refuse"]


@dataclass(frozen=True, slots=True)
class NumberPolicy:
    """A number from `min` to `max`; a pinned one has the same in both, and as its default."""

    default: float | None = None
    min: float = 0.0
    max: float = 1.0
    outside: Outside = "clamp"
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class EffortPolicy:
    """How much a model may be asked to reason: `allowed` is in order, the least first.

    The job's default is its `reasoning_effort`.
    """

    allowed: tuple[str, ...]
    outside: Outside = "clamp"
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class ToolsPolicy:
    """The kinds of tools that requests may bring; clamped are tools of other kinds left out."""

    allowed: frozenset[str]
    outside: Outside = "clamp"


@dataclass(frozen=True, slots=True)
class FormatPolicy:
    """The forms of an answer, as `response_format` of chat completions has them.

    What is clamped becomes the default, or plain text without one.
    """

    allowed: frozenset[str]
    default: Mapping[str, Any] | None = None
    outside: Outside = "clamp"
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """The policies of a job beside temperature and output; what is None is left to the caller.

    `closed` are fields that no caller may state: "clamp" leaves them out, "refuse" refuses.
    `added_bytes` is the most that defaults and pins add to the prompt.
    """

    top_p: NumberPolicy | None = None
    n: NumberPolicy | None = None
    seed: NumberPolicy | None = None
    effort: EffortPolicy | None = None
    tools: ToolsPolicy | None = None
    format: FormatPolicy | None = None
    closed: tuple[tuple[str, Outside], ...] = ()
    added_bytes: int = 0
