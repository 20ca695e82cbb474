"""Who calls: what a key proves, held in memory and refreshed from the database.

A key is looked up by the SHA-256 of the whole secret, in memory; no query is made while a
request waits. A counter in the database changes with every change to the keys and is looked at
several times a second, so a revoked key stops working within a second in every process.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from dataclasses import dataclass

from sqlalchemy import bindparam, select

from gateway.clock import Clock
from gateway.errors import Forbidden, NotAuthenticated
from gateway.jobs.routes import Budget, Job, Scope
from gateway.store.database import Cursor, Database
from gateway.store.statements import prepare
from gateway.store.tables import Counter, Key

log = logging.getLogger(__name__)

REVISION = "keys"
"""Name of the counter that every change to the keys moves."""
REFRESH_SECONDS = 0.2
"""Keys are looked at so often that a revoked one is refused within a second."""
ADMIN, FINANCE, APP = "admin", "finance", "app"
ROLES = (APP, FINANCE, ADMIN)


@dataclass(frozen=True, slots=True)
class Caller:
    """What a key stands for. Nothing that a request says can add to it (law 12)."""

    key_id: str
    key_hash: str
    role: str
    team: str
    app: str
    jobs: frozenset[str] | None
    """Names of the jobs it may use; None for all."""
    default_job: str | None
    expires_at: int | None
    revoked_at: int | None
    budgets: tuple[Budget, ...]
    """The key's own budget, if it has one."""

    def uses(self, job: Job) -> bool:
        """Whether this key may use a job."""
        return self.role == APP and (self.jobs is None or job.name in self.jobs)

    def may_use(self, job: Job) -> None:
        """Raises Forbidden, naming the jobs this key may use, when the job is not one of them."""
        if self.uses(job):
            return
        if self.role != APP:
            raise Forbidden(f"this key has the role {self.role}; jobs are for app keys")
        allowed = ", ".join(sorted(self.jobs or ())) or "none"
        raise Forbidden(
            f"this key may not use the job {job.name!r}; it may use: {allowed}",
            param="model",
            details={"jobs": sorted(self.jobs or ())},
        )

    def must_be(self, *roles: str) -> None:
        """Raises Forbidden unless the key has one of the roles."""
        if self.role not in roles:
            raise Forbidden(f"this needs a key with the role {' or '.join(roles)}")


class KeyRing:
    """All keys of the organisation, in memory."""

    def __init__(self, database: Database, org: str, clock: Clock) -> None:
        self._database, self._org, self._clock = database, org, clock
        self._by_hash: dict[str, Caller] = {}
        self._revision = -1
        counters, keys = Counter.__table__, Key.__table__  # type: ignore[attr-defined]
        self._read_revision = prepare(
            select(counters.c.value).where(
                counters.c.org == bindparam("org"), counters.c.name == bindparam("name")
            ),
            database.engine_name,
        )
        self._read_keys = prepare(
            select(*(keys.c[name] for name in _COLUMNS)).where(keys.c.org == bindparam("org")),
            database.engine_name,
        )

    def refresh(self) -> bool:
        """Read the keys again if any of them changed; True when they did. Blocks.

        Raises DatabaseDown; the keys in memory then stay as they are.
        """
        with self._database.reading() as cursor:
            return self.refresh_in(cursor)

    def refresh_in(self, cursor: Cursor) -> bool:
        """The same, inside a transaction."""
        rows = cursor.rows(self._read_revision, {"org": self._org, "name": REVISION})
        revision = int(rows[0][0]) if rows else 0
        if revision == self._revision:
            return False
        self._by_hash = self._load(cursor)
        self._revision = revision
        return True

    def authenticate(self, authorization: str | None) -> Caller:
        """The caller whose key stands in an Authorization header ("Bearer jg_…").

        Raises NotAuthenticated when the key is missing, unknown, revoked or expired.
        """
        if not authorization:
            raise NotAuthenticated(
                "no key was given: send it as the header 'Authorization: Bearer jg_...'"
            )
        scheme, _, secret = authorization.strip().partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret:
            raise NotAuthenticated(
                "the header Authorization has another scheme; write 'Bearer jg_...'"
            )
        digest = hash_secret(secret)
        caller = self._by_hash.get(digest)
        if caller is None or not hmac.compare_digest(caller.key_hash, digest):
            raise UnknownKey("the key is not known here")
        now = self._clock.now()
        if caller.revoked_at is not None and caller.revoked_at <= now:
            raise NotAuthenticated("the key has been revoked")
        if caller.expires_at is not None and caller.expires_at <= now:
            raise NotAuthenticated("the key has expired")
        return caller

    def has_role(self, role: str) -> bool:
        """Whether any key that is not revoked has this role."""
        return any(c.role == role and c.revoked_at is None for c in self._by_hash.values())

    def _load(self, cursor: Cursor) -> dict[str, Caller]:
        found = {}
        for row in cursor.rows(self._read_keys, {"org": self._org}):
            caller = _caller(dict(zip(_COLUMNS, row, strict=True)))
            found[caller.key_hash] = caller
        return found


class UnknownKey(NotAuthenticated):
    """The key is not in memory: wrong, or made so recently that it has not been read yet."""


def hash_secret(secret: str) -> str:
    """What is stored of a secret: its SHA-256. Secrets are 256 random bits, so this is enough."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


_COLUMNS = (
    "id",
    "hash",
    "role",
    "team",
    "app",
    "jobs",
    "default_job",
    "budget_nanos",
    "budget_period",
    "expires_at",
    "revoked_at",
)


def _caller(row: dict[str, object]) -> Caller:
    budgets: tuple[Budget, ...] = ()
    if row["budget_nanos"] is not None:
        budgets = (_own_budget(str(row["id"]), row["budget_nanos"], row["budget_period"]),)
    jobs = str(row["jobs"])
    return Caller(
        key_id=str(row["id"]),
        key_hash=str(row["hash"]),
        role=str(row["role"]),
        team=str(row["team"]),
        app=str(row["app"]),
        jobs=None if jobs == "*" else frozenset(jobs.split()),
        default_job=row["default_job"],  # type: ignore[arg-type]
        expires_at=row["expires_at"],  # type: ignore[arg-type]
        revoked_at=row["revoked_at"],  # type: ignore[arg-type]
        budgets=budgets,
    )


def _own_budget(key_id: str, nanos: object, period: object) -> Budget:
    return Budget(
        name=f"key {key_id}",
        scope=Scope("key", key_id),
        limit=int(str(nanos)),
        unit="usd",
        period=period,  # type: ignore[arg-type]
        hard=True,
        contact="",
    )
