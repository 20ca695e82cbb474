"""What is different between two sets of files that the rules are made of."""

from __future__ import annotations

import difflib
from collections.abc import Mapping


def difference(old: Mapping[str, str], new: Mapping[str, str], names: tuple[str, str]) -> list[str]:
    """The lines of a unified diff of two sets of files; `names` say which they are."""
    lines: list[str] = []
    for file in dict.fromkeys([*old, *new]):
        before, after = (f"{name}/{file}" for name in names)
        lines += difflib.unified_diff(
            old.get(file, "").splitlines(),
            new.get(file, "").splitlines(),
            before if file in old else "/dev/null",
            after if file in new else "/dev/null",
            lineterm="",
        )
    return lines
