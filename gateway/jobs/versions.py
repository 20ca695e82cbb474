"""Every version of the routing rules that was ever live, with all its files, in the books.

A version is written down before the first request is served by it, once for all processes: one
that goes live where the newest row has the same files adds none. A row is never changed. A
version is named by its number, or by the beginning of its hash.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec
from sqlalchemy import BigInteger, bindparam, insert, select

from gateway.errors import ConfigurationError
from gateway.jobs.files import Files, version_of
from gateway.jobs.routes import Routes
from gateway.store.database import Cursor
from gateway.store.statements import INSERTS, prepare
from gateway.store.tables import ConfigVersion, Counter

COUNTER = "config versions"
"""Name of the counter of rows; the newest row has its number."""
START, FILE, SIGNAL, API, ROLLBACK = "start", "file", "signal", "api", "rollback"
PAGE = "page"
"""What made a version go live."""
WENT_LIVE = "routes.live"
"""What the log of changes calls it."""
_READ_AT_A_TIME = 20
"""Versions whose files are in memory together, while all of them are checked."""

_TABLE = ConfigVersion.__table__  # type: ignore[attr-defined]
_COUNTERS = Counter.__table__  # type: ignore[attr-defined]
_NUMBER = re.compile(r"[0-9]{1,12}")
_HASH = re.compile(r"[0-9a-f]{4,64}")

_decode = msgspec.json.Decoder(dict[str, str]).decode


class Why(msgspec.Struct, frozen=True):
    """What made a version go live, on whose word, and where."""

    cause: str
    author: str
    reason: str
    instance: str = ""


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A row without its files; `live_at` in microseconds since 1970."""

    number: int
    hash: str
    prices: str
    live_at: int
    cause: str
    author: str
    reason: str
    instance: str

    @property
    def short(self) -> str:
        """The hash as people read it."""
        return self.hash[:12]


class Kept(msgspec.Struct, frozen=True):
    """A version with its files."""

    version: Version
    root: str
    texts: Mapping[str, str]

    def files(self) -> Files:
        """The files as they were, to be loaded again."""
        return Files(self.root, texts=dict(self.texts))


_COLUMNS = [_TABLE.c[name] for name in Version.__struct_fields__]


