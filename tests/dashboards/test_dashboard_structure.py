"""The dashboards are files that Grafana can read, and people can find their way in."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from tests.dashboards.reading import DASHBOARDS, NAMES, REPOSITORY, dashboard, panels, rules

README = (DASHBOARDS / "README.md").read_text()
RUNBOOK = (REPOSITORY / "deploy" / "runbook.md").read_text()
SOURCES = {"spend": "${books}", "budgets": "${books}", "operations": "${prometheus}"}
each_dashboard = pytest.mark.parametrize("name", NAMES)


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


@each_dashboard
def test_every_panel_has_a_number_and_a_title_of_its_own(name: str) -> None:
    found = dashboard(name)["panels"]
    assert len({panel["id"] for panel in found}) == len(found)
    assert len({panel["title"] for panel in found}) == len(found)


@each_dashboard
def test_no_panel_lies_on_another_or_beside_the_grid(name: str) -> None:
    places = [panel["gridPos"] for panel in dashboard(name)["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert not [pair for pair in combinations(places, 2) if _overlap(*pair)]


@each_dashboard
def test_every_query_goes_to_the_data_source_that_the_reader_picks(name: str) -> None:
    board = dashboard(name)
    picked = {f"${{{v['name']}}}" for v in board["templating"]["list"] if v["type"] == "datasource"}
    asking: list[dict[str, Any]] = [*panels(name), *board["annotations"]["list"]]
    asking += [target for panel in panels(name) for target in panel["targets"]]
    asking += [v for v in board["templating"]["list"] if v["type"] == "query"]
    assert picked == {SOURCES[name]}
    assert {one["datasource"]["uid"] for one in asking} == picked


@each_dashboard
def test_every_panel_asks_something(name: str) -> None:
    key = "expr" if name == "operations" else "rawSql"
    for panel in panels(name):
        assert panel["targets"], panel["title"]
        assert all(target[key] for target in panel["targets"]), panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references), panel["title"]


@each_dashboard
def test_every_panel_says_what_it_shows_and_the_readme_says_what_to_do_about_it(name: str) -> None:
    assert [p["title"] for p in panels(name) if not p["description"]] == []
    assert [p["title"] for p in panels(name) if f"| {p['title']} |" not in README] == []


def test_every_alert_leads_to_a_place_in_the_runbook_that_says_what_to_do() -> None:
    headings = {line.lstrip("#").strip() for line in RUNBOOK.splitlines() if line[:1] == "#"}
    for rule in rules():
        if "alert" in rule:
            anchor = rule["alert"].lower()
            assert rule["annotations"]["runbook"] == f"deploy/runbook.md#{anchor}"
            assert rule["alert"] in headings
