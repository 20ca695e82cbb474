"""What is in dashboards/: panels, and every query with the place where it stands."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import yaml
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from gateway.metrics import Metrics, Tally, Timings

REPOSITORY = Path(__file__).parents[2]
DASHBOARDS = REPOSITORY / "dashboards"
RULES = DASHBOARDS / "prometheus" / "rules.yaml"
NAMES = ("spend", "budgets", "operations")

BUDGET_LABELS = frozenset({"budget", "subject", "unit", "period"})
_BUDGET_GAUGES = ("limit", "spent", "held", "period_seconds", "period_ends_timestamp_seconds")
COLLECTED = {f"jobgate_budget_{name}": BUDGET_LABELS for name in _BUDGET_GAUGES}
"""Gauges that are read from the books at the moment of the scrape, not kept in Metrics."""
OF_PROMETHEUS = frozenset({"instance", "le"})
"""Labels that Prometheus and its histograms add."""
HISTOGRAM_ENDS = ("_bucket", "_sum", "_count")
_PARTS = ("expr", "lhs", "rhs", "param", "vector_selector")


def dashboard(name: str) -> dict[str, Any]:
    """One dashboard, as Grafana reads it."""
    found: dict[str, Any] = json.loads((DASHBOARDS / f"{name}.json").read_text())
    return found


def panels(name: str) -> list[dict[str, Any]]:
    """Its panels, without the rows that group them."""
    return [panel for panel in dashboard(name)["panels"] if panel["type"] != "row"]


def rules() -> list[dict[str, Any]]:
    """Every recording and alert rule."""
    return [
        rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    ]


def panel_expressions() -> dict[str, str]:
    """PromQL of the operations dashboard, with Grafana's variables filled in."""
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in panels("operations")
        for target in panel["targets"]
    }
    for note in dashboard("operations")["annotations"]["list"]:
        found[note["name"]] = note["expr"]
    return {
        place: re.sub(r"\$__(rate_interval|range|interval)", "5m", e) for place, e in found.items()
    }


def rule_expressions() -> dict[str, str]:
    """PromQL of the rules."""
    return {rule.get("alert") or rule["record"]: rule["expr"] for rule in rules()}


def series() -> dict[str, frozenset[str]]:
    """Name and labels of every series that /metrics can show."""
    found = dict(COLLECTED)
    for metric in vars(Metrics()).values():
        if isinstance(metric, Tally):
            found[f"{metric.name}_total"] = frozenset(metric.labels)
        elif isinstance(metric, Timings):
            for end in HISTOGRAM_ENDS:
                found[f"{metric.name}{end}"] = frozenset(metric.labels)
        elif isinstance(metric, Counter):
            found[f"{metric._name}_total"] = labels_of(metric)
        elif isinstance(metric, Gauge):
            found[metric._name] = labels_of(metric)
        elif isinstance(metric, Histogram):
            for end in HISTOGRAM_ENDS:
                found[f"{metric._name}{end}"] = labels_of(metric)
    return found


def labels_of(metric: MetricWrapperBase) -> frozenset[str]:
    """The labels that a metric was declared with; the library has no public name for them."""
    return frozenset(metric._labelnames)


def nodes(expression: str) -> Iterator[Any]:
    """Every node of a parsed expression; raises ValueError when it cannot be parsed."""
    waiting: list[Any] = [promql.parse(expression)]
    while waiting:
        node = waiting.pop()
        yield node
        inner = (getattr(node, part, None) for part in _PARTS)
        waiting += [part for part in inner if part is not None]
        waiting += getattr(node, "args", None) or []


def names(expression: str) -> set[str]:
    """Every series that an expression reads."""
    return {str(node.name) for node in nodes(expression) if isinstance(node, promql.VectorSelector)}


def summed_by(expression: str) -> frozenset[str]:
    """The labels that an expression's outermost sum leaves."""
    sums = (node for node in nodes(expression) if isinstance(node, promql.AggregateExpr))
    modifier = next(sums).modifier
    return frozenset(modifier.labels if modifier else ())
