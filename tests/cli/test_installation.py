"""What `jobgate doctor` says of packages and of files that Python runs unasked."""

from __future__ import annotations

import base64
import hashlib
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest

from gateway.cli.installation import check_litellm, check_lock, check_startup_files
from gateway.cli.premises import file_system

RUNS = "import os; os.getenv('X')\n"


@pytest.mark.parametrize("version", ["1.82.7", "1.82.8", "1.107.0"])
def test_a_malicious_release_of_litellm_is_a_problem(version: str) -> None:
    told = check_litellm(version)
    assert told.state == "problem"
    assert "replace every key" in told.todo


def test_another_release_than_the_pinned_one_is_a_warning() -> None:
    assert check_litellm("1.106.2").state == "ok"
    told = check_litellm("1.105.0")
    assert (told.state, "pins 1.106.2" in told.found) == ("warning", True)


def package(folder: Path, name: str, version: str = "1.0", **files: str) -> None:
    """Install a package whose only files are at the top of the folder."""
    about = folder / f"{name}-{version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = []
    for file, content in files.items():
        file = file.replace("__", ".").replace("_dash_", "-")
        (folder / file).write_text(content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest())
        lines.append(f"{file},sha256={digest.decode().rstrip('=')},{len(content)}")
    (about / "RECORD").write_text("\n".join([*lines, f"{about.name}/RECORD,,"]))


def test_packages_are_compared_with_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "uv.lock"
    lock.write_text(
        '[[package]]\nname = "one"\nversion = "1.0"\n'
        '[[package]]\nname = "two-parts"\nversion = "1.0"\n'
        '[[package]]\nname = "two-parts"\nversion = "2.0"\n'
    )
    for name, version in (("one", "1.0"), ("Two_Parts", "2.0")):
        package(tmp_path, name, version)
    assert check_lock(lock, installed(tmp_path)).state == "ok"
    package(tmp_path, "three", "3.0")
    (tmp_path / "one-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: one\nVersion: 1.1\n"
    )
    told = check_lock(lock, installed(tmp_path))
    assert told.state == "warning"
    assert "one 1.1 (lock: 1.0)" in told.found
    assert "not in it: three 3.0" in told.found


def installed(folder: Path) -> list[Distribution]:
    return list(distributions(path=[str(folder)]))


def test_without_a_lock_nothing_is_claimed(tmp_path: Path) -> None:
    told = check_lock(tmp_path / "uv.lock")
    assert (told.state, "no uv.lock" in told.found) == ("ok", True)


@pytest.mark.parametrize(
    ("owner", "file", "content", "state"),
    [
        (None, "litellm_init.pth", RUNS, "problem"),
        ("litellm", "litellm_init__pth", RUNS, "problem"),
        ("coverage", "a1_coverage__pth", RUNS, "ok"),
        ("litellm", "a1_coverage__pth", RUNS, "problem"),
        ("jobgate", "_editable_impl_jobgate__pth", "/srv/jobgate\n", "ok"),
        (None, "more.pth", "/srv/elsewhere\n", "warning"),
        (None, "empty.pth", "# nothing\n\n", "ok"),
        (None, "_virtualenv.pth", "import _virtualenv", "ok"),
        (None, "_virtualenv.pth", "import _virtualenv; import os", "problem"),
        (None, "tab.pth", "import\tos", "problem"),
        (None, "sitecustomize.py", "", "problem"),
        (None, "harmless.py", RUNS, "ok"),
    ],
)
def test_files_that_python_runs_unasked_are_problems(
    owner: str | None, file: str, content: str, state: str, tmp_path: Path
) -> None:
    if owner is None:
        (tmp_path / file).write_text(content)
    else:
        package(tmp_path, owner, **{file: content})
    (told,) = check_startup_files([tmp_path])
    assert told.state == state, told


def test_a_known_file_that_is_not_as_its_package_brought_it_is_a_problem(tmp_path: Path) -> None:
    package(tmp_path, "coverage", a1_coverage__pth=RUNS)
    (tmp_path / "a1_coverage.pth").write_text(RUNS + "import evil\n")
    (told,) = check_startup_files([tmp_path])
    assert told.state == "problem"
    assert "is not as coverage brought it" in told.found


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/data/books.db", "nfs4"), ("/database/books.db", "ext4"), ("/data/local/b.db", "xfs")],
)
def test_the_file_system_of_a_path_is_the_innermost_mount(
    path: str, kind: str, tmp_path: Path
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "none / ext4 rw 0 0\nserver:/x /data nfs4 rw 0 0\nnone /data/local xfs rw 0 0\n"
    )
    assert file_system(Path(path), mounts) == kind
    assert file_system(Path(path), tmp_path / "none") == ""
