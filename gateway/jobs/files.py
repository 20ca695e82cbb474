"""The files that the routing rules are made of: routes.yaml, what it includes, and prompts.

Names are relative to the folder of routes.yaml and stay inside it: no absolute paths, no `..`, no
hidden files, and a symbolic link may lead to another place in the folder (as mounted volumes do)
but never out of it. A file is opened along the path that was checked, so nobody can put a link in
its place in between. The same shape serves files on disk and files that were kept in the books.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.jobs.document import BYTES_MAX

TOTAL_MAX = 4_000_000
"""Characters that all files together may have."""
FILES_MAX = 200
FILE = r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$"
"""A name that cannot leave the folder, and is the same on every system."""

_NAME = re.compile(FILE)
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Unreadable(Exception):
    """A file cannot be read, or what is in it cannot: then `line` says where."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.line = line


@dataclass(slots=True)
class Files:
    """Files by name, each read once when it is first asked for; the root is the first of them.

    `folder` None: there are no other files than those in `texts`.
    """

    root: str
    folder: Path | None = None
    texts: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Names that were asked for and could not be read, and why."""

    @classmethod
    def at(cls, path: Path) -> Files:
        """The files of a routes.yaml on disk; nothing is read yet."""
        return cls(path.name, path.parent)

    def text(self, name: str) -> str:
        """The text of a file. Raises Unreadable."""
        if name in self.texts:
            return self.texts[name]
        try:
            if self.folder is None:
                raise Unreadable("there is no such file")
            if len(self.texts) >= FILES_MAX:
                raise Unreadable(f"there are more than {FILES_MAX} files")
            text = _decoded(_read(self.folder, name, inside=name != self.root))
            if sum(map(len, self.texts.values())) + len(text) > TOTAL_MAX:
                raise Unreadable(f"all files together have more than {TOTAL_MAX:,} characters")
        except Unreadable as error:
            self.missing[name] = str(error)
            raise
        self.texts[name] = text
        return text

    @property
    def names(self) -> tuple[str, ...]:
        """Every file that was asked for, whether it could be read or not."""
        return (*self.texts, *self.missing)

    @property
    def version(self) -> str:
        """The version of these files, see `version_of`; empty when the root cannot be read."""
        return version_of(self.root, self.texts) if self.root in self.texts else ""

    def fingerprint(self) -> str:
        """What changes whenever a file does, or one that could not be read can be."""
        return _fingerprint(self.texts, self.missing)


def version_of(root: str, texts: Mapping[str, str]) -> str:
    """The SHA-256 of the one file; of several, of the lines that `sha256sum` prints for them.

    The root comes first and is called routes.yaml whatever its name is.
    """
    digests = {name: _digest(text) for name, text in texts.items()}
    if len(digests) == 1:
        return digests[root]
    others = sorted(name for name in digests if name != root)
    lines = [f"{digests[root]}  routes.yaml\n", *(f"{digests[n]}  {n}\n" for n in others)]
    return _digest("".join(lines))


def look(path: Path, names: Iterable[str]) -> str:
    """The fingerprint of a routes.yaml and the other files named, as they are now. Blocks."""
    texts: dict[str, str] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            texts[name] = _decoded(_read(path.parent, name, inside=name != path.name))
        except Unreadable as error:
            missing[name] = str(error)
    return _fingerprint(texts, missing)


def writer_of(path: Path, names: Iterable[str]) -> str:
    """The account that has the file which was changed last; empty when nobody can tell."""
    found = []
    for name in names:
        with contextlib.suppress(OSError):
            found.append((path.parent / name).stat())
    if not found:
        return ""
    user = max(found, key=lambda known: known.st_mtime_ns).st_uid
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"uid {user}"


def _fingerprint(texts: Mapping[str, str], missing: Mapping[str, str]) -> str:
    parts = [f"{name} {_digest(text)}" for name, text in texts.items()]
    parts += [f"{name} cannot be read: {why}" for name, why in missing.items()]
    return _digest("\n".join(sorted(parts)))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Unreadable("the file is not UTF-8", line) from None


def _read(folder: Path, name: str, *, inside: bool = True) -> bytes:
    """The bytes of a regular file; of one `inside` of the folder, if so. Raises Unreadable."""
    try:
        opened = _open(folder, name) if inside else os.open(folder / name, _FLAGS & ~os.O_NOFOLLOW)
        try:
            kind = os.fstat(opened).st_mode
            if not stat.S_ISREG(kind):
                raise Unreadable("Is a directory" if stat.S_ISDIR(kind) else "is not a file")
            with os.fdopen(opened, "rb", closefd=False) as file:
                content = file.read(BYTES_MAX + 1)
        finally:
            os.close(opened)
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from None
    if len(content) > BYTES_MAX:
        raise Unreadable(f"the file is larger than {BYTES_MAX:,} bytes", 1)
    return content


def _open(folder: Path, name: str) -> int:
    """A descriptor of the file: links are followed first, then the path without any is opened."""
    if ".." in name.split("/") or name.startswith("/") or "\0" in name:
        raise Unreadable("the path leads out of the folder of routes.yaml")
    home = os.path.realpath(folder)
    real = os.path.realpath(folder / name)
    if os.path.commonpath([home, real]) != home:
        raise Unreadable("the path leads out of the folder of routes.yaml")
    at = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    *folders, last = os.path.relpath(real, home).split(os.sep)
    try:
        for step in folders:
            inner = os.open(step, _FLAGS | os.O_DIRECTORY, dir_fd=at)
            os.close(at)
            at = inner
        return os.open(last, _FLAGS, dir_fd=at)
    finally:
        os.close(at)


def is_safe(name: str) -> bool:
    """Whether a name may stand in the rules."""
    return _NAME.match(name) is not None
