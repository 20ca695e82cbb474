"""`jobgate why`: the whole decision of one request, on one page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from gateway.cli.opening import open_books
from gateway.cli.options import (
    DEFAULT_DATABASE,
    DEFAULT_ORG,
    DatabaseUrl,
    Organisation,
    err,
    out,
    told_plainly,
)
from gateway.insight.explaining import Explainer
from gateway.money import format_dollars, quantity

NOTHING_KNOWN = 1
"""Exit status when the books have nothing of the request."""
_ADVICE = (
    "The books have nothing of a request {id!r}. A request that is refused holds and spends"
    " nothing, so it leaves no entry: its answer said why, in `error.message` and `error.details`."
    " The gateway process that answered remembers its last refusals:"
    " GET /admin/v1/requests/{id}."
)


class Format(StrEnum):
    """How the page is printed."""

    TABLE = "table"
    JSON = "json"


def why(
    request_id: Annotated[
        str, typer.Argument(metavar="ID", help="x-jobgate-request-id of the answer.")
    ],
    *,
    output: Annotated[Format, typer.Option("--format")] = Format.TABLE,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    org: Organisation = DEFAULT_ORG,
) -> None:
    """Why a request went as it did: its job, targets, changes, bound, budgets, cost, corrections.

    The id of one of its entries will do too. Exit status 1 when the books have
    nothing of it.
    """
    with told_plainly(), open_books(database_url, there=True) as database:
        explained = Explainer(database, org).of(request_id)
    if explained is None:
        err.print(_ADVICE.format(id=request_id), style="yellow", markup=False, highlight=False)
        raise typer.Exit(NOTHING_KNOWN)
    if output is Format.JSON:
        typer.echo(json.dumps(explained.told))
    else:
        _print(explained.told)


def _print(told: dict[str, Any]) -> None:
    say = _say
    by, job, rules = told["asked_by"], told["job"], told["rules"]
    say(f"{told['request_id']}: {told['state']}, {_usd(told['amount_nanos'])}")
    say(f"asked by   key {by['key_id']} of app {by['app']}, team {by['team']}")
    kept_in = "; on-prem targets alone" if told["confined"] else ""
    say(f"job        {job['name']}: {job['said']}{kept_in}")
    if rules is not None:
        say(
            f"rules      version {rules['version']} ({rules['hash'][:12]}), the newest that had"
            f" gone live by then, on {rules['live_at'][:19]}Z"
        )
    if told["tags"]:
        say("tags       " + ", ".join(f"{name}={value}" for name, value in told["tags"].items()))
    for number, target in enumerate(told["targets"], 1):
        verb = "" if target["asked"] else "not asked: "
        say(
            f"{'targets' if number == 1 else '':<10} {number}. {target['target']}: {verb}"
            f"{target['said']}"
        )
    for attempt in told["attempts"]:
        _print_attempt(attempt)


def _print_attempt(attempt: dict[str, Any]) -> None:
    bound = attempt["bound"]
    _say("")
    _say(
        f"Attempt {attempt['attempt']} at {attempt['target']} ({attempt['residency']}):"
        f" {attempt['outcome']}, {_usd(attempt['amount_nanos'])}"
    )
    _say(f"  admitted {attempt['admitted_at']}, booked {attempt['recorded_at'] or 'not yet'}")
    if attempt["model_served"]:
        tier = f", service tier {attempt['service_tier']}" if attempt["service_tier"] else ""
        _say(f"  answered by {attempt['model_served']} as {attempt['upstream_id'] or '-'}{tier}")
    for change in attempt["changed"] or ["nothing"]:
        _say(f"  changed  {change}")
    most = [_usd(bound["nanos"]), quantity(bound["tokens"], "tokens")]
    _say(f"  bound    at most {', '.join([*most, quantity(bound['requests'], 'requests')])}")
    if attempt["budgets"]:
        out.print(budgets_table(attempt["budgets"]))
    else:
        _say("  budgets  none was in scope")
    _print_entries(attempt)


def _print_entries(attempt: dict[str, Any]) -> None:
    """What was used, at which prices, and the corrections."""
    for entry in (*attempt["entries"], *attempt["adjustments"]):
        when = f", {entry['recorded_at']}" if entry["corrects"] else ""
        who = f" by {entry['author']}" if entry["author"] else ""
        reason = f": {entry['reason']}" if entry["reason"] else ""
        said = f"{_usd(entry['amount_nanos'])}  {entry['quality']}{when}{who}{reason}"
        _say(f"  {entry['kind']:<8} {entry['id']}  {said}")
        for line in _usage(entry):
            _say(f"           {line}")


def _usage(entry: dict[str, Any]) -> Iterator[str]:
    priced = {product["class"]: product for product in entry["products"]}
    for name, count in entry["usage"].items():
        if name in priced:
            price = format_dollars(priced[name]["nanos_per_million"], 6).rstrip("0").rstrip(".")
            yield f"{count:>9,} {name} x ${price} a million = ${priced[name]['usd']}"
        elif count:
            yield f"{count:>9,} {name}"


def budgets_table(budgets: list[dict[str, Any]]) -> Table:
    """Spent, and held by others, at the decision; after this attempt alone; and today."""
    columns = ("  budget", "limit", "before", "taken", "booked", "after", "now")
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in budgets:
        of = f" of {row['subject']}" if row["subject"] else ""
        name = f"  {row['budget']}{of} ({row['period']}{'' if row['hard'] else ', only warns'})"
        unit, before = row["unit"], row["before"]
        amounts = (_amount(row[part], unit) for part in ("taken", "booked"))
        limit = "not recorded" if before is None else _amount(before["limit"], unit)
        stood = [_standing(row[part], unit) for part in ("before", "after", "now")]
        table.add_row(*map(Text, (name, limit, stood[0], *amounts, stood[1], stood[2])))
    return table


def _standing(found: dict[str, int] | None, unit: str) -> str:
    if found is None:
        return "not recorded"
    held = f" + {_amount(found['held'], unit)} held" if found["held"] else ""
    return _amount(found["spent"], unit) + held


def _amount(amount: int, unit: str) -> str:
    """The exact amount, as short as it can be."""
    if unit != "usd":
        return quantity(amount, unit)
    dollars, _, rest = _usd(amount).partition(".")
    return f"{dollars}.{rest.rstrip('0'):0<2}"


def _usd(nanos: int) -> str:
    return f"{'-' if nanos < 0 else ''}${format_dollars(abs(nanos))}"


def _say(line: str) -> None:
    out.print(line, markup=False, highlight=False)
