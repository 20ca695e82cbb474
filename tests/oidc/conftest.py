"""A sign-in service as a process of its own, and a gateway that believes it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.settings import OidcSettings
from tests.gateways import RunningGateway, routes_for, running
from tests.oidc.__main__ import CLIENT, SECRET
from tests.web.visiting import Visitor, visiting

ROLES = "gateway-admins=admin; CN=finance,OU=people=finance; brand-leads=viewer@brand"


@dataclass(frozen=True)
class SignInProcess:
    """The service, and how it is told what to be."""

    url: str

    def be(self, lie: str = "", new_key: str = "", **claims: Any) -> None:
        """Be a service that lets this person in, truly or not."""
        told: dict[str, Any] = {"lie": lie, "new_key": new_key, "claims": claims}
        request = urllib.request.Request(
            f"{self.url}/script",
            data=json.dumps(told).encode(),
            headers={"Content-Type": "application/json"},
            method="PUT",
        )
        urllib.request.urlopen(request, timeout=10).close()

    def asked(self) -> list[str]:
        """What was asked of it so far."""
        with urllib.request.urlopen(f"{self.url}/asked", timeout=10) as answer:
            return list(json.load(answer))

    def settings(self, **other: Any) -> OidcSettings:
        """What a gateway has to be told to believe it."""
        usual = {
            "issuer": self.url,
            "client_id": CLIENT,
            "client_secret": SECRET,
            "roles": ROLES,
        }
        return OidcSettings(**{**usual, **other})


@pytest.fixture(scope="session")
def service() -> Iterator[SignInProcess]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "tests.oidc", "--port", str(port), "--until-input-ends"]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdin=subprocess.PIPE)
    found = SignInProcess(f"http://127.0.0.1:{port}")
    deadline = time.monotonic() + 30
    try:
        while True:
            try:
                found.asked()
                break
            except OSError:
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.05)
        yield found
    finally:
        process.kill()
        process.communicate(timeout=10)


@pytest.fixture
async def gateway(service: SignInProcess, sqlite_url: str) -> AsyncIterator[RunningGateway]:
    routes = routes_for("http://127.0.0.1:9")
    async with running(routes, sqlite_url, oidc=service.settings()) as opened:
        yield opened


@pytest.fixture
async def visitor(gateway: RunningGateway) -> AsyncIterator[Visitor]:
    async with visiting(gateway) as found:
        yield found
