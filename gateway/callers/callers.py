"""Who calls: what a key proves, held in memory and refreshed from the database.

A key is looked up by the SHA-256 of the whole secret, in memory; no query is made while a
request waits. A counter in the database changes with every change to the keys and is looked at
several times a second, so a revoked key stops working within a second in every process.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import bindparam, select

from gateway.callers.addresses import Network, is_within, parse_networks
from gateway.callers.roles import Permission, Principal, Role, authorise
from gateway.clock import Clock
from gateway.errors import Forbidden, NotAuthenticated
from gateway.jobs.routes import Budget, Job, Scope
from gateway.store.database import Cursor, Database
from gateway.store.statements import prepare
from gateway.store.tables import Counter, Key

REVISION = "keys"
"""Name of the counter that every change to the keys moves."""
REFRESH_SECONDS = 0.2
"""Keys are looked at so often that a revoked one is refused within a second."""


@dataclass(frozen=True, slots=True)
class Caller:
    """What a key stands for. Nothing that a request says can add to it (law 12)."""

    key_id: str
    key_hash: str
    principal: Principal
    team: str
    app: str
    jobs: frozenset[str] | None
    """Names of the jobs it may use; None for all."""
    default_job: str | None
    expires_at: int | None
    revoked_at: int | None
    budgets: tuple[Budget, ...]
    """The key's own budget, if it has one."""

    networks: tuple[Network, ...]
    """Where it may be used from; empty for anywhere."""

    def uses(self, job: Job) -> bool:
        """Whether this key may use a job."""
        named = self.jobs is None or job.name in self.jobs
        return named and self.principal.may(Permission.USE_JOBS)

    def may_use(self, job: Job) -> None:
        """Raises Forbidden, naming the jobs this key may use, when the job is not one of them."""
        if self.uses(job):
            return
        authorise(self.principal, Permission.USE_JOBS)
        allowed = ", ".join(sorted(self.jobs or ())) or "none"
        raise Forbidden(
            f"this key may not use the job {job.name!r}; it may use: {allowed}",
            param="model",
            details={"jobs": sorted(self.jobs or ())},
        )

    def may_come_from(self, address: str) -> None:
        """Raises Forbidden when the key is limited to addresses, and this is none of them."""
        if self.networks and not is_within(address, self.networks):
            raise Forbidden("this key may not be used from this address")


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
        if scheme.lower() == "bearer" and not secret:
            raise NotAuthenticated(
                "the header Authorization has no key in it; write 'Bearer jg_...'"
            )
        if scheme.lower() != "bearer":
            raise NotAuthenticated(
                "the header Authorization has another scheme; write 'Bearer jg_...'"
            )
        return self.of_hash(hash_secret(secret))

    def of_hash(self, digest: str) -> Caller:
        """The caller whose secret has this SHA-256.

        Raises NotAuthenticated when no key has it, or the key is revoked or expired.
        """
        caller = self._by_hash.get(digest)
        if caller is None or not hmac.compare_digest(caller.key_hash, digest):
            raise UnknownKey("the key is not known here")
        now = self._clock.now()
        if caller.revoked_at is not None and caller.revoked_at <= now:
            raise NotAuthenticated("the key has been revoked")
        if caller.expires_at is not None and caller.expires_at <= now:
            raise NotAuthenticated("the key has expired")
        return caller

    def has_role(self, role: Role) -> bool:
        """Whether any key that is not revoked has this role."""
        known = self._by_hash.values()
        return any(c.principal.role == role and c.revoked_at is None for c in known)

    def _load(self, cursor: Cursor) -> dict[str, Caller]:
        found = {}
        for row in cursor.rows(self._read_keys, {"org": self._org}):
            columns = dict(zip(_COLUMNS, row, strict=True))
            caller = _caller(columns)
            found[caller.key_hash] = caller
            if columns["old_hash"] is not None:
                old = _before_rotation(caller, columns["old_hash"], columns["old_until"])
                found[old.key_hash] = old
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
    "addresses",
    "old_hash",
    "old_until",
)


def _caller(row: dict[str, Any]) -> Caller:
    budgets: tuple[Budget, ...] = ()
    if row["budget_nanos"] is not None:
        budgets = (own_budget(str(row["id"]), row["budget_nanos"], row["budget_period"]),)
    jobs = str(row["jobs"])
    return Caller(
        key_id=str(row["id"]),
        key_hash=str(row["hash"]),
        principal=Principal(str(row["id"]), Role.known(str(row["role"]))),
        team=str(row["team"]),
        app=str(row["app"]),
        jobs=None if jobs == "*" else frozenset(jobs.split()),
        default_job=row["default_job"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        budgets=budgets,
        networks=parse_networks(str(row["addresses"]).split()),
    )


def _before_rotation(caller: Caller, old_hash: str, until: int) -> Caller:
    """The same key by its secret before, which ends at the latest when the key does."""
    ends = until if caller.expires_at is None else min(until, caller.expires_at)
    return replace(caller, key_hash=old_hash, expires_at=ends)


def own_budget(key_id: str, nanos: object, period: object) -> Budget:
    """The budget that a key has of its own: so many nano-dollars a period."""
    return Budget(
        name=f"key {key_id}",
        scope=Scope("key", key_id),
        limit=int(str(nanos)),
        unit="usd",
        period=period,  # type: ignore[arg-type]
        hard=True,
        contact="",
    )
