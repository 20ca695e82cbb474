"""Commands that are taken off the shelf when they are asked for, and not before.

A command needs its own rooms and no others: `jobgate check` no database, `jobgate keys` no web
framework. This is the one place that imports a command by its name, as
`upstreams.litellm_loading` is for LiteLLM; which command is where is the table in `commands`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group


class Shelf(Mapping[str, Any]):
    """Commands by name; each is imported when it is looked at."""

    def __init__(self, places: Mapping[str, str]) -> None:
        """`places` are "module:name" of a function, or of a Typer with further commands."""
        self._places = places

    def __getitem__(self, name: str) -> Any:
        module, _, attribute = self._places[name].partition(":")
        found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            group = get_group(found)
            group.name = name
            return group
        alone = typer.Typer(add_completion=False)
        alone.command(name)(found)
        return get_command(alone)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def group_of(places: Mapping[str, str]) -> type[TyperGroup]:
    """A kind of group whose commands are on a shelf."""

    class Shelved(TyperGroup):
        """The commands of a table."""

        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self.commands: Any = Shelf(places)

    return Shelved
