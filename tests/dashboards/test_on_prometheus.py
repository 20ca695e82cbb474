"""The rules and the operations dashboard, tried by Prometheus itself.

A real Prometheus scrapes the gateway's metrics from a real HTTP server, under the shipped scrape
configuration and rules, and every expression of the dashboard has to find something.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml
from prometheus_client import Counter, Gauge, Histogram, start_http_server
from prometheus_client.metrics import MetricWrapperBase

from gateway.metrics import Metrics, Tally, Timings
from tests.dashboards.reading import COLLECTED, DASHBOARDS, panel_expressions
from tests.promtool import MISSING, promtool

RULES = DASHBOARDS / "prometheus"
EXPRESSIONS = panel_expressions()
PATIENCE = 30.0
VALUES = {"fault": "provider", "outcome": "other", "job": "extraction", "period": "month"}


@pytest.fixture(scope="module")
def programs() -> Path:
    """The folder with promtool and Prometheus."""
    found = promtool()
    assert found is not None, MISSING
    return found.parent


@pytest.fixture(scope="module")
def prometheus(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus that has scraped a busy gateway a few times."""
    home = tmp_path_factory.mktemp("prometheus")
    metrics = Metrics()
    budgets = [Gauge(n, n, sorted(ls), registry=metrics.registry) for n, ls in COLLECTED.items()]
    everything = [*vars(metrics).values(), *budgets]
    use(metrics, everything)
    server, thread = start_http_server(0, "127.0.0.1", metrics.registry)
    try:
        config = configured(home, server.server_port)
        with running(programs, config, home) as address:
            until_found(address, 'count_over_time(up{job="jobgate"}[1m]) >= 2')
            use(metrics, everything)
            until_found(address, "increase(jobgate_committer_failures_total[1m]) > 0")
            until_found(address, "jobgate:requests:rate5m > 0")
            yield address
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def use(metrics: Metrics, everything: list[Any]) -> None:
    """Move every metric a little."""
    for metric in everything:
        if isinstance(metric, Tally):
            metrics.count(metric, tuple(VALUES.get(n, "x") for n in metric.labels))
        elif isinstance(metric, Timings):
            metrics.observe(metric, tuple(VALUES.get(n, "x") for n in metric.labels), 0.002)
        elif isinstance(metric, MetricWrapperBase):
            names = metric._labelnames
            child = metric.labels(*(VALUES.get(n, "x") for n in names)) if names else metric
            if isinstance(child, Histogram):
                child.observe(0.002)
            elif isinstance(child, Counter | Gauge):
                child.inc()


def configured(home: Path, port: int) -> Path:
    """The shipped configuration, in a hurry and with our gateway in the place of the real one."""
    config = yaml.safe_load((RULES / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "250ms", "evaluation_interval": "250ms"}
    config["rule_files"] = [str(RULES / name) for name in config["rule_files"]]
    [scrape] = config["scrape_configs"]
    scrape["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    path = home / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


@contextmanager
def running(programs: Path, config: Path, home: Path) -> Iterator[str]:
    """A Prometheus with that configuration, for as long as the block lasts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [
        str(programs / "prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={home / 'data'}",
        f"--web.listen-address={address}",
    ]
    with (home / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield f"http://{address}"
        finally:
            process.terminate()
            process.wait()


def until_found(address: str, expression: str) -> None:
    """Wait until an expression finds something; fails when it takes too long."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            if found(address, expression):
                return
        except URLError:  # it does not listen yet
            pass
        Event().wait(0.1)
    raise AssertionError(f"nothing found within {PATIENCE:g} s: {expression}")


def found(address: str, expression: str) -> list[dict[str, Any]]:
    """What an expression finds now; raises HTTPError when Prometheus does not understand it."""
    with urlopen(f"{address}/api/v1/query?{urlencode({'query': expression})}", timeout=5) as answer:
        told = json.load(answer)
    result: list[dict[str, Any]] = told["data"]["result"]
    return result


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "--lint-fatal", "rules.yaml"),
        ("test", "rules", "rules_test.yaml"),
        ("test", "rules", "rules_days_test.yaml"),
    ],
    ids=" ".join,
)
def test_promtool_agrees(programs: Path, arguments: tuple[str, ...]) -> None:
    command = [str(programs / "promtool"), *arguments]
    done = subprocess.run(command, cwd=RULES, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_every_expression_of_the_dashboard_finds_something(
    prometheus: str, expression: str
) -> None:
    until_found(prometheus, expression)


def test_the_job_of_a_request_is_not_mistaken_for_the_job_of_a_scrape(prometheus: str) -> None:
    [request] = found(prometheus, "jobgate_requests_total")
    assert request["metric"]["job"] == "extraction"
    assert found(prometheus, '{exported_job!=""}') == []


def test_a_request_that_ended_as_other_rings(prometheus: str) -> None:
    until_found(prometheus, 'ALERTS{alertname="JobgateOutcomeOther", alertstate="firing"}')
