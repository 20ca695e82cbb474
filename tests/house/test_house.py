"""The rules of the house: small rooms, labelled doors, no hidden passages."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gateway

HOUSE = Path(gateway.__file__).parent
ROOMS = sorted(HOUSE.rglob("*.py"))
TESTS = Path(__file__).parents[1]
Function = ast.FunctionDef | ast.AsyncFunctionDef
NO_ROOM = {"utils", "helpers", "common", "misc", "base", "types", "manager", "models", "router"}
LINES, FUNCTION_LINES, PARAMETERS = 400, 60, 6
LEFT_FOR_LATER = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")

each_room = pytest.mark.parametrize(
    "room", ROOMS, ids=lambda room: str(room.relative_to(HOUSE).with_suffix(""))
)


def tree_of(room: Path) -> ast.Module:
    return ast.parse(room.read_text("utf-8"))


def functions_in(room: Path) -> list[Function]:
    return [node for node in ast.walk(tree_of(room)) if isinstance(node, Function)]


def place_of(room: Path) -> str:
    return room.relative_to(HOUSE).as_posix()


@each_room
def test_a_room_says_what_it_is_for(room: Path) -> None:
    assert ast.get_docstring(tree_of(room))


@each_room
def test_a_room_can_be_read_in_one_sitting(room: Path) -> None:
    assert len(room.read_text("utf-8").splitlines()) <= LINES


def test_a_file_of_tests_can_be_read_in_one_sitting_too() -> None:
    tests = {path: path.read_text("utf-8").splitlines() for path in TESTS.rglob("*.py")}
    assert {str(path.relative_to(TESTS)) for path in tests if len(tests[path]) > LINES} == set()


@each_room
def test_a_rooms_name_says_what_happens_there(room: Path) -> None:
    assert not NO_ROOM & set(room.relative_to(HOUSE).with_suffix("").parts)


@each_room
def test_a_function_fits_on_a_screen(room: Path) -> None:
    if "versions" in room.parts:
        return  # a migration is one list of what was done, never changed again
    long = [
        f.name for f in functions_in(room) if (f.end_lineno or 0) - f.lineno + 1 >= FUNCTION_LINES
    ]
    assert long == []


@each_room
def test_a_function_takes_what_can_be_remembered(room: Path) -> None:
    if place_of(room).startswith("cli/"):
        return  # a command has as many parameters as it has options
    many = []
    for function in functions_in(room):
        given = function.args
        names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
        if len([name for name in names if name not in ("self", "cls")]) > PARAMETERS:
            many.append(function.name)
    assert many == []


@each_room
def test_there_are_no_hidden_passages(room: Path) -> None:
    hidden = [
        function.name
        for function in functions_in(room)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert hidden == []


@each_room
def test_what_is_public_says_what_it_does(room: Path) -> None:
    silent = [
        node.name
        for owner in ast.walk(tree_of(room))
        if isinstance(owner, ast.Module | ast.ClassDef) and not is_private(owner)
        for node in owner.body
        if isinstance(node, Function | ast.ClassDef) and not is_private(node)
        if ast.get_docstring(node) is None and len(node.body) > 1
    ]
    assert silent == []


def is_private(node: ast.AST) -> bool:
    return str(getattr(node, "name", "")).startswith("_")


@each_room
def test_nothing_is_printed_but_by_the_command_line(room: Path) -> None:
    if place_of(room).startswith("cli/"):
        return
    printed = [
        node.lineno
        for node in ast.walk(tree_of(room))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert printed == []


@each_room
def test_only_the_bridge_knows_litellm(room: Path) -> None:
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree_of(room))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert ("litellm" in imported) == (place_of(room) == "upstreams/litellm_bridge.py")


@each_room
def test_nothing_is_left_for_later(room: Path) -> None:
    assert not LEFT_FOR_LATER.findall(room.read_text("utf-8"))


def test_the_plan_names_every_room() -> None:
    """import-linter checks the order; here, that a new room cannot be forgotten in it."""
    plan = (HOUSE.parent / "pyproject.toml").read_text("utf-8")
    rooms = {path.name.removesuffix(".py") for path in HOUSE.iterdir()} - {
        "__init__",
        "__pycache__",
        "py.typed",
    }
    layers = plan.partition("[tool.importlinter]")[2]
    assert sorted(room for room in rooms if not re.search(rf"\b{room}\b", layers)) == []


def test_starting_without_a_need_for_it_does_not_import_litellm() -> None:
    """It costs seconds and 180 MB, so a gateway whose providers do without it does too."""
    asked = "import sys, gateway.app, gateway.cli; print('litellm' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", asked], capture_output=True, check=True, text=True)
    assert told.stdout == "False\n"
