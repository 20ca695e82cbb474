"""`jobgate check` and `jobgate explain`: what routes.yaml says, and what it would do."""

from __future__ import annotations

import json
import os
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from gateway.cli.options import (
    DEFAULT_ROUTES,
    AsJson,
    RoutesFile,
    err,
    out,
    read_routes,
    told_plainly,
)
from gateway.clock import SystemClock
from gateway.errors import BadRequest, ConfigurationError, UnknownJob
from gateway.jobs.canary import described
from gateway.jobs.capabilities import flavour_of, sources_for
from gateway.jobs.parameters import apply
from gateway.jobs.routes import Budget, Job, Routes, Target
from gateway.metering.usage import Usage
from gateway.money import format_dollars, quantity
from gateway.prices.rates import charge
from gateway.treasury.periods import every
from gateway.upstreams.credentials import Credentials

TYPICAL = Usage(input=1_000, output=300)
"""What a typical request uses, for prices that people can compare."""

_MESSAGES = msgspec.Raw(b'[{"role":"user","content":"..."}]')


def check(*, routes: RoutesFile = DEFAULT_ROUTES, as_json: AsJson = False) -> None:
    """Check routes.yaml; exit status 2 and every problem when it is not valid."""
    with told_plainly():
        rules, book = read_routes(routes)
    if as_json:
        found = {"jobs": sorted(rules.jobs), "warnings": rules.warnings, "version": rules.version}
        typer.echo(json.dumps(found))
        return
    for warning in rules.warnings:
        err.print(f"warning: {warning}", style="yellow", markup=False, highlight=False)
    out.print(
        f"{routes} is valid: {len(rules.jobs)} jobs, {len(rules.providers)} providers,"
        f" {len(rules.budgets)} budgets; version {rules.version[:12]}, prices {book.version}.",
        highlight=False,
    )


def explain(
    job: Annotated[str, typer.Argument(help="A job or an alias.")],
    *,
    temperature: Annotated[float | None, typer.Option(help="What a caller might ask.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="What a caller might ask.")] = None,
    routes: RoutesFile = DEFAULT_ROUTES,
    as_json: AsJson = False,
) -> None:
    """What would happen to a request for a job, and why."""
    asked = {"messages": _MESSAGES}
    if temperature is not None:
        asked["temperature"] = msgspec.Raw(msgspec.json.encode(temperature))
    if max_tokens is not None:
        asked["max_tokens"] = msgspec.Raw(msgspec.json.encode(max_tokens))
    with told_plainly():
        rules, _book = read_routes(routes)
        try:
            picked = rules.pick(job)
            tried = () if picked.canary is None else picked.canary.own
            targets = [_target(picked, t, rules, asked) for t in (*picked.targets, *tried)]
        except (UnknownJob, BadRequest) as error:
            raise ConfigurationError([error.message]) from None
    if as_json:
        typer.echo(json.dumps(_as_json(job, picked, targets, rules)))
    else:
        _print(job, picked, targets, rules)


def _target(
    job: Job, target: Target, routes: Routes, asked: dict[str, msgspec.Raw]
) -> dict[str, Any]:
    effective, at = apply(job, target, asked), target.provider
    credentials = Credentials(routes.providers, os.environ)
    valid, price = target.price_at(SystemClock().now()), None
    if valid is not None:
        nanos = charge(valid, TYPICAL, None).amount_nanos * 1_000
        price = format_dollars(nanos, 2)
    missing = credentials.missing(target.provider.name)
    return {
        "target": target.name,
        "address": target.provider.base_url,
        "residency": target.provider.residency,
        "canary": target.on_trial,
        "temperature": effective.temperature,
        "output_limit": effective.output_limit,
        "changes": list(effective.changes),
        "rules": list(sources_for(flavour_of(at.wire, at.flavour), target.model)),
        "usd_per_1000_requests": price,
        "source_of_price": valid.source if valid else None,
        "ready": missing is None and valid is not None,
        "why_not": f"set {missing}" if missing else None if valid else "it has no price",
    }


def _print(name: str, job: Job, targets: list[dict[str, Any]], routes: Routes) -> None:
    alias = f" (asked as {name})" if name != job.name else ""
    out.print(Text.assemble((job.name, "bold"), f"{alias}: {job.purpose}"))
    temperature, output = job.temperature, job.output
    out.print(
        f"Owner {job.owner}; residency {job.residency}; temperature {temperature.default}, from"
        f" {temperature.min} to {temperature.max}, outside {temperature.outside}; output"
        f" {output.default} tokens, at most {output.max}.",
        highlight=False,
    )
    table = Table("try", "target", "temperature", "output", "USD per 1,000*", "what is changed")
    for number, row in enumerate(targets, 1):
        sent = "none" if row["temperature"] is None else str(row["temperature"])
        notes = [*([row["why_not"]] if row["why_not"] else []), *row["changes"]]
        table.add_row(
            "canary" if row["canary"] else str(number),
            row["target"],
            sent,
            f"{row['output_limit']:,}",
            row["usd_per_1000_requests"] or "no price",
            "\n".join(notes) or "nothing",
        )
    out.print(table)
    if job.canary is not None:
        of = "apps" if job.canary.tag is None else f"the values of the tag {job.canary.tag}"
        out.print(f"The canary takes {job.canary.percent:g}% of {of}.", highlight=False)
    out.print(f"* requests of {TYPICAL.input:,} input and {TYPICAL.output:,} output tokens.")
    for budget in _budgets(job, routes):
        kind = "refuses" if budget.hard else "warns"
        out.print(
            f"Budget {budget.name}: {quantity(budget.limit, budget.unit)} {every(budget.period)}"
            f" for {budget.scope}; {kind}.",
            highlight=False,
        )


def _budgets(job: Job, routes: Routes) -> list[Budget]:
    """Budgets that a request for the job can be under."""
    return [
        budget
        for budget in routes.budgets
        if budget.scope.kind != "job" or budget.scope.value in (None, job.name)
        if budget.scope.kind != "tag" or budget.scope.tag in job.tags
    ]


def _as_json(name: str, job: Job, targets: list[dict[str, Any]], routes: Routes) -> dict[str, Any]:
    return {
        "asked": name,
        "job": job.name,
        "purpose": job.purpose,
        "owner": job.owner,
        "residency": job.residency,
        "targets": targets,
        "canary": described(job),
        "policies": msgspec.to_builtins(job.limits, order="sorted"),
        "budgets": [
            {
                "name": budget.name,
                "scope": str(budget.scope),
                "limit": quantity(budget.limit, budget.unit),
                "period": budget.period,
                "hard": budget.hard,
            }
            for budget in _budgets(job, routes)
        ],
        "typical_request": {"input": TYPICAL.input, "output": TYPICAL.output},
    }
