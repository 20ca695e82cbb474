"""What happens in a chaos run, all of it from a seed: who asks what, and how the provider behaves.

Pure: the same seed, request and attempt always get the same behaviour, whatever else goes on at
that moment. Words are single tokens of the common encodings, and `input` is what OpenAI documents
for its chat template, so that the provider's bill leaves no room for a count that is too low.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from gateway.metering.counting import TokenCounter
from tests.scripted import Script

MARK = re.compile(rb"chaos-(\d+)")
"""What every prompt carries, to lay an attempt at the provider beside its entry."""
WORDS = "one two three four red green blue black white house tree river stone paper light night"
OUTPUT_TOKENS = 40
"""The most that each request may answer; no answer is longer."""
CHAT_TEMPLATE = 7
"""Tokens that OpenAI bills for one message beside its content (cookbook: 3 for the message, 1 for
its role, 3 for the reply that it opens)."""
GATEWAYS_AT_MOST = 2

CHAT, EMBEDDINGS, RESPONSES, MESSAGES = "chat/completions", "embeddings", "responses", "messages"
JOBS: Mapping[str, tuple[str, ...]] = {
    CHAT: (
        *("extraction", "narrative", "workspace", "volume", "private"),
        *("with-fallback", "hasty", "hasty", "narrow"),
    ),
    EMBEDDINGS: ("extraction",),
    RESPONSES: ("extraction",),
    MESSAGES: ("narrative",),
}
"""Jobs that are asked, by the door."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One request of a caller."""

    number: int
    door: str
    job: str
    stream: bool
    text: str
    leaves_after: float | None
    """Seconds after which the caller hangs up; None: stays."""
    repeats: bool
    """It carries an Idempotency-Key, and is sent again when its answer did not come whole."""
    gateway: int

    @property
    def body(self) -> dict[str, Any]:
        """The request in its door's form."""
        question = [{"role": "user", "content": self.text}]
        if self.door == EMBEDDINGS:
            return {"model": self.job, "input": self.text, "encoding_format": "float"}
        if self.door == RESPONSES:
            said: dict[str, Any] = {"input": self.text, "max_output_tokens": OUTPUT_TOKENS}
        else:
            said = {"messages": question, "max_tokens": OUTPUT_TOKENS}
        return {"model": self.job, "stream": self.stream, **said}


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the provider behaves at one attempt, and what that is called in the report."""

    name: str
    script: Script


class Weather:
    """Everything that is left to chance."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._counter = TokenCounter()

    def chance(self, *about: object) -> Random:
        """A source of chance for one thing."""
        return Random("/".join(map(str, (self.seed, *about))))

    def wanted(self, number: int) -> Wanted:
        """The request with this number."""
        chance = self.chance("request", number)
        door = chance.choices((CHAT, EMBEDDINGS, RESPONSES, MESSAGES), (70, 6, 12, 12))[0]
        words = " ".join(chance.choices(WORDS.split(), k=chance.randint(1, 30)))
        return Wanted(
            number=number,
            door=door,
            job=chance.choice(JOBS[door]),
            stream=door != EMBEDDINGS and chance.random() < 0.5,
            text=f"chaos-{number} {words}",
            leaves_after=chance.uniform(0.0, 0.3) if chance.random() < 0.2 else None,
            repeats=chance.random() < 0.15,
            gateway=chance.randrange(GATEWAYS_AT_MOST),
        )

    def behaviour(self, number: int, attempt: int, *, streamed: bool) -> Behaviour:
        """What the provider does at this attempt of a request."""
        wanted = self.wanted(number)
        chance = self.chance("answer", number, attempt)
        name = chance.choices(tuple(BEHAVIOURS), [weight for weight, _ in BEHAVIOURS.values()])[0]
        pieces = chance.randint(1, 20)
        changes = BEHAVIOURS[name][1](chance, pieces, streamed)
        if streamed and wanted.leaves_after is not None:
            # A body in one piece is billed whole; who leaves a stream before its first byte owes
            # the prompt alone. That both are true of one request is for no books to find out.
            changes.pop("body", None)
        template = 0 if wanted.door == EMBEDDINGS else CHAT_TEMPLATE
        script = Script(
            text=" ".join(chance.choices(WORDS.split(), k=pieces)),
            input=self._counter.count(wanted.text, "gpt-test") + template,
            first_byte_delay=chance.choice((0.0, 0.0, 0.02, 0.1)),
            delay_between_chunks=chance.choice((0.0, 0.002, 0.01)),
        )
        return Behaviour(name, script.amended(changes))


