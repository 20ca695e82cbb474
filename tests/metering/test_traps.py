"""Every trap of exact money has a test that exists: the table is traps.md."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TABLE = Path(__file__).with_name("traps.md")
TESTS = Path(__file__).parents[1]
LAST = 41
_LINE = re.compile(r"^\| (\d+) \| .+ \| (.+) \|$", re.MULTILINE)
_NAMED = re.compile(r"`([^`:]+\.py)::(test_\w+)`(?: \[([^\]]+)\])?")


def lines() -> dict[int, list[tuple[str, str, str]]]:
    """The tests of each trap: file, name, and the row of its table if it has one."""
    return {int(n): _NAMED.findall(tests) for n, tests in _LINE.findall(TABLE.read_text("utf-8"))}


def names_in(path: Path) -> set[str]:
    """The names of a file's tests."""
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, functions)}


def test_every_trap_has_a_line_and_every_line_a_test() -> None:
    assert sorted(lines()) == list(range(1, LAST + 1))
    assert all(lines().values())


def test_every_test_that_the_table_names_exists() -> None:
    missing = [
        (file, name)
        for tests in lines().values()
        for file, name, _row in tests
        if not (TESTS / file).is_file() or name not in names_in(TESTS / file)
    ]
    assert missing == []


def test_every_row_that_the_table_names_is_in_its_file() -> None:
    missing = [
        row
        for tests in lines().values()
        for file, _name, row in tests
        if row and f'"{row}"' not in (TESTS / file).read_text("utf-8")
    ]
    assert missing == []
