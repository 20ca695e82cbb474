"""The image: what may be in it, and that linters have nothing to say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
CHECK = [sys.executable, "-I", "-S", str(DEPLOY / "no_startup_files.py")]
PROGRAMS = Path(sys.executable).parent


def test_hadolint_has_nothing_to_say() -> None:
    command = [str(PROGRAMS / "hadolint"), str(DEPLOY / "Dockerfile")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_everything_that_is_copied_into_the_build_may_be_sent_to_it() -> None:
    sent = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    copies = [line.split()[1:-1] for line in lines if line.startswith("COPY ")]
    for source in (part for copy in copies for part in copy if not copy[0].startswith("--from")):
        assert f"!{source}" in sent


def test_nothing_runs_as_root_and_nothing_is_downloaded_by_tag_alone() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("USER")][-1] == "USER 10001:10001"
    assert not [line for line in lines if line.startswith("FROM") and ":latest" in line]


@pytest.mark.parametrize(
    "name", ["evil.pth", "sitecustomize.py", "usercustomize.py", "sitecustomize/__init__.py"]
)
def test_a_file_that_python_runs_unasked_stops_the_build(tmp_path: Path, name: str) -> None:
    path = tmp_path / "lib" / "site-packages" / name
    path.parent.mkdir(parents=True)
    path.touch()
    done = subprocess.run([*CHECK, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert str(path.relative_to(tmp_path)).split("/__init__")[0] in done.stderr


def test_an_installation_without_such_files_passes(tmp_path: Path) -> None:
    (tmp_path / "module.py").touch()
    assert subprocess.run([*CHECK, str(tmp_path)], check=False).returncode == 0
    assert subprocess.run(CHECK, check=False).returncode == 1
