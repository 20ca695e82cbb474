"""All commands, in one list."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from types import MappingProxyType
from typing import Annotated

import typer

from gateway.cli.shelf import group_of

PLACES: Mapping[str, str] = MappingProxyType(
    {
        "serve": "gateway.cli.serving:serve",
        "demo": "gateway.cli.demo:demo",
        "check": "gateway.cli.routing:check",
        "explain": "gateway.cli.routing:explain",
        "canary": "gateway.cli.canaries:canary",
        "doctor": "gateway.cli.doctor:doctor",
        "routes": "gateway.cli.versions:commands",
        "keys": "gateway.cli.keys:commands",
        "teams": "gateway.cli.directory:teams",
        "apps": "gateway.cli.directory:apps",
        "sessions": "gateway.cli.sessions:commands",
        "budgets": "gateway.cli.budgets:commands",
        "alerts": "gateway.cli.alerts:commands",
        "report": "gateway.cli.books:report",
        "why": "gateway.cli.why:why",
        "audit": "gateway.cli.books:audit",
        "forecast": "gateway.cli.forecasts:forecast",
        "whatif": "gateway.cli.whatif:whatif",
        "changes": "gateway.cli.changes:changes",
        "statement": "gateway.cli.statements:statement",
        "close": "gateway.cli.statements:close",
        "adjust": "gateway.cli.statements:adjust",
        "export": "gateway.cli.exports:commands",
        "prices": "gateway.cli.prices:commands",
        "reconcile": "gateway.cli.reconcile:reconcile",
    }
)
"""Where each command is; it is imported when it is asked for (see `shelf`)."""

app = typer.Typer(
    name="jobgate",
    help="An OpenAI-compatible gateway that keeps exact books. Don't pick a model: pick a job.",
    cls=group_of(PLACES),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"jobgate {version('jobgate')}")
        raise typer.Exit


@app.callback()
def jobgate(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_tell_version, is_eager=True),
    ] = False,
) -> None:
    """An OpenAI-compatible gateway that keeps exact books. Don't pick a model: pick a job."""


def main() -> None:
    """Run the command line."""
    app()