Changes = dict[str, Any]


def _well(chance: Random, pieces: int, streamed: bool) -> Changes:
    return {}


def _odd(chance: Random, pieces: int, streamed: bool) -> Changes:
    """Answers that are good, and told in one of the ways in which providers differ."""
    return {chance.choice(("burst", "gzip", "duplicate_usage", "usage_grows")): True}


def _slow(chance: Random, pieces: int, streamed: bool) -> Changes:
    return {
        "delay_between_chunks": chance.uniform(0.005, 0.05),
        "first_byte_delay": chance.uniform(0.0, 0.5),
    }


def _no_usage(chance: Random, pieces: int, streamed: bool) -> Changes:
    return {"omit_usage": True}


def _stall(chance: Random, pieces: int, streamed: bool) -> Changes:
    return {"stall_before_chunk": chance.randint(0, pieces)}


def _cut(chance: Random, pieces: int, streamed: bool) -> Changes:
    place = "cut_after_chunk" if streamed else "cut_bytes"
    return {
        place: chance.randint(-1 if streamed else 0, pieces),
        "cut_mode": chance.choice(("reset", "eof", "end")),
        "delay_between_chunks": chance.choice((0.0, 0.001, 0.01)),
        "burst": chance.random() < 0.3,
    }


def _truncated(chance: Random, pieces: int, streamed: bool) -> Changes:
    return {
        "truncate_json": True,
        "cut_after_chunk": chance.randint(0, pieces),
        "cut_mode": chance.choice(("reset", "eof", "end")),
    }


def _garbage(chance: Random, pieces: int, streamed: bool) -> Changes:
    if streamed and chance.random() < 0.7:
        return {"garbage_after": chance.randint(0, pieces)}
    return {"body": chance.choice(("", "{<no json", "<html>Sorry</html>", "null", "[]", "{}"))}


def _error_event(chance: Random, pieces: int, streamed: bool) -> Changes:
    return {"error_event_after": chance.randint(0, pieces)} if streamed else {"status": 500}


def _hang_up(chance: Random, pieces: int, streamed: bool) -> Changes:
    return {"hang_up": True, "cut_mode": chance.choice(("reset", "eof"))}


def _status(chance: Random, pieces: int, streamed: bool) -> Changes:
    return {"status": chance.choice((500, 502, 503, 504, 529))}


def _busy(chance: Random, pieces: int, streamed: bool) -> Changes:
    return {"status": 429, "retry_after": chance.choice((None, 0.0, 0.1, 5.0))}


def _refuses(chance: Random, pieces: int, streamed: bool) -> Changes:
    return {"status": chance.choice((400, 404, 413, 422))}


BEHAVIOURS: Mapping[str, tuple[int, Callable[[Random, int, bool], Changes]]] = {
    "well": (50, _well),
    "oddly": (6, _odd),
    "slowly": (12, _slow),
    "without usage": (6, _no_usage),
    "stall": (2, _stall),
    "cut": (9, _cut),
    "truncated": (3, _truncated),
    "garbage": (4, _garbage),
    "error event": (3, _error_event),
    "hang up": (2, _hang_up),
    "5xx": (3, _status),
    "429": (3, _busy),
    "refusal": (2, _refuses),
}
"""How often each is to be expected, and the script it comes to."""
GOOD = frozenset({"well", "oddly", "slowly", "without usage"})
"""What is not a fault; an answer without usage is one only to whoever keeps books."""
