"""The machine around the gateway: who may read and write its files, and how full the disk is."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from gateway.cli.diagnosis import Diagnosis, ok, problem, warning

MOUNTS = Path("/proc/self/mounts")
GIB = 1024**3
FREE_PROBLEM_BYTES, FREE_WARNING_BYTES = GIB // 8, 2 * GIB
LOG_WARNING_BYTES = GIB
_OF_SQLITE = ("", "-wal", "-shm", ".lock")
"""What SQLite, and we, add to the name of a database file."""
_NETWORKED = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "afs", "ceph"})


def check_rules(files: Iterable[Path]) -> list[Diagnosis]:
    """The files of the rules: whoever can write them decides where prompts go."""
    found: list[Diagnosis] = []
    seen = [path for path in files if path.exists()]
    for path in seen:
        found += _writable_by_all("rules", path, "it decides where prompts go, and who pays")
        if _mode(path) & stat.S_IROTH:
            found.append(
                warning(
                    "rules",
                    f"{path} can be read by everybody on this machine",
                    "prompts, budgets and contacts of the company may be in it",
                    f"chmod o-rwx {path}",
                )
            )
    return found or [ok("rules", f"{len(seen)} files, closed to others")]


def check_keys(files: Iterable[Path]) -> list[Diagnosis]:
    """Files with the API keys of providers: nobody else may read them."""
    found: list[Diagnosis] = []
    seen = [path for path in files if path.exists()]
    for path in seen:
        found += _writable_by_all("key files", path, "whoever puts a key in it gets our prompts")
        if _mode(path) & stat.S_IROTH:
            found.append(
                problem(
                    "key files",
                    f"{path} can be read by everybody on this machine",
                    "anybody here can spend our money at the provider",
                    f"chmod o-rwx {path}, and replace the key",
                )
            )
    if found or not seen:
        return found
    return [ok("key files", f"{len(seen)} files, closed to others")]


def check_database_file(file: Path) -> list[Diagnosis]:
    """SQLite's file and those beside it: closed to others, writable for us, on a local disk."""
    found: list[Diagnosis] = []
    for path in (file.with_name(file.name + suffix) for suffix in _OF_SQLITE):
        if not path.exists():
            continue
        found += _writable_by_all("database file", path, "the books could be changed")
        if _mode(path) & stat.S_IROTH:
            found.append(
                warning(
                    "database file",
                    f"{path} can be read by everybody on this machine",
                    "the books say who spent what, and for which campaign",
                    f"chmod o-rwx {path}",
                )
            )
    for path in (file, file.parent):
        if not os.access(path, os.W_OK):
            found.append(
                problem(
                    "database file",
                    f"{path} cannot be written by this account",
                    "no request can be admitted",
                    "run the gateway as the owner of the file, or give it to this account",
                )
            )
    if (kind := file_system(file)) in _NETWORKED:
        found.append(
            problem(
                "database file",
                f"{file} is on a network file system ({kind})",
                "SQLite's log is not safe there: the books can be damaged",
                "put it on a local disk, or use PostgreSQL",
            )
        )
    return found or [ok("database file", f"{file}, closed to others, on a local disk")]


def check_disk(folder: Path, log: Path | None = None) -> Iterator[Diagnosis]:
    """Room where the books are, and the length of SQLite's log."""
    usage = shutil.disk_usage(folder)
    said = f"{usage.free / GIB:,.1f} GiB of {usage.total / GIB:,.1f} are free at {folder}"
    means, todo = "a full disk stops every request", "make room, or move the books"
    if usage.free < FREE_PROBLEM_BYTES:
        yield problem("disk", said, means, todo)
    elif usage.free < FREE_WARNING_BYTES:
        yield warning("disk", said, means, todo)
    else:
        yield ok("disk", said)
    if log is not None and log.exists() and (size := log.stat().st_size) > LOG_WARNING_BYTES:
        yield warning(
            "disk",
            f"SQLite's log {log} has {size / GIB:,.1f} GiB",
            "somebody reads the books for hours, so it cannot be copied into the file",
            "end long readers, or restart the gateway",
        )


def file_system(path: Path, mounts: Path = MOUNTS) -> str:
    """The kind of file system that a path is on; empty where that is not told."""
    try:
        rows = [line.split() for line in mounts.read_text("utf-8", "replace").splitlines()]
    except OSError:
        return ""
    real = os.path.realpath(path)
    best = ("", "")
    for row in rows:
        at = row[1].replace("\\040", " ").rstrip("/") + "/"
        if f"{real}/".startswith(at) and len(at) >= len(best[0]):
            best = (at, row[2])
    return best[1]


def _writable_by_all(check: str, path: Path, means: str) -> Iterator[Diagnosis]:
    """A file that anybody can write, or put another in the place of."""
    folder = path.resolve().parent
    sticky = _mode(folder) & stat.S_ISVTX
    if _mode(path) & stat.S_IWOTH:
        said = f"{path} can be written by everybody on this machine"
        yield problem(check, said, means, f"chmod o-w {path}")
    elif _mode(folder) & stat.S_IWOTH and not sticky:
        said = f"everybody on this machine can put another file in the place of {path}"
        yield problem(check, said, means, f"chmod o-w {folder}")


def _mode(path: Path) -> int:
    return path.stat().st_mode
