"""The compose file: complete, without secrets, and open to this machine alone."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from gateway.cli.commands import app
from gateway.cli.oidc import NAMES, PREFIX

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
COMPOSE = DEPLOY / "compose.yaml"
SECRETS = ("POSTGRES_PASSWORD", "DASHBOARDS_PASSWORD", "GRAFANA_PASSWORD")
OIDC = {PREFIX + name for name in NAMES}
PROGRAMS = Path(sys.executable).parent
LINT = "{extends: default, rules: {document-start: disable, line-length: {max: 130}}}"
YAML_FILES = [
    COMPOSE,
    *sorted(DEPLOY.glob("grafana/**/*.yaml")),
    *sorted((REPOSITORY / "dashboards" / "prometheus").glob("*.y*ml")),
]


def services() -> dict[str, dict[str, Any]]:
    """The services by name, as they are written."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


def compose(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What compose thinks of the file when these variables are set."""
    command = [str(PROGRAMS / "docker-compose"), "--profile", "*", "-f", str(COMPOSE)]
    command += ["--env-file", "/dev/null", "config", "-q"]
    environment |= {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_compose_takes_the_file_when_every_secret_is_set(tmp_path: Path) -> None:
    done = compose(tmp_path, **dict.fromkeys(SECRETS, "a-test"))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("missing", SECRETS)
def test_without_a_secret_nothing_starts_and_the_secret_is_named(
    tmp_path: Path, missing: str
) -> None:
    done = compose(tmp_path, **{name: "a-test" for name in SECRETS if name != missing})
    assert done.returncode != 0
    assert missing in done.stderr


def test_no_secret_has_a_default_or_a_value() -> None:
    for service in services().values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|KEY|TOKEN|SECRET", name):
                assert value is None or re.fullmatch(r"\$\{[A-Z_]+:\?[^}]+\}", value)
    example = (DEPLOY / "env.example").read_text().splitlines()
    assert all(line.endswith("=") for line in example if line and not line.startswith("#"))


def test_every_setting_is_one_that_the_gateway_reads() -> None:
    rules = yaml.safe_load((REPOSITORY / "routes.yaml").read_text())["providers"]
    known = {option.envvar for option in get_command(app).commands["serve"].params}  # type: ignore[attr-defined]
    known |= {provider.get("api_key_env") for provider in rules.values()}
    known |= {f"JOBGATE_PROVIDER_{name.upper()}_BASE_URL" for name in rules}
    known |= OIDC
    image = re.findall(r"\b(JOBGATE_[A-Z_]+)=", (DEPLOY / "Dockerfile").read_text())
    unit = re.findall(r"\b(JOBGATE_[A-Z_]+)=", (DEPLOY / "jobgate.service").read_text())
    given = {*services()["gateway"]["environment"], *image, *unit} - {"PGPASSWORD"}
    assert given <= known
    assert {name for name in known if name and name.endswith("_API_KEY")} <= given


def test_where_it_is_reached_and_a_sign_in_service_are_passed_on_from_the_environment() -> None:
    wanted = {*OIDC, "JOBGATE_PUBLIC_URL"}
    environment = services()["gateway"]["environment"]
    assert {name for name in wanted if name in environment and environment[name] is None} == wanted
    example = (DEPLOY / "env.example").read_text().splitlines()
    assert {f"{name}=" for name in wanted} <= set(example)


def test_every_port_is_bound_to_this_machine() -> None:
    ports = [port for service in services().values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_image_has_a_version() -> None:
    for name, service in services().items():
        if "build" not in service:
            assert re.search(r":v?\d+\.\d+", service["image"]), name


def test_the_database_has_no_way_out() -> None:
    networks = yaml.safe_load(COMPOSE.read_text())["networks"]
    assert services()["postgres"]["networks"] == ["inside"]
    assert networks["inside"]["internal"] is True


def test_every_file_that_is_mounted_is_there() -> None:
    for service in services().values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists()
                assert volume.endswith(":ro")


def test_yamllint_has_nothing_to_say() -> None:
    command = [str(PROGRAMS / "yamllint"), "--strict", "-d", LINT, *map(str, YAML_FILES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_grafana_shows_the_dashboards_that_are_mounted() -> None:
    path = DEPLOY / "grafana" / "provisioning" / "dashboards" / "jobgate.yaml"
    [provider] = yaml.safe_load(path.read_text())["providers"]
    mounted = [volume.split(":")[1] for volume in services()["grafana"]["volumes"]]
    for name in ("spend.json", "operations.json"):
        assert f"{provider['options']['path']}/{name}" in mounted


def test_grafana_has_a_data_source_of_each_kind_that_the_dashboards_ask_for() -> None:
    path = DEPLOY / "grafana" / "provisioning" / "datasources" / "jobgate.yaml"
    kinds = {source["type"] for source in yaml.safe_load(path.read_text())["datasources"]}
    assert kinds == {"grafana-postgresql-datasource", "prometheus"}
