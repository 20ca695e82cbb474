"""A gateway as a process of its own, with every line that it writes kept."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


@dataclass
class Process:
    """A gateway of its own, and what it has written."""

    folder: Path
    url: str
    log: Path
    process: subprocess.Popen[bytes]
    admin: str = ""
    key: str = ""

    def ask(self, path: str, key: str, body: object = None, **headers: str) -> tuple[int, str, str]:
        """Status, headers and body of an answer, whatever it is."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {key}",
                "Content-Type": "application/json",
                **named,
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, str(answer.headers), answer.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, str(refused.headers), refused.read().decode()

    def written(self) -> dict[str, bytes]:
        """Every file that is there, by its name."""
        files = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return {path.name: path.read_bytes() for path in files}


def environment(folder: Path, more: Mapping[str, str]) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONDONTWRITEBYTECODE": "1",
        "JOBGATE_ROUTES": str(folder / "routes.yaml"),
        "JOBGATE_DATABASE_URL": f"sqlite:///{folder}/books.db",
        "JOBGATE_LOG_LEVEL": "debug",
        **more,
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def a_process(folder: Path, routes: str, secrets: Mapping[str, str]) -> Iterator[Process]:
    """A gateway that serves; it is gone when the block ends, unless it ended before."""
    (folder / "routes.yaml").write_text(routes)
    port, log = free_port(), folder / "gateway.log"
    command = [sys.executable, "-X", "faulthandler", "-m", "gateway", "serve", "--port", str(port)]
    with log.open("wb") as lines:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(folder, secrets), stdout=lines, stderr=lines
        )
    running = Process(folder, f"http://127.0.0.1:{port}", log, process)
    try:
        _until_ready(running)
        _make_a_key(running)
        yield running
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=30)


def _until_ready(running: Process) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and running.process.poll() is None:
        try:
            urllib.request.urlopen(f"{running.url}/readyz", timeout=1).close()
            break
        except OSError:
            time.sleep(0.05)
    said = running.log.read_text()
    running.admin = said.partition("admin key (shown once, keep it): ")[2].split()[0]


def _make_a_key(running: Process) -> None:
    app = {"name": "site", "team": "brand"}
    key = {"team": "brand", "app": "site"}
    told = ""
    for path, body in (("teams", {"name": "brand"}), ("apps", app), ("keys", key)):
        status, _, told = running.ask(f"/admin/v1/{path}", running.admin, body)
        assert status == 201, told
    running.key = json.loads(told)["key"]
