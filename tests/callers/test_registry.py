"""Keys: shown once, kept as a hash, known to running gateways as soon as they change."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.callers.callers import ADMIN, FINANCE, Caller, KeyRing, UnknownKey
from gateway.callers.registry import NewKey, Registry
from gateway.clock import FrozenClock
from gateway.errors import ConfigurationError, Forbidden, NotAuthenticated
from gateway.store.database import Database
from gateway.store.schema import migrate


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    migrate(opened)
    yield opened
    opened.close()


@pytest.fixture
def registry(database: Database, clock: FrozenClock) -> Registry:
    return Registry(database, "main", clock)


@pytest.fixture
def keys(database: Database, clock: FrozenClock) -> KeyRing:
    ring = KeyRing(database, "main", clock)
    ring.refresh()
    return ring


def proven(keys: KeyRing, secret: str) -> Caller:
    keys.refresh()
    return keys.authenticate(f"Bearer {secret}")


NEW = NewKey(team="brand", app="site")


def test_a_key_looks_like_one_and_no_two_are_alike(registry: Registry) -> None:
    made = [registry.create(NEW) for _ in range(20)]

    for key_id, secret in made:
        assert re.fullmatch(r"key_[0-9a-f]{16}", key_id)
        assert re.fullmatch(r"jg_[A-Za-z0-9]{43}", secret)
    assert len({secret for _, secret in made}) == len({key_id for key_id, _ in made}) == 20


def test_the_secret_is_in_no_file_of_the_database_and_its_hash_is(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/books.db")
    migrate(database)

    _, secret = Registry(database, "main", FrozenClock()).create(NEW)
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    database.close()

    assert secret.encode() not in written
    assert secret[3:].encode() not in written
    assert hashlib.sha256(secret.encode()).hexdigest().encode() in written


def test_a_list_of_keys_has_neither_secrets_nor_hashes(registry: Registry) -> None:
    _, secret = registry.create(NEW)

    (row,) = registry.all()

    assert row["hint"] == secret[-4:]
    assert "hash" not in row
    assert secret not in str(row)


def test_a_key_stands_for_what_it_was_made_for(registry: Registry, keys: KeyRing) -> None:
    new = NewKey(
        team="brand",
        app="site",
        jobs=("a", "b"),
        default_job="a",
        budget_nanos=5_000_000_000,
        budget_period="day",
    )
    key_id, secret = registry.create(new)

    caller = proven(keys, secret)

    assert (caller.key_id, caller.team, caller.app, caller.role) == (key_id, "brand", "site", "app")
    assert (caller.jobs, caller.default_job) == (frozenset({"a", "b"}), "a")
    (budget,) = caller.budgets
    assert (budget.limit, budget.unit, budget.period, budget.hard) == (
        5_000_000_000,
        "usd",
        "day",
        True,
    )
    assert (budget.scope.kind, budget.scope.value) == ("key", key_id)


def test_a_new_key_is_unknown_until_the_ring_looks_again(registry: Registry, keys: KeyRing) -> None:
    _, secret = registry.create(NEW)

    with pytest.raises(UnknownKey):
        keys.authenticate(f"Bearer {secret}")
    assert keys.refresh() is True
    assert keys.authenticate(f"Bearer {secret}").app == "site"


def test_a_ring_reads_the_keys_again_only_when_one_has_changed(
    registry: Registry, keys: KeyRing
) -> None:
    assert keys.refresh() is False
    key_id, _ = registry.create(NEW)
    assert [keys.refresh(), keys.refresh()] == [True, False]
    registry.revoke(key_id)
    assert [keys.refresh(), keys.refresh()] == [True, False]


def test_a_revoked_key_is_refused_and_cannot_be_revoked_again(
    registry: Registry, keys: KeyRing
) -> None:
    key_id, secret = registry.create(NEW)
    assert proven(keys, secret).revoked_at is None

    assert registry.revoke(key_id) is True
    assert registry.revoke(key_id) is False
    assert registry.revoke("key_unknown") is False

    with pytest.raises(NotAuthenticated, match="revoked"):
        proven(keys, secret)


def test_a_key_ends_at_the_very_microsecond(
    registry: Registry, keys: KeyRing, clock: FrozenClock
) -> None:
    _, secret = registry.create(NewKey(team="brand", app="site", expires_at=clock.now() + 10))

    clock.micros += 9
    assert proven(keys, secret)
    clock.micros += 1
    with pytest.raises(NotAuthenticated, match="expired"):
        proven(keys, secret)


def test_one_organisations_keys_open_nothing_elsewhere(
    registry: Registry, database: Database, clock: FrozenClock
) -> None:
    _, secret = registry.create(NEW)
    elsewhere = KeyRing(database, "other", clock)
    elsewhere.refresh()

    with pytest.raises(UnknownKey):
        elsewhere.authenticate(f"Bearer {secret}")


def test_a_role_is_known_to_be_there_until_its_last_key_is_revoked(
    registry: Registry, keys: KeyRing
) -> None:
    assert not keys.has_role(ADMIN)
    key_id, secret = registry.create(NewKey(team="platform", app="admin", role=ADMIN))
    proven(keys, secret).must_be(ADMIN, FINANCE)
    assert keys.has_role(ADMIN)

    registry.revoke(key_id)
    keys.refresh()

    assert not keys.has_role(ADMIN)


def test_an_app_key_has_no_role(registry: Registry, keys: KeyRing) -> None:
    _, secret = registry.create(NEW)

    with pytest.raises(Forbidden, match="admin or finance"):
        proven(keys, secret).must_be(ADMIN, FINANCE)


@pytest.mark.parametrize(
    ("new", "says"),
    [
        (NewKey(team="", app="site"), "team ''"),
        (NewKey(team="brand", app="a b"), "app 'a b'"),
        (NewKey(team="brand", app="x" * 65), "at most 64"),
        (NewKey(team="'; DROP TABLE keys; --", app="site"), "team"),
        (NewKey(team="brand", app="site", role="root"), "role 'root'"),
        (NewKey(team="brand", app="site", jobs=("a",), default_job="b"), "default job 'b'"),
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(
    new: NewKey, says: str, registry: Registry, keys: KeyRing
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(says)):
        registry.create(new)

    assert registry.all() == []
    assert keys.refresh() is False


def test_an_app_belongs_to_one_team(registry: Registry) -> None:
    registry.create(NEW)

    with pytest.raises(ConfigurationError, match="belongs to team 'brand'"):
        registry.create(NewKey(team="other", app="site"))

    assert len(registry.all()) == 1
