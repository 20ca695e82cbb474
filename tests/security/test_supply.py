"""What we are made of: pinned, hashed, listed, and without a file that runs unasked."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import sysconfig
import tomllib
from importlib.metadata import requires, version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parents[2]
LOCK = tomllib.loads((REPOSITORY / "uv.lock").read_text("utf-8"))["package"]
MALICIOUS = {"litellm": {"1.82.7", "1.82.8", "1.107.0"}}
"""Releases that are known to be malicious."""
STARTUP_FILES = {
    "_editable_impl_jobgate.pth": re.compile(r"[^\n;]*\n?"),  # a folder, and no code
    "a1_coverage.pth": re.compile(
        r"import sys; exec\('import os.*coverage\.process_startup.*\)\n?"
    ),
    "distutils-precedence.pth": re.compile(r"import os; .*_distutils_hack.*\n?"),
    "_virtualenv.pth": re.compile(r"import _virtualenv\n?"),
}
"""What may run at every start where we develop; in the image, nothing may."""


def sbom() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sbom", REPOSITORY / "deploy" / "sbom.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    """The bill as `make sbom` writes it."""
    command = [sys.executable, "-I", str(REPOSITORY / "deploy" / "sbom.py")]
    done = subprocess.run(command, capture_output=True, check=True)
    return dict(json.loads(done.stdout))


def needed(package: str, seen: set[str]) -> set[str]:
    """What is installed for a package on this machine, by what the installation itself says."""
    for text in requires(package) or ():
        requirement = Requirement(text)
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if wanted and name not in seen:
            seen.add(name)
            needed(name, seen)
    return seen


def test_every_dependency_comes_from_the_registry_and_has_a_hash_for_every_file() -> None:
    for package in LOCK:
        if package["name"] == "jobgate":
            continue
        assert package["source"] == {"registry": "https://pypi.org/simple"}, package["name"]
        files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())]
        assert files, package["name"]
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", file["hash"]) for file in files)


def test_no_release_that_is_known_to_be_malicious_is_locked() -> None:
    locked = {package["name"]: package["version"] for package in LOCK if "version" in package}

    assert locked["litellm"] == version("litellm") == "1.106.2"
    assert {name for name, bad in MALICIOUS.items() if locked.get(name) in bad} == set()


def test_starlette_is_one_that_does_not_route_by_the_host_header() -> None:
    assert tuple(map(int, version("starlette").split(".")[:3])) >= (1, 0, 1)


def test_nothing_runs_at_every_start_but_what_is_known() -> None:
    site = Path(sysconfig.get_path("purelib"))
    check = [sys.executable, "-I", "-S", str(REPOSITORY / "deploy" / "no_startup_files.py")]
    done = subprocess.run([*check, str(site)], capture_output=True, text=True, check=False)
    found = [Path(line.rpartition(": ")[2]) for line in done.stderr.splitlines()]

    assert done.returncode == (1 if found else 0)
    for path in found:
        if path.suffix == ".pth":
            assert path.name in STARTUP_FILES, path
            assert STARTUP_FILES[path.name].fullmatch(path.read_text("utf-8")), path
        else:
            assert path.parent.parent == site / "coverage", path  # of a package, not of the site


def test_the_bill_is_one_of_cyclonedx(bill: dict[str, Any]) -> None:
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", bill["serialNumber"])
    assert bill["metadata"]["component"]["name"] == "jobgate"
    references = [component["bom-ref"] for component in bill["components"]]
    assert len(references) == len(set(references))
    for component in bill["components"]:
        name, release = component["name"], component["version"]
        assert component["purl"] == f"pkg:pypi/{name}@{release}"
        assert component["externalReferences"]
    known = {*references, bill["metadata"]["component"]["bom-ref"]}
    for dependency in bill["dependencies"]:
        assert {dependency["ref"], *dependency["dependsOn"]} <= known


def test_the_bill_lists_what_a_production_installation_has(bill: dict[str, Any]) -> None:
    listed = {component["name"]: component["version"] for component in bill["components"]}
    installed = {name: version(name) for name in needed("jobgate", set())}

    assert installed.items() <= listed.items()
    assert not {"pytest", "schemathesis", "mypy", "xllamacpp", "pyarrow"} & listed.keys()


def test_the_bill_can_be_made_with_an_extra_and_is_the_same_each_time() -> None:
    lock = (REPOSITORY / "uv.lock").read_text("utf-8")
    with_parquet = sbom().bill_of(lock, ["parquet"])

    assert "pyarrow" in {component["name"] for component in with_parquet["components"]}
    assert sbom().bill_of(lock, ["parquet"]) == with_parquet
