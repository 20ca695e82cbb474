"""The routes.yaml and the JSON Schema that are shipped."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from gateway.jobs import json_schema
from gateway.jobs.document import read
from gateway.jobs.loading import load
from gateway.jobs.routes import Routes
from tests.jobs.samples import BOOK, SMALL, changed

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "routes.yaml"
SCHEMA = ROOT / "routes.schema.json"
INCLUDED = ROOT / "included.schema.json"
JOBS = {"strategic-narrative", "extraction", "workspace", "private", "high-volume"}


@pytest.fixture(scope="module")
def routes() -> Routes:
    return load(SHIPPED, book=BOOK, environment={})


def test_the_schema_is_fresh() -> None:
    fresh = "run: python -m gateway.jobs.json_schema > routes.schema.json"
    assert SCHEMA.read_text() == json_schema.text(), fresh


def test_the_schema_of_what_is_included_is_fresh() -> None:
    fresh = "run: python -m gateway.jobs.json_schema included > included.schema.json"
    assert INCLUDED.read_text() == json_schema.text_of_included(), fresh


def test_in_an_included_file_a_job_needs_no_owner_and_providers_have_no_place() -> None:
    schema = json.loads(INCLUDED.read_text())
    job = {"purpose": "x", "targets": ["openai/gpt-4.1"], "output_tokens": {"max": 10}}
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate({"jobs": {"voice": job | {"system": {"file": "prompts/a.md"}}}}, schema)
    for wrong in ({"providers": {}}, {"jobs": {"voice": job | {"system": {"file": "../a"}}}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_the_first_line_points_editors_at_the_schema() -> None:
    first = SHIPPED.read_text().splitlines()[0]
    assert first == f"# yaml-language-server: $schema=./{SCHEMA.name}"


def test_the_shipped_file_fits_the_schema() -> None:
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(read(SHIPPED.read_text(), "routes.yaml").value, schema)


@pytest.mark.parametrize(
    "change",
    [
        ("    owner: data\n", ""),
        ("period: month", "period: fortnight"),
        ("    owner: data\n", "    owner: data\n    ownr: data\n"),
        ("price: free", "price: cheap"),
        ("scope: organisation", "scope: everybody"),
    ],
)
def test_the_schema_refuses_what_the_gateway_refuses(change: tuple[str, str]) -> None:
    schema = json.loads(SCHEMA.read_text())
    jsonschema.validate(read(SMALL, "routes.yaml").value, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(read(changed(change), "routes.yaml").value, schema)


def test_the_shipped_file_loads_without_warnings(routes: Routes) -> None:
    assert routes.warnings == ()
    assert set(routes.jobs) == JOBS


def test_every_shipped_target_has_a_price_that_is_not_free(routes: Routes) -> None:
    targets = [target for job in routes.jobs.values() for target in job.targets]
    assert all(target.price is not None and not target.price.free for target in targets)


def test_the_shipped_jobs_go_where_they_are_said_to_go(routes: Routes) -> None:
    assert {name: job.targets[0].provider.name for name, job in routes.jobs.items()} == {
        "strategic-narrative": "anthropic",
        "extraction": "openai",
        "workspace": "gemini",
        "private": "ollama",
        "high-volume": "mistral",
    }


def test_no_shipped_provider_is_without_its_own_variable(routes: Routes) -> None:
    clouds = [p for p in routes.providers.values() if p.residency == "cloud"]
    assert len({provider.api_key_env for provider in clouds}) == len(clouds)
    assert None not in {provider.api_key_env for provider in clouds}
