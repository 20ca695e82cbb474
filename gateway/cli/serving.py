"""`jobgate serve`: one gateway process until it is told to stop."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import resource
import signal
import socket
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from gateway.app import FirstKey, Gateway
from gateway.cli.log_lines import LogLines, say_where_it_broke
from gateway.cli.oidc import oidc_in
from gateway.cli.options import (
    DEFAULT_DATABASE,
    DEFAULT_ORG,
    DEFAULT_ROUTES,
    DatabaseUrl,
    Host,
    Organisation,
    Port,
    RoutesFile,
    err,
    read_routes,
    rules_of,
    told_plainly,
)
from gateway.doors.connections import Connection
from gateway.doors.office import parse_address
from gateway.settings import Settings

_SWITCH_SECONDS = 0.0005
"""How long one thread may keep the interpreter: the committer must not wait for the loop's 5 ms."""

_CANNOT_SERVE = 3
"""Exit status when the server did not start."""

_BACKLOG = 2048
"""Connections that may wait to be taken."""

_COLLECTOR = (20_000, 20, 50)
"""Fewer, larger collections: most of what a request makes is gone without them."""

FullSync = Annotated[
    bool,
    typer.Option(
        "--full-sync",
        envvar="JOBGATE_FULL_SYNC",
        help="SQLite waits for the disk at each commit: a power cut loses nothing either.",
    ),
]
OfficeAddress = Annotated[
    str,
    typer.Option(
        "--office-address",
        envvar="JOBGATE_OFFICE_ADDRESS",
        help="HOST:PORT for the admin API, pages, /docs and /metrics; they leave the public port.",
    ),
]
PublicUrl = Annotated[
    str,
    typer.Option(
        "--public-url",
        envvar="JOBGATE_PUBLIC_URL",
        help="Where it is reached from outside, such as https://jobgate.example.com.",
    ),
]
OfficeUrl = Annotated[
    str,
    typer.Option(
        "--office-url",
        envvar="JOBGATE_OFFICE_URL",
        help="The same of an office that has an address of its own.",
    ),
]


class Level(StrEnum):
    """The least that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


LogLevel = Annotated[
    Level,
    typer.Option(
        envvar="JOBGATE_LOG_LEVEL", case_sensitive=False, help="The least that is logged."
    ),
]


def serve(
    *,
    routes: RoutesFile = DEFAULT_ROUTES,
    host: Host = "127.0.0.1",
    port: Port = 4000,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    org: Organisation = DEFAULT_ORG,
    full_sync: FullSync = False,
    office_address: OfficeAddress = "",
    public_url: PublicUrl = "",
    office_url: OfficeUrl = "",
    log_level: LogLevel = Level.INFO,
) -> None:
    """Serve the gateway until SIGTERM or Ctrl-C."""
    with told_plainly():
        oidc = oidc_in(os.environ)
    settings = Settings(
        routes=Path(routes),
        database_url=database_url,
        host=host,
        port=port,
        org=org,
        full_sync=full_sync,
        office_address=office_address,
        public_url=public_url,
        office_url=office_url,
        oidc=oidc,
    )
    set_up_logging(log_level)
    with told_plainly():
        rules, book = read_routes(settings.routes)
        for warning in rules.warnings:
            err.print(f"warning: {warning}", style="yellow", markup=False, highlight=False)
        gateway = Gateway(settings, rules, book, environment=os.environ, announce=announce)
        gateway.follow(rules_of)
        gateway.open_books()
    logging.getLogger(__name__).info("serving %s on http://%s:%d", routes, host, port)
    if office_address:
        logging.getLogger(__name__).info("the office is on http://%s", office_address)
    if oidc and not (office_url if office_address else public_url):
        name = "JOBGATE_OFFICE_URL" if office_address else "JOBGATE_PUBLIC_URL"
        logging.getLogger(__name__).warning(
            "%s is not set: a sign-in returns to whatever host the browser names", name
        )
    run(gateway)


def run(gateway: Gateway) -> None:
    """Run the server for a gateway whose books are open, until it is told to stop.

    Raises SystemExit when it cannot begin to serve.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would write prompts to disk
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.collect()
    gc.freeze()  # what was made so far lives until the end; the collector need not look at it
    gc.set_threshold(*_COLLECTOR)
    config = uvicorn.Config(
        gateway.asgi,
        host=gateway.settings.host,
        port=gateway.settings.port,
        loop="uvloop",
        http=Connection,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=gateway.settings.shutdown_seconds,
    )
    server = uvicorn.Server(config)
    # The server repeats the signal that it has obeyed; to end by it would look like a crash.
    signal.signal(signal.SIGTERM, server.handle_exit)
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=_two_sockets(gateway.settings))
    if not server.started:
        raise SystemExit(_CANNOT_SERVE)


def _two_sockets(settings: Settings) -> list[socket.socket] | None:
    """The public socket and the office's, for one server, which stops both together.

    None where there is no office: the server opens the one socket by itself. Raises SystemExit.
    """
    if not settings.office_address:
        return None
    public = (settings.host, settings.port)
    with contextlib.ExitStack() as opened:
        found = [
            opened.enter_context(_bound(host, port))
            for host, port in (public, parse_address(settings.office_address, settings.port))
        ]
        opened.pop_all()  # the server closes them
        return found


def _bound(host: str, port: int) -> socket.socket:
    opened = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((host, port))
    except OSError as error:
        opened.close()
        told = f"cannot listen on {host}:{port}: {error.strerror or error}"
        err.print(told, style="red", markup=False, highlight=False)
        raise SystemExit(_CANNOT_SERVE) from None
    return opened


def announce(first: FirstKey) -> None:
    """Print the secret of the admin key, this once."""
    typer.echo(f"admin key (shown once, keep it): {first.secret}")


def set_up_logging(level: str) -> None:
    """To standard error; never a prompt, an answer or a key (see `log_lines`)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogLines())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    say_where_it_broke()
    for noisy in ("uvicorn.access", "alembic", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
