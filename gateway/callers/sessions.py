"""Who is signed in to the pages: sessions, kept in the database by the hash of their tokens.

A session begins with a key that has a role, or with a person whom somebody else has vouched for.
One that a key began is worth what that key is worth at the moment it is looked at: it ends when
the key is revoked, expires or is rotated away, and a changed role is a changed role at once.

Every sign-in makes a new token, so nobody can choose one for another (fixation). The token is
told once, to the browser; from the database nobody can sign in.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, insert, select

from gateway.callers.callers import Caller, KeyRing
from gateway.callers.roles import Principal, Role
from gateway.clock import MICROS, Clock
from gateway.errors import NotAuthenticated
from gateway.store.database import Database
from gateway.store.statements import prepare
from gateway.store.tables import SessionRow

LIFE_SECONDS = 12 * 3600
"""How long a session lasts: a working day."""
_COLUMNS = ("principal", "role", "key_hash", "method", "expires_at")

_TABLE = SessionRow.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in; `expires_at` in microseconds since 1970."""

    principal: Principal
    method: str
    """How they signed in: "key", or the name of another way."""
    expires_at: int


class Sessions:
    """The sessions of one organisation. Methods that touch the database block."""

    def __init__(self, database: Database, org: str, clock: Clock, keys: KeyRing) -> None:
        self._database, self._org, self._clock, self._keys = database, org, clock, keys
        engine = database.engine_name
        mine = _TABLE.c.org == bindparam("in_org")
        this = mine & (_TABLE.c.hash == bindparam("hashed"))
        self._insert = prepare(insert(_TABLE), engine)
        self._one = prepare(select(*(_TABLE.c[name] for name in _COLUMNS)).where(this), engine)
        self._end = prepare(delete(_TABLE).where(this), engine)
        over = _TABLE.c.expires_at <= bindparam("now")
        self._sweep = prepare(delete(_TABLE).where(mine & over), engine)

    def begin_with_key(self, caller: Caller) -> str:
        """Begin a session for a key that was proved; returns its token. Raises DatabaseDown."""
        role = str(caller.principal.role)
        return self._begin(caller.principal.name, role, caller.key_hash, "key")

    def begin_for_person(self, name: str, role: Role, method: str) -> str:
        """Begin one for a person, by the name that a sign-in service has proved (`method`).

        Returns its token. Raises DatabaseDown.
        """
        return self._begin(name, str(role), "", method)

    def find(self, token: str, address: str) -> Session:
        """Who has this token. Raises NotAuthenticated when nobody has, DatabaseDown.

        `address` is where the request comes from: a key may be limited to some. Raises Forbidden
        from others.
        """
        with self._database.reading() as cursor:
            values = {"in_org": self._org, "hashed": _hashed(token)}
            rows = cursor.rows(self._one, values)
        if not rows:
            raise NotAuthenticated("nobody is signed in here")
        principal, role, key_hash, method, expires_at = rows[0]
        if expires_at <= self._clock.now():
            raise NotAuthenticated("the session is over; sign in again")
        if not key_hash:
            return Session(Principal(principal, Role.known(role)), method, expires_at)
        caller = self._keys.of_hash(key_hash)
        caller.may_come_from(address)
        return Session(caller.principal, method, expires_at)

    def end(self, token: str) -> None:
        """End a session; nothing happens when it is not there. Raises DatabaseDown."""
        with self._database.writing() as cursor:
            cursor.run(self._end, {"in_org": self._org, "hashed": _hashed(token)})

    def _begin(self, principal: str, role: str, key_hash: str, method: str) -> str:
        token, now = secrets.token_urlsafe(32), self._clock.now()
        row = {
            "org": self._org,
            "hash": _hashed(token),
            "principal": principal,
            "role": role,
            "key_hash": key_hash,
            "method": method,
            "created_at": now,
            "expires_at": now + LIFE_SECONDS * MICROS,
        }
        with self._database.writing() as cursor:
            cursor.run(self._sweep, {"in_org": self._org, "now": now})
            cursor.run(self._insert, row)
        return token


def form_token(token: str) -> str:
    """What a form has to carry to be the session's own: it cannot be made without the token."""
    return hmac.new(token.encode(), b"the forms of this session", hashlib.sha256).hexdigest()


def is_form_token(told: str, token: str) -> bool:
    """Whether a form carried it."""
    return hmac.compare_digest(told.encode(), form_token(token).encode())


def _hashed(token: str) -> str:
    """256 random bits need no salt."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
