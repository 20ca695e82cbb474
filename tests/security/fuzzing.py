"""Schemathesis over the whole API document, with every check on.

    python -m tests.security.fuzzing --requests 10000

Starts a gateway as a process of its own with a scripted provider behind it, and sends requests
that the document allows and requests that it forbids, as an app under /v1 and as the admin under
/admin, until there were so many. The exit status is 0 when no check found anything, the gateway
still stands, and its books balance.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.gateways import SECRETS, routes_for
from tests.scripted import Script, ThreadedProvider
from tests.security.process import Process, a_process, environment

EXAMPLES = 50
"""For each operation, in a round."""
_BUG = re.compile(r"^.*(?:a bug: |Exception in ASGI|an error ends).*$", re.MULTILINE)


@dataclass(frozen=True)
class Round:
    """What one run of schemathesis found."""

    status: int
    requests: int
    told: str


def fuzz(running: Process, *, examples: int, seed: int) -> Iterator[Round]:
    """One run as the app and one as the admin, with so many examples for each operation."""
    for paths, key in (("^/v1/", running.key), ("^/(admin|healthz|readyz)", running.admin)):
        yield _run(running, paths, key, examples, seed)


def _run(running: Process, paths: str, key: str, examples: int, seed: int) -> Round:
    report = running.folder / "report.json"
    report.unlink(missing_ok=True)
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            *("--config-file", str(Path(__file__).with_name("schemathesis.toml"))),
            *("run", f"{running.url}/openapi.json", "--include-path-regex", paths),
            *("--header", f"Authorization: Bearer {key}", "--checks", "all"),
            *("--max-examples", str(examples), "--seed", str(seed), "--continue-on-failure"),
            *("--request-timeout", "30", "--no-color"),
            *("--report", "json", "--report-json-path", str(report)),
        ],
        cwd=running.folder,
        env={**os.environ, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )
    if not report.exists():
        raise RuntimeError(done.stdout + done.stderr)
    cases = json.loads(report.read_text())["test_cases"]
    return Round(done.returncode, int(cases["generated"]), done.stdout)


def still_stands(running: Process) -> list[str]:
    """What is wrong with the gateway after it was asked so much; nothing, it is to be hoped."""
    wrong = []
    if running.ask("/readyz", "")[0] != 200:
        wrong.append("it is not ready any more")
    lines = running.log.read_text()
    wrong += [f"in its log: {bug}" for bug in _BUG.findall(lines)]
    running.process.send_signal(signal.SIGTERM)
    if running.process.wait(timeout=60) != 0:
        wrong.append("it did not stop in good order")
    audit = subprocess.run(
        [sys.executable, "-m", "gateway", "audit"],
        cwd=running.folder,
        env=environment(running.folder, {}),
        capture_output=True,
        text=True,
        check=False,
    )
    if audit.returncode != 0:
        wrong.append(f"its books: {audit.stdout}{audit.stderr}")
    return wrong


@contextmanager
def a_target() -> Iterator[Process]:
    """A gateway to be fuzzed, with a provider behind it."""
    with tempfile.TemporaryDirectory() as folder, ThreadedProvider() as provider:
        provider.script = Script(text="Something.")
        with a_process(Path(folder), routes_for(provider.url), SECRETS) as running:
            yield running


def main(arguments: list[str]) -> int:
    """Fuzz until there were so many requests, and tell what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.security.fuzzing")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(arguments)
    sent, failed = 0, False
    with a_target() as running:
        seed = asked.seed
        while sent < asked.requests:
            for found in fuzz(running, examples=EXAMPLES, seed=seed):
                sent += found.requests
                if found.status != 0:
                    failed = True
                    print(found.told)
                print(f"seed {seed}: {sent} requests so far", flush=True)
            seed += 1
        wrong = still_stands(running)
    for line in wrong:
        print(line)
    print(f"{sent} requests; {'something was found' if failed or wrong else 'nothing was found'}")
    return 1 if failed or wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
