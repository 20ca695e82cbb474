"""What is installed: Python, SQLite, packages against the lock, and files that run unasked.

A `.pth` file in site-packages can hold a line of code that Python runs at every start, without
anybody importing anything: it is how malicious releases of packages got at credentials. So every
one that runs code is a problem unless it is of a package that is known to need it, and is as that
package brought it.
"""

from __future__ import annotations

import base64
import hashlib
import platform
import re
import site
import sqlite3
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distributions, requires, version
from pathlib import Path
from types import MappingProxyType

import gateway
from gateway.cli.diagnosis import Diagnosis, ok, problem, warning

LITELLM_MALICIOUS = ("1.82.7", "1.82.8", "1.107.0")
"""Releases that carried code which steals credentials."""
_SQLITE_AT_LEAST = (3, 35, 0)
"""The first with RETURNING, which the books need."""
_NOT_LOCKED = frozenset({"jobgate", "pip", "setuptools", "uv", "wheel"})
"""What brings packages, and this program itself."""
_RUNS_CODE: Mapping[str, str] = MappingProxyType(
    {"a1_coverage.pth": "coverage", "distutils-precedence.pth": "setuptools"}
)
"""Start-up files that were read and found good, and the packages that bring them."""
_OF_VIRTUALENV = ("_virtualenv.pth", "import _virtualenv")
"""virtualenv writes it itself, so no package has it in its records."""
_CUSTOMIZERS = ("sitecustomize", "usercustomize")
_SHOWN = 5


def check_python() -> Iterator[Diagnosis]:
    """The interpreter and its SQLite."""
    yield ok("python", f"{platform.python_implementation()} {platform.python_version()}")
    if sqlite3.sqlite_version_info < _SQLITE_AT_LEAST:
        least = ".".join(map(str, _SQLITE_AT_LEAST))
        yield problem(
            "sqlite",
            f"its library is {sqlite3.sqlite_version}",
            "the books cannot be written with it",
            f"use a Python with SQLite {least} or newer, or PostgreSQL",
        )
    else:
        yield ok("sqlite", f"its library is {sqlite3.sqlite_version}")


def check_litellm(installed: str | None = None) -> Diagnosis:
    """Whether LiteLLM is the release that Jobgate was made with. Nothing of it is imported."""
    try:
        found = installed or version("litellm")
    except PackageNotFoundError:
        return warning(
            "litellm",
            "it is not installed",
            "providers with wire: litellm cannot be asked",
            "install jobgate again from its lock file",
        )
    if found in LITELLM_MALICIOUS:
        return problem(
            "litellm",
            f"{found} is installed: a malicious release that steals credentials",
            "every secret that this machine had while it was installed is known to others",
            "stop, take it off, install from the lock file, and replace every key and password",
        )
    wanted = _pinned("litellm")
    if wanted and found != wanted:
        return warning(
            "litellm",
            f"{found} is installed; jobgate pins {wanted}",
            "it was not looked at by whoever made this release",
            f"install litellm=={wanted}",
        )
    return ok("litellm", f"{found}, none of the malicious releases")


def check_lock(
    lock: Path | None = None, installed: Iterable[Distribution] | None = None
) -> Diagnosis:
    """Every installed package against uv.lock, where there is one beside the program."""
    path = lock or Path(gateway.__file__).parent.parent / "uv.lock"
    if not path.is_file():
        return ok("packages", "there is no uv.lock beside the program to compare them with")
    locked = _locked(path)
    other, unknown, count = [], [], 0
    for found in distributions() if installed is None else installed:
        name = _plain(found.metadata["Name"] or "")
        if not name or name in _NOT_LOCKED:
            continue
        count += 1
        if name not in locked:
            unknown.append(f"{name} {found.version}")
        elif found.version not in locked[name]:
            other.append(f"{name} {found.version} (lock: {', '.join(sorted(locked[name]))})")
    if not other and not unknown:
        return ok("packages", f"all {count} are as {path.name} has them")
    said = [f"not as in {path.name}: {_some(other)}"] if other else []
    said += [f"not in it: {_some(unknown)}"] if unknown else []
    return warning(
        "packages",
        "; ".join(said),
        "what runs is not what was reviewed and tested",
        "install again with `uv sync --frozen`",
    )


