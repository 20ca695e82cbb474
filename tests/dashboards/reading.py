"""What is in dashboards/: panels, and every query with the place where it stands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import promql_parser as promql
import yaml
from prometheus_client import CollectorRegistry

from gateway.metrics import Metrics

REPOSITORY = Path(__file__).parents[2]
DASHBOARDS = REPOSITORY / "dashboards"
RULES = DASHBOARDS / "prometheus" / "rules.yaml"
NAMES = ("spend", "operations")

BUDGET_LABELS = frozenset({"budget", "subject", "unit", "period"})
COLLECTED = {f"jobgate_budget_{name}": BUDGET_LABELS for name in ("limit", "spent", "held")}
"""Gauges that are read from the books at the moment of the scrape, not kept in Metrics."""
OF_PROMETHEUS = frozenset({"instance", "le"})
"""Labels that Prometheus and its histograms add."""


def dashboard(name: str) -> dict[str, Any]:
    """One dashboard, as Grafana reads it."""
    found: dict[str, Any] = json.loads((DASHBOARDS / f"{name}.json").read_text())
    return found


def panels(name: str) -> list[dict[str, Any]]:
    """Its panels, without the rows that group them."""
    return [panel for panel in dashboard(name)["panels"] if panel["type"] != "row"]


def rules() -> list[dict[str, Any]]:
    """Every recording and alert rule."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def panel_expressions() -> dict[str, str]:
    """PromQL of the operations dashboard, with Grafana's variables filled in."""
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in panels("operations")
        for target in panel["targets"]
    }
    for note in dashboard("operations")["annotations"]["list"]:
        found[note["name"]] = note["expr"]
    return {place: re.sub(r"\$__(rate_interval|range|interval)", "5m", e) for place, e in found.items()}


def rule_expressions() -> dict[str, str]:
    """PromQL of the rules."""
    return {rule.get("alert") or rule["record"]: rule["expr"] for rule in rules()}


def series(registry: CollectorRegistry | None = None) -> dict[str, frozenset[str]]:
    """Name and labels of every series that /metrics can show, budgets included."""
    found = dict(COLLECTED)
    for metric in vars(Metrics()).values():
        kind, name = getattr(metric, "_type", None), getattr(metric, "_name", "")
        labels = frozenset(getattr(metric, "_labelnames", ()))
        if kind == "counter":
            found[f"{name}_total"] = labels
        elif kind == "gauge":
            found[name] = labels
        elif kind == "histogram":
            found |= {f"{name}{end}": labels for end in ("_bucket", "_sum", "_count")}
    return found


def family(name: str) -> str:
    """The metric that a series belongs to: a histogram has three."""
    return re.sub(r"(?<=_seconds|batch_size)_(bucket|sum|count)$", "", name)


def selectors(expression: str) -> list[promql.VectorSelector]:
    """Every selector in an expression."""
    found: list[promql.VectorSelector] = []

    def walk(node: Any) -> None:
        if isinstance(node, promql.VectorSelector):
            found.append(node)
            return
        for part in ("expr", "lhs", "rhs", "param", "vector_selector", "vs"):
            inner = getattr(node, part, None)
            if inner is not None:
                walk(inner)
        for argument in getattr(node, "args", None) or ():
            walk(argument)

    walk(promql.parse(expression))
    return found
