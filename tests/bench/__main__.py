"""`make bench`: the gateway with all accounting on, against a bare pass-through, in one run.

Both are pinned to one core; the scripted provider and the load run on the other. Runs are short
and alternate, and every second pair begins with the other side, so that a drift of the machine's
speed hits both; ratios are taken pair by pair, and the spread of their middle half is told.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.gateways import routes_for

SERVER_CORE, LOAD_CORE = "0", "1"
SCRIPT = json.dumps({"text": "Two words", "input": 60, "output": 2})
STREAM_SCRIPT = json.dumps(
    {"text": " ".join(f"w{number}" for number in range(16)), "input": 60, "output": 16}
)


def pinned(core: str, *command: str) -> list[str]:
    """A command that runs on one core, where that can be asked for."""
    taskset = shutil.which("taskset")
    return [taskset, "-c", core, *command] if taskset else list(command)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def process(*command: str, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the block."""
    running = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    )
    try:
        yield running
    finally:
        running.terminate()
        running.wait(timeout=40)


def wait_for(url: str) -> None:
    """Until something answers at a URL, for at most thirty seconds."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=1).close()
            return
        time.sleep(0.05)
    raise SystemExit(f"nothing answers at {url}")


def load(port: int, key: str, count: int, connections: int, *, stream: bool) -> dict[str, Any]:
    """One run of the load client."""
    options = ["--port", str(port), "--key", key, "--count", str(count)]
    options += ["--connections", str(connections)] + (["--stream"] if stream else [])
    command = pinned(LOAD_CORE, sys.executable, "-m", "tests.bench.load", *options)
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    report: dict[str, Any] = json.loads(done.stdout)
    if report["bad"]:
        raise SystemExit(f"{report['bad']} requests were not answered with 200")
    return report


def memory_of(pid: int) -> float:
    """Resident memory of a process in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def compare(ports: tuple[int, int], key: str, *, rounds: int, count: int, stream: bool) -> None:
    """Alternate runs at 16 connections and at one, and print ratios."""
    what = "streams of 16 chunks" if stream else "plain answers"
    for connections in (16, 1):
        number = count if connections > 1 else count // 5
        pairs = []
        for turn in range(rounds):
            order = (0, 1) if turn % 2 else (1, 0)
            pair = {at: load(ports[at], key, number, connections, stream=stream) for at in order}
            pairs.append((pair[0], pair[1]))
        ratios = [ours["per_second"] / bare["per_second"] for bare, ours in pairs]
        low, ratio, high = statistics.quantiles(ratios, method="inclusive")
        added = statistics.median(ours["p50_ms"] - bare["p50_ms"] for bare, ours in pairs)
        first = statistics.median(
            ours["first_byte_p50_ms"] - bare["first_byte_p50_ms"] for bare, ours in pairs
        )
        print(f"{what}, {connections} connections, {rounds} pairs of {number} requests:")
        for name, index in (("bare", 0), ("gateway", 1)):
            middle = {
                field: statistics.median(pair[index][field] for pair in pairs)
                for field in ("per_second", "p50_ms", "p99_ms")
            }
            print(
                f"  {name:<8} {middle['per_second']:8.0f} a second,"
                f" p50 {middle['p50_ms']:6.2f} ms, p99 {middle['p99_ms']:6.2f} ms"
            )
        print(
            f"  ratio {ratio:.2f} of the bare throughput ({low:.2f} to {high:.2f} in the middle"
            f" half); added at the median {added:.2f} ms, to the first byte {first:.2f} ms"
        )


def main() -> None:
    """Start everything, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="pairs; two or more")
    parser.add_argument("--count", type=int, default=2_000)
    parser.add_argument("--memory", type=int, default=50_000, help="requests; 0 for none")
    parser.add_argument("--database-url", default="", help="SQLite in a temporary folder if empty")
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        for stream, script in ((False, SCRIPT), (True, STREAM_SCRIPT)):
            with contextlib.ExitStack() as inner:
                measure(inner, Path(folder), options, stream=stream, script=script)
        stack.close()


def measure(
    stack: contextlib.ExitStack,
    folder: Path,
    options: argparse.Namespace,
    *,
    stream: bool,
    script: str,
) -> None:
    """One kind of answer, with servers of its own."""
    python, upstream, bare, ours = sys.executable, free_port(), free_port(), free_port()
    scripted = ["-m", "tests.scripted", "--port", str(upstream), "--script", script, "--no-record"]
    stack.enter_context(process(*pinned(LOAD_CORE, python, *scripted)))
    address = f"http://127.0.0.1:{upstream}"
    wait_for(f"{address}/openai/v1/models")
    routes = folder / f"routes-{stream}.yaml"
    routes.write_text(routes_for(address, budgets=BUDGETS))
    database = options.database_url or f"sqlite:///{folder}/bench-{stream}.db"
    command = [python, "-m", "tests.bench.bare", address, str(bare)]
    stack.enter_context(process(*pinned(SERVER_CORE, *command)))
    serve = ["-m", "gateway", "serve", "--routes", str(routes), "--port", str(ours)]
    env = {**os.environ, "OPENAI_API_KEY": "x", "JOBGATE_DATABASE_URL": database}
    gateway = stack.enter_context(
        process(*pinned(SERVER_CORE, python, *serve, "--log-level", "warning"), env=env)
    )
    wait_for(f"http://127.0.0.1:{ours}/readyz")
    wait_for(f"{address}/openai/v1/models")
    made = subprocess.run(
        [python, "-m", "gateway", "keys", "create", "--team", "t", "--app", "a", "--json"],
        env={**env, "JOBGATE_ROUTES": str(routes)},
        capture_output=True,
        text=True,
        check=True,
    )
    key = json.loads(made.stdout)["key"]
    for port in (bare, ours):
        load(port, key, 2_000, 16, stream=stream)
    if options.memory and not stream:
        before = memory_of(gateway.pid)
        load(ours, key, options.memory, 16, stream=False)
        after = memory_of(gateway.pid)
        print(f"memory: {before:.0f} MB, after {options.memory} requests {after:.0f} MB")
    count = options.count // 2 if stream else options.count
    compare((bare, ours), key, rounds=options.rounds, count=count, stream=stream)


BUDGETS = """
  everything: {scope: organisation, limit: 100000 USD, period: month}
  app-rate: {scope: each app, limit: 100000000 requests, period: minute}
  team: {scope: each team, limit: 100000 USD, period: day}
  job: {scope: each job, limit: 100000000000 tokens, period: month, enforce: warn}
"""

if __name__ == "__main__":
    main()
