"""Style sheets and scripts: files of the package, served under names that have their hash.

A changed file has a new name, so browsers may keep each for a year and still never use an old
one. Nothing is fetched from elsewhere; what others wrote is in static/vendor, with its licence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

PLACE = "/static/"
_KINDS = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
"""What is served, by the ending of its name; other files are not."""
_HASH_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is served."""

    body: bytes
    media_type: str


class Assets:
    """All of them, in memory."""

    def __init__(self) -> None:
        self._served: dict[str, Asset] = {}
        self._names: dict[str, str] = {}
        for name, body in _files_in(files("gateway.web") / "static", ""):
            stem, _, ending = name.rpartition(".")
            if ending in _KINDS:
                digest = hashlib.sha256(body).hexdigest()[:_HASH_LENGTH]
                served = f"{stem}.{digest}.{ending}"
                self._served[served] = Asset(body, _KINDS[ending])
                self._names[name] = PLACE + served

    def url(self, name: str) -> str:
        """Where a file such as `pages.css` or `vendor/htmx.js` is. Raises KeyError."""
        return self._names[name]

    def find(self, served: str) -> Asset | None:
        """The file that is served under a name with its hash."""
        return self._served.get(served)


def _files_in(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in sorted(folder.iterdir(), key=lambda found: found.name):
        if entry.is_dir():
            yield from _files_in(entry, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name, entry.read_bytes()
