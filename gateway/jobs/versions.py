"""Every version of the routing rules that was ever live, with all its files, in the books.

A version is written down before the first request is served by it, once for all processes: one
that goes live where the newest row has the same files adds none. A row is never changed. A
version is named by its number, or by the beginning of its hash.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

import msgspec
from sqlalchemy import BigInteger, bindparam, insert, select

from gateway.errors import ConfigurationError
from gateway.jobs.files import Files
from gateway.jobs.routes import Routes
from gateway.store.database import Cursor
from gateway.store.statements import INSERTS, prepare
from gateway.store.tables import ConfigVersion, Counter

COUNTER = "config versions"
"""Name of the counter of rows; the newest row has its number."""
START, FILE, SIGNAL, API, ROLLBACK = "start", "file", "signal", "api", "rollback"
PAGE = "page"
"""What made a version go live."""

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

        Raises ConfigurationError when there is none, or several that differ.
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
        return Kept(found[0], root, _decode(files))

    def _newest(self, cursor: Cursor, number: int) -> Version | None:
        rows = cursor.rows(self._by_number, {"org": self._org, "number": number})
        return _version(rows[0]) if rows else None


def _version(row: tuple[Any, ...]) -> Version:
    return Version(**dict(zip(Version.__struct_fields__, row, strict=True)))
