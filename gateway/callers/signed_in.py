"""Who is signed in, for those who look after it: the list, and ending what is somebody's.

A person's session keeps the role that it began with. Whoever must not have it any longer is taken
out of the group at the sign-in service, and their sessions are ended here; the next request finds
none, in every process. No token is told: the database does not have them.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import bindparam, delete, select

from gateway.callers.changes import By, Change, ChangeLog
from gateway.callers.roles import Principal, Role
from gateway.clock import Clock
from gateway.errors import NotFound
from gateway.store.database import Cursor, Database
from gateway.store.statements import prepare
from gateway.store.tables import SessionRow

_TABLE = SessionRow.__table__  # type: ignore[attr-defined]
_SHOWN = 64


class Sitting(msgspec.Struct, frozen=True, kw_only=True):
    """A session as it is told; times in microseconds since 1970."""

    principal: str
    """The id of a key, or the name of a person."""
    role: str
    """With which it began; a key has the role that it has now."""
    method: str
    created_at: int
    expires_at: int


_COLUMNS = [_TABLE.c[name] for name in Sitting.__struct_fields__]


class SignedIn:
    """The sessions of one organisation. Every method blocks and can raise DatabaseDown."""

    def __init__(self, database: Database, org: str, clock: Clock) -> None:
        self._database, self._org, self._clock = database, org, clock
        engine = database.engine_name
        self._log = ChangeLog(org, engine)
        mine = _TABLE.c.org == bindparam("in_org")
        lasts = _TABLE.c.expires_at > bindparam("now")
        order = (_TABLE.c.created_at, _TABLE.c.hash)
        self._all = prepare(select(*_COLUMNS).where(mine, lasts).order_by(*order), engine)
        of = (_TABLE.c.principal == bindparam("named"), _TABLE.c.role == bindparam("as_role"))
        self._end = prepare(delete(_TABLE).where(mine, *of), engine)

    def all(self, viewer: Principal | None = None) -> list[Sitting]:
        """Every session that has not ended, oldest first; those that a viewer's role reaches."""
        with self._database.reading() as cursor:
            return self._seen(cursor, viewer)

    def end(self, name: str, by: By, viewer: Principal | None = None) -> int:
        """End every session of a person, or of a key, that the viewer's role reaches.

        Returns how many there were. Raises NotFound when there was none.
        """
        with self._database.writing() as cursor:
            found = [one for one in self._seen(cursor, viewer) if one.principal == name]
            if not found:
                raise NotFound(f"nobody is signed in as {name[:_SHOWN]!r}", param="name")
            for role in {one.role for one in found}:
                values = {"in_org": self._org, "named": name, "as_role": role}
                cursor.run(self._end, values)
            told = Change(
                what="sessions.end",
                subject=name,
                team=Role.known(found[0].role).team or "",
                before={"sessions": len(found), "role": found[0].role},
            )
            self._log.append(cursor, [told], by, self._clock.now())
        return len(found)

    def _seen(self, cursor: Cursor, viewer: Principal | None) -> list[Sitting]:
        rows = cursor.rows(self._all, {"in_org": self._org, "now": self._clock.now()})
        found = [Sitting(**dict(zip(Sitting.__struct_fields__, row, strict=True))) for row in rows]
        return [one for one in found if viewer is None or _reaches(viewer, one)]


def _reaches(viewer: Principal, sitting: Sitting) -> bool:
    """Whether it is within somebody's role; what is the whole organisation's, is of no team."""
    return viewer.reaches(Role.known(sitting.role).team or "")
