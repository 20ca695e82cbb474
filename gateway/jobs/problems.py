"""What is wrong with a file, said so that it can be put right: where, what, and what was meant.

A problem keeps a file from loading, a warning does not. Both read
`routes.yaml:41: jobs.extraction.targets[0]: unknown provider 'opnai'; did you mean 'openai'?`
and values that could hold a secret are never repeated.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.jobs.document import Path

TOLD_MAX = 200
"""Problems that are told one by one; a file with more is not a slip."""

_PLAIN = re.compile(r"^[A-Za-z0-9_-]+$")


@dataclass(slots=True)
class Problems:
    """Collects problems and warnings about one file, and tells them in the order of its lines."""

    name: str
    lines: Mapping[Path, int]
    found: list[tuple[int, str]] = field(default_factory=list)
    warned: list[tuple[int, str]] = field(default_factory=list)

    def add(self, path: Path, text: str, *, line: int | None = None) -> None:
        """Note something that keeps the file from loading."""
        self.found.append(self._said(path, text, line))

    def warn(self, path: Path, text: str) -> None:
        """Note something that a person should know, but may want."""
        self.warned.append(self._said(path, text, None))

    def problems(self) -> list[str]:
        """All problems, each once, by line; beyond `TOLD_MAX` only how many more there are."""
        told = _in_order(self.found)
        if len(told) > TOLD_MAX:
            more = f"{self.name}: and {len(told) - TOLD_MAX} more problems"
            told = [*told[:TOLD_MAX], more]
        return told

    def warnings(self) -> tuple[str, ...]:
        """All warnings, each once, by line."""
        return tuple(_in_order(self.warned))

    def _said(self, path: Path, text: str, line: int | None) -> tuple[int, str]:
        line = line or self._line(path)
        where = f"{shown(path)}: " if path else ""
        return line, f"{self.name}:{line}: {where}{text}"

    def _line(self, path: Path) -> int:
        """The line of the path, or of the nearest thing around it that is there."""
        for length in range(len(path), -1, -1):
            line = self.lines.get(path[:length])
            if line is not None:
                return line
        return 1


def shown(path: Path) -> str:
    """A path as people write it: jobs.extraction.targets[0], models["openai/gpt-5.4"].price."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN.match(part):
            text += f".{part}" if text else part
        else:
            text += f'["{ascii(part)[1:-1]}"]'
    return text


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` with the known name that is closest, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _in_order(said: list[tuple[int, str]]) -> list[str]:
    return list(dict.fromkeys(text for _, text in sorted(said, key=lambda item: item[0])))
