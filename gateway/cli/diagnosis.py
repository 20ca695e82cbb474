"""What `jobgate doctor` finds: one line for each thing that it looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "problem"]
ORDER: tuple[State, ...] = ("ok", "warning", "problem")
"""From good to bad."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One finding: what was looked at, what was found, what that means and what to do."""

    check: str
    state: State
    found: str
    means: str = ""
    todo: str = ""


def ok(check: str, found: str) -> Diagnosis:
    """As it should be."""
    return Diagnosis(check, "ok", found)


def warning(check: str, found: str, means: str, todo: str) -> Diagnosis:
    """It works, and may not for long or not as it was meant."""
    return Diagnosis(check, "warning", found, means, todo)


def problem(check: str, found: str, means: str, todo: str) -> Diagnosis:
    """Requests fail, books are in danger, or secrets are."""
    return Diagnosis(check, "problem", found, means, todo)


def worst(found: list[Diagnosis]) -> State:
    """The state of the whole."""
    return max((each.state for each in found), key=ORDER.index, default="ok")
