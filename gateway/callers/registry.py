"""Making, listing and revoking keys, and the teams and apps they belong to.

The secret of a key is shown once, when it is made; the database has only its SHA-256. Every
change moves the revision counter in the same transaction, which is how running gateways learn
of it.
"""

from __future__ import annotations

import re
import secrets
import string
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, bindparam, insert, literal_column, select, update

from gateway.callers.callers import APP, REVISION, ROLES, hash_secret
from gateway.clock import Clock
from gateway.errors import ConfigurationError
from gateway.store.database import Cursor, Database
from gateway.store.statements import INSERTS, prepare
from gateway.store.tables import App, Counter, Key, Team

_ALPHABET = string.ascii_letters + string.digits
_SECRET_LENGTH = 43
"""Letters and digits in a secret: 43 of 62 are 256 bits."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """What is asked for: who it is for and what it may do."""

    team: str
    app: str
    role: str = APP
    jobs: tuple[str, ...] | None = None
    """None for all jobs."""
    default_job: str | None = None
    budget_nanos: int | None = None
    budget_period: str | None = None
    expires_at: int | None = None


class Registry:
    """Changes to keys, teams and apps of one organisation."""

    def __init__(self, database: Database, org: str, clock: Clock) -> None:
        self._database, self._org, self._clock = database, org, clock
        engine = database.engine_name
        keys, apps = Key.__table__, App.__table__  # type: ignore[attr-defined]
        counters, teams = Counter.__table__, Team.__table__  # type: ignore[attr-defined]
        self._insert = prepare(insert(keys), engine)
        self._add_team = prepare(INSERTS[engine](teams).on_conflict_do_nothing(), engine)
        self._add_app = prepare(INSERTS[engine](apps).on_conflict_do_nothing(), engine)
        self._team_of = prepare(
            select(apps.c.team).where(
                apps.c.org == bindparam("org"), apps.c.name == bindparam("name")
            ),
            engine,
        )
        self._bump = prepare(
            INSERTS[engine](counters)
            .values(org=bindparam("org"), name=bindparam("name"), value=bindparam("first"))
            .on_conflict_do_update(
                index_elements=["org", "name"],
                set_={"value": counters.c.value + literal_column("1", BigInteger)},
            ),
            engine,
        )
        self._revoke = prepare(
            update(keys)
            .where(
                keys.c.org == bindparam("in_org"),
                keys.c.id == bindparam("key_id"),
                keys.c.revoked_at.is_(None),
            )
            .values(revoked_at=bindparam("at")),
            engine,
        )
        self._list = prepare(
            select(*(keys.c[name] for name in _SHOWN))
            .where(keys.c.org == bindparam("org"))
            .order_by(keys.c.created_at, keys.c.id),
            engine,
        )

    def create(self, new: NewKey) -> tuple[str, str]:
        """Make a key; returns its id and its secret, which is not kept.

        Raises ConfigurationError when a name is not one, or the app belongs to another team.
        """
        _check(new)
        with self._database.writing() as cursor:
            return self.create_in(cursor, new)

    def create_in(self, cursor: Cursor, new: NewKey) -> tuple[str, str]:
        """The same, inside a transaction."""
        now = self._clock.now()
        secret = "jg_" + "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))
        key_id = "key_" + secrets.token_hex(8)
        cursor.run(self._add_team, {"org": self._org, "name": new.team, "created_at": now})
        app = {"org": self._org, "name": new.app, "team": new.team, "created_at": now}
        cursor.run(self._add_app, app)
        owner = cursor.rows(self._team_of, {"org": self._org, "name": new.app})[0][0]
        if owner != new.team:
            raise ConfigurationError([f"app {new.app!r} belongs to team {owner!r}"])
        cursor.run(
            self._insert,
            {
                "org": self._org,
                "id": key_id,
                "hash": hash_secret(secret),
                "hint": secret[-4:],
                "role": new.role,
                "team": new.team,
                "app": new.app,
                "jobs": "*" if new.jobs is None else " ".join(new.jobs),
                "default_job": new.default_job,
                "budget_nanos": new.budget_nanos,
                "budget_period": new.budget_period,
                "created_at": now,
                "expires_at": new.expires_at,
                "revoked_at": None,
            },
        )
        self._changed(cursor)
        return key_id, secret

    def revoke(self, key_id: str) -> bool:
        """Revoke a key from now on; False when there is no such key, or it was revoked before."""
        with self._database.writing() as cursor:
            values = {"in_org": self._org, "key_id": key_id, "at": self._clock.now()}
            touched = cursor.run(self._revoke, values)
            self._changed(cursor)
            return touched > 0

    def _changed(self, cursor: Cursor) -> None:
        cursor.run(self._bump, {"org": self._org, "name": REVISION, "first": 1})

    def all(self) -> list[dict[str, Any]]:
        """Every key, oldest first, without its hash."""
        with self._database.reading() as cursor:
            rows = cursor.rows(self._list, {"org": self._org})
        return [dict(zip(_SHOWN, row, strict=True)) for row in rows]


_SHOWN = (
    "id",
    "hint",
    "role",
    "team",
    "app",
    "jobs",
    "default_job",
    "budget_nanos",
    "budget_period",
    "created_at",
    "expires_at",
    "revoked_at",
)


def _check(new: NewKey) -> None:
    problems = [
        f"{what} {name!r}: use letters, digits, '.', '_' and '-', at most 64"
        for what, name in (("team", new.team), ("app", new.app))
        if not _NAME.fullmatch(name)
    ]
    if new.role not in ROLES:
        problems.append(f"role {new.role!r}: it is one of {', '.join(ROLES)}")
    if new.default_job and new.jobs is not None and new.default_job not in new.jobs:
        problems.append(f"default job {new.default_job!r} is not among the key's jobs")
    if problems:
        raise ConfigurationError(problems)
