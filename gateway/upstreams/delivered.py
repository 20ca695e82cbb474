"""What of a stream has arrived, kept to be counted in case the provider never tells its usage."""

from __future__ import annotations

from gateway.metering.prompts import text_of_choices

KEPT_FOR_COUNTING = 32 * 1024 * 1024
"""Bytes of a stream's choices that are kept; what comes after them is not counted."""


class Delivered:
    """The choices of a stream, as they came."""

    __slots__ = ("_bytes", "_choices")

    def __init__(self) -> None:
        self._choices: list[bytes] = []
        self._bytes = 0

    def add(self, choices: bytes) -> None:
        """Keep the JSON list of one chunk's choices."""
        if self._bytes < KEPT_FOR_COUNTING:
            self._choices.append(choices)
            self._bytes += len(choices)

    def text(self) -> str:
        """All text that has arrived, reasoning and tool calls included."""
        return text_of_choices(self._choices)