class Versions:
    """The rows of one organisation, inside somebody else's transaction."""

    def __init__(self, org: str, engine: str) -> None:
        self._org = org
        more = bindparam("more", type_=BigInteger)
        self._count = prepare(
            INSERTS[engine](_COUNTERS)
            .values(org=bindparam("org"), name=bindparam("name"), value=more)
            .on_conflict_do_update(
                index_elements=["org", "name"], set_={"value": _COUNTERS.c.value + more}
            )
            .returning(_COUNTERS.c.value),
            engine,
        )
        of_org = _TABLE.c.org == bindparam("org")
        self._list = prepare(
            select(*_COLUMNS).where(of_org).order_by(_TABLE.c.number.desc()), engine
        )
        self._by_number = prepare(
            select(*_COLUMNS).where(of_org, _TABLE.c.number == bindparam("number")), engine
        )
        self._by_hash = prepare(
            select(*_COLUMNS)
            .where(of_org, _TABLE.c.hash.like(bindparam("begins")))
            .order_by(_TABLE.c.number.desc()),
            engine,
        )
        self._files = prepare(
            select(_TABLE.c.root, _TABLE.c.files).where(
                of_org, _TABLE.c.number == bindparam("number")
            ),
            engine,
        )
        self._all_files = prepare(
            select(_TABLE.c.number, _TABLE.c.hash, _TABLE.c.root, _TABLE.c.files)
            .where(of_org)
            .order_by(_TABLE.c.number),
            engine,
        )
        self._counted = prepare(
            select(_COUNTERS.c.value).where(
                _COUNTERS.c.org == bindparam("org"), _COUNTERS.c.name == bindparam("name")
            ),
            engine,
        )
        self._insert = prepare(insert(_TABLE), engine)

    def keep(
        self, cursor: Cursor, routes: Routes, prices: str, why: Why, now: int
    ) -> tuple[Version, bool]:
        """The row of what goes live now (microseconds since 1970), and whether it is new.

        `prices` is the version of the price book. Writers take turns until the commit.
        """
        counter = {"org": self._org, "name": COUNTER}
        number = int(cursor.rows(self._count, {**counter, "more": 0})[0][0])
        newest = self._newest(cursor, number)
        if newest is not None and (newest.hash, newest.prices) == (routes.version, prices):
            return newest, False
        number = int(cursor.rows(self._count, {**counter, "more": 1})[0][0])
        version = Version(
            number=number,
            hash=routes.version,
            prices=prices,
            live_at=now,
            cause=why.cause,
            author=why.author,
            reason=why.reason,
            instance=why.instance,
        )
        files = {
            "root": next(iter(routes.files), "routes.yaml"),
            "files": msgspec.json.encode(dict(routes.files)).decode(),
        }
        cursor.run(self._insert, {"org": self._org, **msgspec.structs.asdict(version), **files})
        return version, True

    def history(self, cursor: Cursor, most: int = 1000) -> list[Version]:
        """The versions that went live, the newest first."""
        rows = cursor.stream(self._list, {"org": self._org})
        return [_version(row) for row in islice(rows, most)]

    def find(self, cursor: Cursor, name: str) -> Kept:
        """A version by its number or the beginning of its hash (the newest that has it).

        Raises ConfigurationError when there is none, several that differ, or when its files are
        not those that went live any more.
        """
        rows = []
        if _NUMBER.fullmatch(name):
            rows = cursor.rows(self._by_number, {"org": self._org, "number": int(name)})
        if not rows and _HASH.fullmatch(name.lower()):
            begins = name.lower() + "%"
            rows = cursor.rows(self._by_hash, {"org": self._org, "begins": begins})
        found = [_version(row) for row in rows]
        if not found:
            said = f"no version {name[:64]!r} was ever live; see `jobgate routes history`"
            raise ConfigurationError([said])
        if len({version.hash for version in found}) > 1:
            raise ConfigurationError([f"several versions begin with {name!r}: write more of it"])
        values = {"org": self._org, "number": found[0].number}
        ((root, files),) = cursor.rows(self._files, values)
        wrong = _wrong_with(found[0].hash, root, files)
        if wrong:
            said = f"version {found[0].number} in the books is not what went live: {wrong}"
            raise ConfigurationError([f"{said}; see `jobgate audit`"])
        return Kept(found[0], root, _decode(files))

    def check(self, cursor: Cursor, logged: Mapping[int, str]) -> Iterator[tuple[str, str]]:
        """What is wrong with the rows: which, and in words what. Reads all files, some at a time.

        `logged` are hashes of versions by number, as the log of changes has them.
        """
        last = 0
        rows = cursor.stream(self._all_files, {"org": self._org}, _READ_AT_A_TIME)
        for number, digest, root, files in rows:
            yield from _missing(last + 1, int(number) - 1)
            last = int(number)
            if wrong := _wrong_with(digest, root, files):
                yield f"version {number}", wrong
            elif logged.get(last, digest) != digest:
                said = (
                    f"the log of changes says that {logged[last][:12]} went live, not {digest[:12]}"
                )
                yield f"version {number}", said
        counted = cursor.rows(self._counted, {"org": self._org, "name": COUNTER})
        yield from _missing(last + 1, int(counted[0][0]) if counted else 0)

    def _newest(self, cursor: Cursor, number: int) -> Version | None:
        rows = cursor.rows(self._by_number, {"org": self._org, "number": number})
        return _version(rows[0]) if rows else None


def _wrong_with(digest: str, root: str, files: str) -> str:
    """What is wrong with the files of a row that should have this hash; empty when nothing is."""
    try:
        texts = _decode(files)
    except msgspec.DecodeError:
        return "its files cannot be read"
    if root not in texts or version_of(root, texts) != digest:
        return f"its files are not those that went live: they do not have the hash {digest[:12]}"
    return ""


def _missing(first: int, last: int) -> Iterator[tuple[str, str]]:
    if first <= last:
        told = f"version {first}" if first == last else f"versions {first} to {last}"
        yield told, "missing: rows of the history were deleted"


def _version(row: tuple[Any, ...]) -> Version:
    return Version(**dict(zip(Version.__struct_fields__, row, strict=True)))
