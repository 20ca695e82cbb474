"""What is wrong with the rules, said so that it can be put right: where, what, and what was meant.

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
_Said = tuple[int, int, str]
"""The number of the file, the line, and the sentence."""


@dataclass(slots=True)
class Problems:
    """Collects problems and warnings, and tells them file by file in the order of the lines.

    The first file is `name`; entries of a section may belong to another, which it includes.
    """

    name: str
    lines: Mapping[Path, int]
    found: list[_Said] = field(default_factory=list)
    warned: list[_Said] = field(default_factory=list)
    _files: dict[str, int] = field(default_factory=dict)
    _owned: dict[Path, str] = field(default_factory=dict)

    def has_file(self, name: str) -> None:
        """Another file is read: what is wrong with it is told after all files before it."""
        self._files.setdefault(name, len(self._files) + 1)

    def belongs(self, path: Path, name: str) -> None:
        """An entry of a section, such as ("jobs", "extraction"), stands in that file."""
        self._owned[path] = name

    def file_of(self, path: Path) -> str:
        """The file that a path stands in."""
        return self._owned.get(path[:2], self.name)

    def place(self, path: Path) -> str:
        """The file and the line of a path: routes.yaml, line 41."""
        return f"{self.file_of(path)}, line {self._line(path)}"

    def add(
        self, path: Path, text: str, *, line: int | None = None, file: str | None = None
    ) -> None:
        """Note something that keeps the file from loading."""
        self.found.append(self._said(path, text, line, file))

    def tell(self, file: str, sentences: Iterable[str]) -> None:
        """Note problems that are told in full already: nothing of that file can be read."""
        self.found += [(self._files.get(file, 0), 0, said) for said in sentences]

    def warn(self, path: Path, text: str) -> None:
        """Note something that a person should know, but may want."""
        self.warned.append(self._said(path, text, None, None))

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

    def _said(self, path: Path, text: str, line: int | None, file: str | None) -> _Said:
        line, file = line or self._line(path), file or self.file_of(path)
        where = f"{shown(path)}: " if path else ""
        return self._files.get(file, 0), line, f"{file}:{line}: {where}{text}"

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


def _in_order(said: list[_Said]) -> list[str]:
    return list(dict.fromkeys(text for *_, text in sorted(said, key=lambda item: item[:2])))
