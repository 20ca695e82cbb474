"""Every expression can be parsed and reads what the gateway shows; everything shown is read."""

from __future__ import annotations

import promql_parser as promql
import pytest
import yaml

from gateway.doors.operations import BudgetGauges
from gateway.metrics import OUTCOMES
from tests.dashboards.reading import (
    COLLECTED,
    DASHBOARDS,
    HISTOGRAM_ENDS,
    OF_PROMETHEUS,
    names,
    nodes,
    panel_expressions,
    rule_expressions,
    rules,
    series,
    summed_by,
)

SERIES = series()
RECORDED = {rule["record"]: summed_by(rule["expr"]) for rule in rules() if "record" in rule}
OF_THE_SCRAPE = {"up": frozenset({"job", "instance"})}
KNOWN_LABELS = SERIES | RECORDED | OF_THE_SCRAPE
EXPRESSIONS = panel_expressions() | rule_expressions()
each_expression = pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)
VOCABULARIES = {"outcome": set(OUTCOMES), "fault": set(OUTCOMES.values())}


@each_expression
def test_an_expression_reads_only_what_there_is(expression: str) -> None:
    assert names(expression) <= set(KNOWN_LABELS)


@each_expression
def test_an_expression_chooses_by_labels_and_values_that_there_are(expression: str) -> None:
    for node in nodes(expression):
        if isinstance(node, promql.VectorSelector):
            known = KNOWN_LABELS[str(node.name)] | OF_PROMETHEUS
            for matcher in node.matchers.matchers:
                assert matcher.name in known
                assert matcher.value in VOCABULARIES.get(matcher.name, {matcher.value})


@each_expression
def test_an_expression_sums_by_labels_that_there_are(expression: str) -> None:
    for node in nodes(expression):
        if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            known = OF_PROMETHEUS.union(*(KNOWN_LABELS[name] for name in names(str(node.expr))))
            assert set(node.modifier.labels) <= known


def test_every_metric_is_in_a_panel_or_a_rule() -> None:
    read = set().union(*map(names, EXPRESSIONS.values()))
    for name in SERIES:
        parts = {name, *(name + end for end in HISTOGRAM_ENDS)}
        for end in HISTOGRAM_ENDS:
            if name.endswith(end):
                parts |= {name.removesuffix(end) + other for other in HISTOGRAM_ENDS}
        assert parts & read, f"{name} is shown to nobody"


def test_the_gauges_of_budgets_are_those_that_are_collected() -> None:
    gauges = BudgetGauges(list, frozenset)
    assert {metric.name for metric in gauges.collect()} == set(COLLECTED)


def test_every_recorded_series_is_read() -> None:
    read = set().union(*map(names, EXPRESSIONS.values()))
    assert read >= set(RECORDED)


def test_the_scrape_keeps_the_label_that_names_the_job() -> None:
    config = yaml.safe_load((DASHBOARDS / "prometheus" / "prometheus.yml").read_text())
    assert [scrape["honor_labels"] for scrape in config["scrape_configs"]] == [True]
