"""Gateways as processes of their own, to be killed, and a load that remembers what it was told.

Most of the time that a start takes is Python reading the program. Where a test starts twenty, each
is a copy of a process that has read it already and has done nothing else.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from gateway.cli.commands import PLACES, main
from tests.gateways import SECRETS

REPOSITORY = Path(__file__).parents[2]
READY_SECONDS = 40.0


class Forked:
    """`jobgate` with these arguments, in a copy of a process that has read the program."""

    def __init__(self, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        copies = multiprocessing.get_context("forkserver")
        serving, _, _function = PLACES["serve"].partition(":")
        copies.set_forkserver_preload(["pytest", __name__, serving])
        self._process = copies.Process(target=_run, args=(arguments, environment, log))
        self._process.start()

    def poll(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._process.exitcode

    def send_signal(self, how: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, how)

    def wait(self, timeout: float) -> int:
        """Its exit status when it has ended, within so many seconds."""
        self._process.join(timeout)
        assert self._process.exitcode is not None
        return self._process.exitcode


def _run(arguments: list[str], environment: dict[str, str], log: Path) -> None:
    os.environ.update(environment)
    with log.open("ab") as output:
        os.dup2(output.fileno(), sys.stdout.fileno())
        os.dup2(output.fileno(), sys.stderr.fileno())
    sys.argv = ["jobgate", *arguments]
    main()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class GatewayProcess:
    """`jobgate serve` on a port of its own."""

    folder: Path
    database_url: str
    port: int = field(default_factory=free_port)
    forked: bool = False
    process: subprocess.Popen[bytes] | Forked | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it is ready."""
        arguments = ["serve", "--port", str(self.port)]
        if self.forked:
            log = self.folder / "gateway.log"
            self.process = Forked(arguments, self._environment(), log)
        else:
            self.process = self._program(arguments)
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}/readyz", timeout=1).close()
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.02)
        raise AssertionError((self.folder / "gateway.log").read_text())

    def _program(self, arguments: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "gateway.log").open("ab") as log:
            command = self._command(*arguments)
            return subprocess.Popen(command, stdout=log, stderr=log, env=self._environment())

    def end(self, how: signal.Signals) -> int:
        """Send a signal and wait for the end; returns the exit status."""
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(timeout=60)

    def key(self, role: str = "app") -> str:
        """A new key, made by the command line on the same database."""
        who = ("--team", "brand", "--app", "site", "--role", role)
        made = subprocess.run(
            self._command("keys", "create", *who, "--json"),
            capture_output=True,
            env=self._environment(),
            check=True,
        )
        return str(json.loads(made.stdout)["key"])

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "gateway", *arguments]

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            **SECRETS,
            "PYTHONPATH": str(REPOSITORY),
            "JOBGATE_ROUTES": str(self.folder / "routes.yaml"),
            "JOBGATE_DATABASE_URL": self.database_url,
            "JOBGATE_LOG_LEVEL": "warning",
        }


@contextmanager
def gateway_process(
    folder: Path, routes: str, database_url: str, *, forked: bool = False
) -> Iterator[GatewayProcess]:
    """A running gateway that is gone when the block ends."""
    (folder / "routes.yaml").write_text(routes)
    gateway = GatewayProcess(folder, database_url, forked=forked)
    gateway.start()
    try:
        yield gateway
    finally:
        if gateway.process is not None and gateway.process.poll() is None:
            gateway.end(signal.SIGKILL)


@dataclass
class Load:
    """Callers that ask again and again, and what they were told."""

    url: str
    key: str
    answered: list[str] = field(default_factory=list)
    """Ids of requests whose last byte has come."""
    statuses: list[int] = field(default_factory=list)
    stopping: bool = False

    async def run(self, callers: int, *, stream: bool = False) -> None:
        """So many callers at once, until `stopping` or the gateway is gone."""
        timeout = aiohttp.ClientTimeout(total=30)
        connector = aiohttp.TCPConnector(limit=callers)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            asyncio.TaskGroup() as group,
        ):
            for number in range(callers):
                group.create_task(self._ask(session, stream and number % 2 == 0))

    async def _ask(self, session: aiohttp.ClientSession, stream: bool) -> None:
        body = {
            "model": "extraction",
            "messages": [{"role": "user", "content": "Say something."}],
            "max_tokens": 50,
            "stream": stream,
        }
        headers = {"Authorization": f"Bearer {self.key}"}
        while not self.stopping:
            try:
                async with session.post(
                    f"{self.url}/v1/chat/completions", json=body, headers=headers
                ) as answer:
                    told = await answer.read()
            except aiohttp.ClientError:
                return  # the gateway is gone, or this connection with it
            self.statuses.append(answer.status)
            whole = not stream or told.endswith(b"data: [DONE]\n\n")
            if answer.status == 200 and whole:
                self.answered.append(answer.headers["x-jobgate-request-id"])
