"""What a request used, in disjoint classes.

Providers report tokens in conventions that overlap: cached tokens inside the prompt, reasoning
inside the completion, or beside it. Whatever the convention, it is translated here, at the
door, into classes that do not overlap, so no token can be counted twice.
"""

from __future__ import annotations

import msgspec

TOKEN_CLASSES = (
    "input",
    "cache_read",
    "cache_read_audio",
    "cache_write",
    "cache_write_1h",
    "output",
    "reasoning",
    "audio_input",
    "audio_output",
    "image_input",
    "image_output",
)
CLASSES = (*TOKEN_CLASSES, "requests")
"""Every class of a usage; `requests` counts calls with a fee of their own, such as searches."""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens (and billed calls) in classes that do not overlap; whole numbers, never negative.

    `input` is plain text input at the full price: cached, written, audio and image tokens are
    not in it. `output` is visible text output: reasoning, audio and image tokens are not in it.
    """

    input: int = 0
    cache_read: int = 0
    cache_read_audio: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0
    audio_input: int = 0
    audio_output: int = 0
    image_input: int = 0
    image_output: int = 0
    requests: int = 0

    @property
    def input_total(self) -> int:
        """All input tokens: what price tiers are measured by."""
        return (
            self.input
            + self.cache_read
            + self.cache_read_audio
            + self.cache_write
            + self.cache_write_1h
            + self.audio_input
            + self.image_input
        )

    @property
    def output_total(self) -> int:
        """All output tokens, reasoning included."""
        return self.output + self.reasoning + self.audio_output + self.image_output

    @property
    def total(self) -> int:
        """All tokens: what token budgets are charged with."""
        return self.input_total + self.output_total

    def plus(self, other: Usage) -> Usage:
        """Both together, class by class."""
        return Usage(**{name: getattr(self, name) + getattr(other, name) for name in CLASSES})

    def less(self, part: Usage) -> Usage:
        """What is left without a part of it, whose text output need not tell its reasoning."""
        left = {name: getattr(self, name) - getattr(part, name) for name in CLASSES}
        beyond = max(0, -left["output"])
        left["output"], left["reasoning"] = left["output"] + beyond, left["reasoning"] - beyond
        return Usage(**left)


NOTHING = Usage()


class Extra(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer used beside its own usage, at a price of its own.

    `of` names the model whose tokens they are, such as an advisor's, or the tool whose calls have
    a fee (`requests`).
    """

    of: str
    usage: Usage
