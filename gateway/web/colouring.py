"""YAML and differences with a kind for each piece, for style sheets: nothing is run, and nothing is
lost. The pieces of a line put together are the line."""

from __future__ import annotations

import re
from collections.abc import Iterable

Piece = tuple[str, str]
"""A kind, which is empty for what has none, and a text."""

_PIECES = re.compile(
    r"""(?P<comment>(?:^|(?<=\s))\#.*)
      | (?P<key>(?:"[^"\\]*"|'[^']*'|(?<![\w./'"-])[\w][\w./-]*)(?=:(?:\s|$)))
      | (?P<string>"(?:\\.|[^"\\])*"|'(?:''|[^'])*')
      | (?P<number>(?<![\w./:-])-?\d[\d_]*(?:\.\d+)?(?![\w./:-]))
      | (?P<word>(?<![\w./:-])(?:true|false|null)(?![\w./:-]))
      | (?P<mark>[\[\]{},]|^\s*-(?=\s|$)|:(?=\s|$))
    """,
    re.VERBOSE,
)
_BLOCK = re.compile(r"(?:^|[:\s-]\s*)[|>][+-]?\d?\s*(?:\s\#.*)?$")
"""The end of a line after which lines that are further in are a text."""


def coloured(text: str) -> list[list[Piece]]:
    """The lines of a YAML text, in pieces."""
    found: list[list[Piece]] = []
    block: int | None = None
    for line in text.split("\n"):
        indent = len(line) - len(line.lstrip(" "))
        if block is not None and (not line.strip() or indent > block):
            found.append([("string", line)])
            continue
        block = indent if _BLOCK.search(line) else None
        found.append(_pieces(line))
    return found


def coloured_difference(lines: Iterable[str]) -> list[Piece]:
    """The lines of a unified difference, each as one piece."""
    kinds = {"+++": "file", "---": "file"}
    signs = {"+": "more", "-": "less", "@": "place"}
    return [(kinds.get(line[:3]) or signs.get(line[:1], ""), line) for line in lines]


def _pieces(line: str) -> list[Piece]:
    pieces: list[Piece] = []
    at = 0
    for match in _PIECES.finditer(line):
        if match.start() > at:
            pieces.append(("", line[at : match.start()]))
        pieces.append((match.lastgroup or "", match.group()))
        at = match.end()
    if at < len(line):
        pieces.append(("", line[at:]))
    return pieces
