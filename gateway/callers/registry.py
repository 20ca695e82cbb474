"""Making, changing, rotating and revoking keys.

The secret of a key is shown once, when it is made or rotated; the database has only its SHA-256.
A rotated key stays the key it was, with its budget and its history: it gets a new secret, and the
one before is good for a while longer. A key that is over is not changed any more.

Every change moves the revision counter, which is how running gateways learn of it, and is written
into the log of changes, in one transaction.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, bindparam, insert, literal_column, select, update

from gateway.callers.addresses import parse_networks
from gateway.callers.callers import REVISION, hash_secret, own_budget
from gateway.callers.changes import By, Change, ChangeLog
from gateway.callers.directory import Directory, check_names
from gateway.callers.roles import APP, Role
from gateway.clock import MICROS, Clock
from gateway.errors import ConfigurationError, NotFound
from gateway.jobs.routes import Budget
from gateway.store.database import Cursor, Database
from gateway.store.statements import INSERTS, prepare
from gateway.store.tables import Counter, Key

_ALPHABET = string.ascii_letters + string.digits
_SECRET_LENGTH = 43
"""Letters and digits in a secret: 43 of 62 are 256 bits."""
OVERLAP_SECONDS_MOST = 90 * 24 * 3600
"""For so long at most is the secret before a rotation good."""

_KEYS = Key.__table__  # type: ignore[attr-defined]
_COUNTERS = Counter.__table__  # type: ignore[attr-defined]
_SHOWN = (
    *("id", "hint", "role", "team", "app", "jobs", "default_job", "budget_nanos"),
    *("budget_period", "created_at", "expires_at", "revoked_at", "addresses", "old_until"),
)
_CHANGEABLE = ("role", "jobs", "default_job", "expires_at", "addresses")
_WRITTEN = (*_CHANGEABLE, "hash", "hint", "old_hash", "old_until", "revoked_at")


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
    addresses: tuple[str, ...] = ()
    """Networks in CIDR notation; none for anywhere."""
    founds: bool = True
    """Whether its team and its app are made where they are missing."""


Allowed = Callable[[Mapping[str, Any]], None]
"""Is shown a key, as it is listed, and raises when whoever asks may not do that to it."""


def anybody(_key: Mapping[str, Any]) -> None:
    """No limit: for those who have the database in their hands anyway."""


class Registry:
    """Changes to the keys of one organisation. Every method blocks."""

    def __init__(self, database: Database, org: str, clock: Clock) -> None:
        self._database, self._org, self._clock = database, org, clock
        engine = database.engine_name
        self._directory = Directory(database, org, clock)
        self._log = ChangeLog(org, engine)
        self._insert = prepare(insert(_KEYS), engine)
        self._bump = prepare(
            INSERTS[engine](_COUNTERS)
            .values(org=bindparam("org"), name=bindparam("name"), value=bindparam("first"))
            .on_conflict_do_update(
                index_elements=["org", "name"],
                set_={"value": _COUNTERS.c.value + literal_column("1", BigInteger)},
            ),
            engine,
        )
        shown = select(*(_KEYS.c[name] for name in (*_SHOWN, "hash", "old_hash")))
        mine = _KEYS.c.org == bindparam("in_org")
        this = mine & (_KEYS.c.id == bindparam("key_id"))
        self._list = prepare(shown.where(mine).order_by(_KEYS.c.created_at, _KEYS.c.id), engine)
        self._one = prepare(shown.where(this).with_for_update(), engine)
        self._write = prepare(
            update(_KEYS).where(this).values({n: bindparam(f"new_{n}") for n in _WRITTEN}), engine
        )

    def create(self, new: NewKey, by: By) -> tuple[str, str]:
        """Make a key; returns its id and its secret, which is not kept.

        Raises ConfigurationError when a name is not one, or the app belongs to another team, and
        NotFound when the team or the app is to be there and is not.
        """
        _check(new)
        with self._database.writing() as cursor:
            return self._create_in(cursor, new, by)

    def _create_in(self, cursor: Cursor, new: NewKey, by: By) -> tuple[str, str]:
        made = []
        if new.founds:
            made = self._directory.found_in(cursor, new.team, new.app)
            owner = self._directory.team_of(cursor, new.app)
            if owner != new.team:
                raise ConfigurationError([f"app {new.app!r} belongs to team {owner!r}"])
        else:
            self._directory.must_have(cursor, new.team, new.app)
        secret, key_id = _new_secret(), "key_" + secrets.token_hex(8)
        row = {
            "id": key_id,
            "hint": secret[-4:],
            "role": new.role,
            "team": new.team,
            "app": new.app,
            "jobs": _jobs(new.jobs),
            "default_job": new.default_job,
            "budget_nanos": new.budget_nanos,
            "budget_period": new.budget_period,
            "created_at": self._clock.now(),
            "expires_at": new.expires_at,
            "revoked_at": None,
            "addresses": _addresses(new.addresses),
            "old_hash": None,
            "old_until": None,
        }
        cursor.run(self._insert, {"org": self._org, "hash": hash_secret(secret), **row})
        self._changed(cursor, [*made, _change("key.create", row, None, row)], by)
        return key_id, secret

    def change(
        self, key_id: str, wanted: Mapping[str, Any], by: By, allowed: Allowed = anybody
    ) -> None:
        """Change what a key may do: role, jobs, default_job, expires_at, addresses, as in NewKey.

        Raises NotFound, and ConfigurationError for what makes no sense or a key that is over.
        """
        with self._database.writing() as cursor:
            before = self._in_use(cursor, key_id, allowed)
            after = before | {name: _kept(name, value) for name, value in wanted.items()}
            if after == before:
                return
            _check_changed(after, self._clock.now())
            self._save(cursor, after)
            self._changed(cursor, [_change("key.change", before, before, after)], by)

    def rotate(
        self, key_id: str, overlap_seconds: int, by: By, allowed: Allowed = anybody
    ) -> tuple[str, int]:
        """Give a key a new secret; returns it, and when the one before ends (microseconds).

        One that is before even that ends now. Raises NotFound, and ConfigurationError for an
        overlap that is too long or a key that is over.
        """
        if not 0 <= overlap_seconds <= OVERLAP_SECONDS_MOST:
            raise ConfigurationError(
                [f"overlap: from 0 to {OVERLAP_SECONDS_MOST} seconds (90 days), not more"]
            )
        with self._database.writing() as cursor:
            before = self._in_use(cursor, key_id, allowed)
            secret, until = _new_secret(), self._clock.now() + overlap_seconds * MICROS
            after = before | {
                "hash": hash_secret(secret),
                "hint": secret[-4:],
                "old_hash": before["hash"],
                "old_until": until,
            }
            self._save(cursor, after)
            self._changed(cursor, [_change("key.rotate", before, before, after)], by)
        return secret, until

    def revoke(self, key_id: str, by: By, allowed: Allowed = anybody) -> bool:
        """Revoke a key from now on; False when there is no such key, or it was revoked before."""
        with self._database.writing() as cursor:
            before = self._find(cursor, key_id)
            if before is None:
                return False
            allowed(_told(before))
            if before["revoked_at"] is not None:
                return False
            after = before | {"revoked_at": self._clock.now()}
            self._save(cursor, after)
            self._changed(cursor, [_change("key.revoke", before, before, after)], by)
            return True

    def all(self) -> list[dict[str, Any]]:
        """Every key, oldest first, without its hash."""
        with self._database.reading() as cursor:
            rows = cursor.rows(self._list, {"in_org": self._org})
        return [_told(_columns(row)) for row in rows]

    def own_budgets(self) -> list[Budget]:
        """The budgets that keys have of their own, of those that are not over."""
        return [
            own_budget(key["id"], key["budget_nanos"], key["budget_period"])
            for key in self.all()
            if key["budget_nanos"] is not None and not self._over(key)
        ]

    def _in_use(self, cursor: Cursor, key_id: str, allowed: Allowed) -> dict[str, Any]:
        row = self._find(cursor, key_id)
        if row is None:
            raise NotFound(f"there is no key {key_id!r}")
        allowed(_told(row))
        if self._over(row):
            raise ConfigurationError([f"{key_id} is over; make a new key"])
        return row

    def _over(self, key: Mapping[str, Any]) -> bool:
        """Whether a key is revoked, or has expired by now."""
        expired = key["expires_at"] is not None and key["expires_at"] <= self._clock.now()
        return expired or key["revoked_at"] is not None

    def _find(self, cursor: Cursor, key_id: str) -> dict[str, Any] | None:
        found = cursor.rows(self._one, {"in_org": self._org, "key_id": key_id})
        return _columns(found[0]) if found else None

    def _save(self, cursor: Cursor, row: Mapping[str, Any]) -> None:
        values = {f"new_{name}": row[name] for name in _WRITTEN}
        cursor.run(self._write, {"in_org": self._org, "key_id": row["id"], **values})

    def _changed(self, cursor: Cursor, changes: list[Change], by: By) -> None:
        cursor.run(self._bump, {"org": self._org, "name": REVISION, "first": 1})
        self._log.append(cursor, changes, by, self._clock.now())


def _columns(row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip((*_SHOWN, "hash", "old_hash"), row, strict=True))


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in _SHOWN}


def _new_secret() -> str:
    return "jg_" + "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))


def _jobs(names: tuple[str, ...] | None) -> str:
    return "*" if names is None else " ".join(names)


def _addresses(texts: tuple[str, ...]) -> str:
    return " ".join(str(network) for network in parse_networks(texts))


def _kept(name: str, value: Any) -> Any:
    """What is written of a changed field. Raises ConfigurationError for one that stays."""
    if name not in _CHANGEABLE:
        raise ConfigurationError([f"{name} of a key stays what it is; make a new key"])
    if name == "jobs":
        return _jobs(value)
    return _addresses(value) if name == "addresses" else value


def _change(
    what: str,
    key: Mapping[str, Any],
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any],
) -> Change:
    """What the log says: of a new key all that it may do, else what is different."""
    names = [n for n in _SHOWN if n not in ("id", "hint", "created_at")]
    if before is not None:
        names = [name for name in names if before[name] != after[name]]
    return Change(
        what=what,
        subject=str(key["id"]),
        team=str(key["team"]),
        before=None if before is None else {name: before[name] for name in names},
        after={name: after[name] for name in names},
    )


def _check(new: NewKey) -> None:
    problems = []
    for check in (
        lambda: check_names(team=new.team, app=new.app),
        lambda: _check_role(new.role, new.team),
        lambda: parse_networks(new.addresses),
    ):
        try:
            check()
        except ConfigurationError as error:
            problems += error.problems
    if new.default_job and new.jobs is not None and new.default_job not in new.jobs:
        problems.append(f"default job {new.default_job!r} is not among the key's jobs")
    if problems:
        raise ConfigurationError(problems)


def _check_role(text: str, team: str) -> None:
    role = Role.parse(text)
    if role.team not in (None, team):
        raise ConfigurationError(
            [
                f"role {text!r}: a key has a role in its own team, which is {team!r}; write"
                f" {role.name}@{team}, or make a key for the team {role.team!r}"
            ]
        )


def _check_changed(after: Mapping[str, Any], now: int) -> None:
    _check_role(after["role"], after["team"])
    jobs = after["jobs"]
    if after["default_job"] and jobs != "*" and after["default_job"] not in jobs.split():
        raise ConfigurationError(
            [f"default job {after['default_job']!r} is not among the key's jobs"]
        )
    if after["expires_at"] is not None and after["expires_at"] <= now:
        raise ConfigurationError(["expires: that is over already; revoke the key to end it now"])
