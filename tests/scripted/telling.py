"""What is said and what it used, before any wire format: the truth that the bill is made of."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import asdict, replace

from gateway.metering.usage import CLASSES, Usage
from tests.scripted.asked import Asked
from tests.scripted.script import Script

CREATED = 1_790_000_000
"""When every answer says it was made: the same tomorrow."""

ECHOED_WORDS = 8


@dataclass(frozen=True, slots=True)
class Telling:
    """One answer: its parts in order, and its usage when all of it was generated."""

    asked: Asked
    script: Script
    pieces: tuple[str, ...]
    usage: Usage
    answer_id: str
    finish: str

    @property
    def text(self) -> str:
        """All pieces of text of one choice."""
        return "".join(self.pieces)

    @property
    def choices(self) -> int:
        """How many choices the answer has."""
        return self.script.n or self.asked.n

    @property
    def model(self) -> str:
        """The model that the answer names."""
        return self.script.model_served or self.asked.model

    def part(self, done: int, of: int) -> Usage:
        """Usage after `done` of `of` pieces: input and reasoning whole, output in proportion."""
        return partly(self.usage, done, of)


def tell(asked: Asked, script: Script, answer_id: str) -> Telling:
    """Decide what an answer says and what it costs."""
    pieces, shortened = _pieces(asked, script)
    called = sum(len(arguments.split()) + 1 for _, arguments in script.tool_calls)
    output = script.output
    if asked.api == "embeddings":
        output = 0
    elif output is None:
        output = (len("".join(pieces).split()) + called) * (script.n or asked.n)
    stated = {name: getattr(script, name) for name in CLASSES}
    stated |= {"output": output, "input": asked.words + 3 if script.input is None else script.input}
    usual = "length" if shortened else "tool_calls" if script.tool_calls else "stop"
    return Telling(
        asked=asked,
        script=script,
        pieces=pieces,
        usage=Usage(**stated),
        answer_id=answer_id if script.answer_id is None else script.answer_id,
        finish=script.finish or usual,
    )


def _pieces(asked: Asked, script: Script) -> tuple[tuple[str, ...], bool]:
    """The text in pieces, and whether the request's limit shortened it."""
    if script.chunks:
        pieces = script.chunks
    elif script.text is not None or script.tool_calls:
        pieces = in_words(script.text or "")
    else:
        pieces = in_words(" ".join(["You said:", *asked.last_text.split()[-ECHOED_WORDS:]]))
    if script.output is None and asked.limit is not None and asked.limit < len(pieces):
        return pieces[: asked.limit], True
    return pieces, False


def in_words(text: str) -> tuple[str, ...]:
    """The text cut before each space, so that joining the pieces gives it back."""
    words = text.split(" ")
    return (words[0], *(" " + word for word in words[1:])) if text else ()


def partly(usage: Usage, done: int, of: int, ahead: int = 0) -> Usage:
    """What was used when `done` of `of` pieces, and `ahead` tokens more, had been generated."""
    if of == 0 or done >= of:
        return usage
    return replace(
        usage,
        output=min(usage.output, usage.output * done // of + ahead),
        audio_output=usage.audio_output * done // of,
        image_output=usage.image_output * done // of,
    )


def only(usage: Usage, known: frozenset[str], who: str) -> None:
    """Raise ValueError if a class is used that this provider has no word for."""
    unsaid = [name for name, count in asdict(usage).items() if count and name not in known]
    if unsaid:
        raise ValueError(f"{who} has no word for {', '.join(unsaid)}")