def check_startup_files(folders: Iterable[Path] | None = None) -> list[Diagnosis]:
    """Files that Python runs, or that widen where it looks for modules, at every start."""
    found: list[Diagnosis] = []
    places = list(_site_folders() if folders is None else folders)
    for folder in places:
        recorded = _recorded(folder)
        for path in sorted(folder.iterdir()):
            if path.name.split(".")[0] in _CUSTOMIZERS:
                found.append(_unexpected(path, "Python imports it at every start"))
            elif path.suffix == ".pth":
                found += _pth(path, recorded)
    if not found:
        found.append(ok("start-up files", f"none that is unexpected in {_some(map(str, places))}"))
    return found


def _pth(path: Path, recorded: Mapping[str, tuple[str, str]]) -> Iterator[Diagnosis]:
    content = path.read_bytes()
    lines = content.decode("utf-8", "replace").splitlines()
    owner, digest = recorded.get(path.name, ("", ""))
    if any(line.startswith(("import ", "import\t")) for line in lines):
        if (path.name, content.decode("utf-8", "replace").strip()) == _OF_VIRTUALENV:
            return
        if not owner:
            yield _unexpected(path, "it runs code at every start, and no package has brought it")
        elif _RUNS_CODE.get(path.name) != owner:
            yield _unexpected(path, f"it runs code at every start; {owner} brought it")
        elif digest and digest != _sha256(content):
            yield _unexpected(path, f"it runs code, and is not as {owner} brought it")
    elif not owner and any(line.strip() and not line.startswith("#") for line in lines):
        yield warning(
            "start-up files",
            f"{path} adds folders to where Python looks for modules; no package has brought it",
            "whoever can write to those folders can change what runs",
            "take it off unless you know who put it there",
        )


def _unexpected(path: Path, why: str) -> Diagnosis:
    return problem(
        "start-up files",
        f"{path}: {why}",
        "it may read every secret of this process; malicious releases of packages bring such files",
        "read it without running it (`python -I -S`); if nobody can say what it is for, stop the"
        " gateway, install again from the lock file, and replace the keys it could read",
    )


def _recorded(folder: Path) -> dict[str, tuple[str, str]]:
    """The package that brought each file at the top of a folder, and the SHA-256 it had."""
    found = {}
    for distribution in distributions(path=[str(folder)]):
        for file in distribution.files or ():
            if len(file.parts) == 1:
                digest = file.hash.value if file.hash and file.hash.mode == "sha256" else ""
                found[file.name] = (_plain(distribution.metadata["Name"] or ""), digest)
    return found


def _site_folders() -> list[Path]:
    folders = [*site.getsitepackages(), *([site.getusersitepackages()] if _user_site() else [])]
    return [path for path in map(Path, dict.fromkeys(folders)) if path.is_dir()]


def _user_site() -> bool:
    return bool(site.ENABLE_USER_SITE) and not sys.flags.no_user_site


def _sha256(content: bytes) -> str:
    """As the records of packages have it."""
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def _locked(path: Path) -> dict[str, set[str]]:
    """The versions of each package in a uv.lock; several where they depend on the platform."""
    found: dict[str, set[str]] = {}
    for package in tomllib.loads(path.read_text("utf-8")).get("package", ()):
        if "version" in package:
            found.setdefault(_plain(package["name"]), set()).add(package["version"])
    return found


def _pinned(name: str) -> str:
    """The one version of a package that jobgate asks for, if it asks for one."""
    try:
        wanted = requires("jobgate") or ()
    except PackageNotFoundError:
        return ""
    found = (re.fullmatch(rf"{name}==([^;,\s]+).*", requirement) for requirement in wanted)
    return next((match[1] for match in found if match), "")


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _some(names: Iterable[str]) -> str:
    """The first few of a list of names."""
    listed = sorted(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more
