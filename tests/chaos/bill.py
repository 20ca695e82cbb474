"""The provider of a chaos run, and its own bill, attempt by attempt.

An attempt is billed for what was generated: a plain answer whole as soon as it is begun, a stream
for the pieces that were written, whether or not anybody was left to read them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tests.chaos.weather import GOOD, MARK, Weather
from tests.endings.bills import cost
from tests.scripted import Script, ScriptedProvider
from tests.scripted.asked import Asked


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request as the provider got it."""

    number: int
    order: int
    """Counts all attempts in order of arrival."""
    path: str
    model: str
    behaviour: str
    answer_id: str
    billed: int | None
    """Nano-dollars; None when nothing is charged."""


class ChaosProvider(ScriptedProvider):
    """Behaves as the weather says, by the mark in each prompt."""

    def __init__(self, weather: Weather) -> None:
        super().__init__()
        self.behaved: Counter[str] = Counter()
        self._weather = weather
        self._attempts: Counter[int] = Counter()
        self._told: dict[int, tuple[str, str]] = {}

    @property
    def faults(self) -> int:
        """How often it did not do what it should."""
        return sum(count for name, count in self.behaved.items() if name not in GOOD)

    def attempts(self) -> list[Attempt]:
        """Every attempt, in order of arrival."""
        lines = {line.order: line for line in self.bill}
        found = []
        for seen in self.requests:
            mark = MARK.search(seen.raw)
            if mark is None:
                continue
            line = lines.get(seen.order)
            model, behaviour = self._told[seen.order]
            found.append(
                Attempt(
                    number=int(mark[1]),
                    order=seen.order,
                    path=seen.path,
                    model=model,
                    behaviour=behaviour,
                    answer_id=line.answer_id if line else "",
                    billed=cost(line) if line else None,
                )
            )
        return found

    def _script_for(self, asked: Asked) -> tuple[object, Script]:
        mark = MARK.search(asked.last_text.encode())
        if mark is None:
            return super()._script_for(asked)
        number = int(mark[1])
        self._attempts[number] += 1
        streamed = asked.stream and asked.api != "embeddings"
        attempt = self._attempts[number]
        behaviour = self._weather.behaviour(number, attempt, streamed=streamed)
        self.behaved[behaviour.name] += 1
        self._told[self.arrived] = asked.model, behaviour.name
        return (number, attempt), behaviour.script
