"""Writing the files of the rules, when somebody says so: an earlier version's, or edited ones.

What was there is copied first. Each file is written beside its place and moved into it, routes.yaml
last, so nobody reads half a file, and what is interrupted leaves routes.yaml as it was. Nothing is
removed: a file that an earlier version does not use stays where it is, and is not read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import ConfigurationError
from gateway.jobs.files import Files, is_safe
from gateway.jobs.versions import Kept

SAVED = ".before-rollback"
"""The folder with what was there; no rule can include from it, because its name has a dot."""

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Written:
    """Which files were written, and where the copies of what was there are (None: nothing was)."""

    files: tuple[Path, ...]
    saved: Path | None


def put_back(routes: Path, kept: Kept, there: Files, moment: str) -> Written:
    """Make the files around `routes` what they were in a kept version; `moment` names the copies.

    Raises ConfigurationError when a file cannot be written, or is a link: then its source is
    elsewhere, and is what has to be changed.
    """
    wanted = {routes.name if n == kept.root else n: text for n, text in kept.texts.items()}
    return write_files(routes, wanted, there, moment)


def write_files(routes: Path, wanted: Mapping[str, str], there: Files, moment: str) -> Written:
    """Make the files around `routes` say what is wanted, by name; the rest as for `put_back`."""
    changed = {name: text for name, text in wanted.items() if there.texts.get(name) != text}
    if not changed:
        return Written((), None)
    for name in changed:
        _check(routes, name)
    saved = routes.parent / SAVED / moment.replace(":", "")
    order = sorted(changed, key=lambda name: (name == routes.name, name))
    try:
        for name in dict.fromkeys([*there.texts, *changed]):
            place = routes.parent / name
            if place.is_file():
                _write(saved / name, place.read_bytes(), 0o600)
        for name in order:
            place = routes.parent / name
            mode = place.stat().st_mode & 0o777 if place.exists() else 0o644
            _write(place, changed[name].encode(), mode)
    except OSError as error:
        said = f"{error.filename}: cannot be written: {error.strerror or error}"
        raise ConfigurationError([said]) from None
    return Written(tuple(routes.parent / name for name in order), saved)


def _check(routes: Path, name: str) -> None:
    if name != routes.name and not is_safe(name):
        raise ConfigurationError([f"{name!a}: the path leads out of the folder of {routes.name}"])
    step = routes.parent
    for part in name.split("/"):
        step = step / part
        if step.is_symlink():
            raise ConfigurationError([f"{step} is a link: change the file that the link leads to"])


def _write(place: Path, content: bytes, mode: int) -> None:
    """The whole content, on the disk, before anybody can find it under its name."""
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_name(f".{place.name}.new")
    with os.fdopen(os.open(beside, _FLAGS, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(place)
