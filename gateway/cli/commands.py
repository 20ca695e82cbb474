"""All commands, in one list."""

from __future__ import annotations

import typer

from gateway.cli import (
    books,
    budgets,
    demo,
    exports,
    keys,
    prices,
    reconcile,
    routing,
    serving,
    statements,
)

app = typer.Typer(
    name="jobgate",
    help="An OpenAI-compatible gateway that keeps exact books. Don't pick a model: pick a job.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(serving.serve)
app.command()(demo.demo)
app.command()(routing.check)
app.command()(routing.explain)
app.add_typer(keys.commands, name="keys")
app.add_typer(budgets.commands, name="budgets")
app.command()(books.report)
app.command()(books.audit)
app.command()(statements.statement)
app.command()(statements.close)
app.command()(statements.adjust)
app.add_typer(exports.commands, name="export")
app.add_typer(prices.commands, name="prices")
app.command()(reconcile.reconcile)


def main() -> None:
    """Run the command line."""
    app()
