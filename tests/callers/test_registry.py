"""Keys: shown once, kept as a hash, known to running gateways as soon as they change."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.callers.callers import Caller, KeyRing, UnknownKey
from gateway.callers.directory import Directory
from gateway.callers.registry import NewKey, Registry
from gateway.callers.roles import ADMIN, Permission, Role, authorise
from gateway.clock import MICROS, FrozenClock
from gateway.errors import (
    ConfigurationError,
    Conflict,
    Forbidden,
    NotAuthenticated,
    NotFound,
)
from gateway.store.database import Database
from gateway.store.schema import migrate
from tests.gateways import TESTER


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
    made = [registry.create(NEW, TESTER) for _ in range(20)]

    for key_id, secret in made:
        assert re.fullmatch(r"key_[0-9a-f]{16}", key_id)
        assert re.fullmatch(r"jg_[A-Za-z0-9]{43}", secret)
    assert len({secret for _, secret in made}) == len({key_id for key_id, _ in made}) == 20


def test_the_secret_is_in_no_file_of_the_database_and_its_hash_is(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/books.db")
    migrate(database)

    _, secret = Registry(database, "main", FrozenClock()).create(NEW, TESTER)
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    database.close()

    assert secret.encode() not in written
    assert secret[3:].encode() not in written
    assert hashlib.sha256(secret.encode()).hexdigest().encode() in written


def test_a_list_of_keys_has_neither_secrets_nor_hashes(registry: Registry) -> None:
    _, secret = registry.create(NEW, TESTER)

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
    key_id, secret = registry.create(new, TESTER)

    caller = proven(keys, secret)

    assert (caller.key_id, caller.team, caller.app, str(caller.principal.role)) == (
        key_id,
        "brand",
        "site",
        "app",
    )
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
    _, secret = registry.create(NEW, TESTER)

    with pytest.raises(UnknownKey):
        keys.authenticate(f"Bearer {secret}")
    assert keys.refresh() is True
    assert keys.authenticate(f"Bearer {secret}").app == "site"


def test_a_ring_reads_the_keys_again_only_when_one_has_changed(
    registry: Registry, keys: KeyRing
) -> None:
    assert keys.refresh() is False
    key_id, _ = registry.create(NEW, TESTER)
    assert [keys.refresh(), keys.refresh()] == [True, False]
    registry.revoke(key_id, TESTER)
    assert [keys.refresh(), keys.refresh()] == [True, False]


def test_a_revoked_key_is_refused_and_cannot_be_revoked_again(
    registry: Registry, keys: KeyRing
) -> None:
    key_id, secret = registry.create(NEW, TESTER)
    assert proven(keys, secret).revoked_at is None

    assert registry.revoke(key_id, TESTER) is True
    assert registry.revoke(key_id, TESTER) is False
    assert registry.revoke("key_unknown", TESTER) is False

    with pytest.raises(NotAuthenticated, match="revoked"):
        proven(keys, secret)


def test_a_key_ends_at_the_very_microsecond(
    registry: Registry, keys: KeyRing, clock: FrozenClock
) -> None:
    _, secret = registry.create(
        NewKey(team="brand", app="site", expires_at=clock.now() + 10), TESTER
    )

    clock.micros += 9
    assert proven(keys, secret)
    clock.micros += 1
    with pytest.raises(NotAuthenticated, match="expired"):
        proven(keys, secret)


def test_one_organisations_keys_open_nothing_elsewhere(
    registry: Registry, database: Database, clock: FrozenClock
) -> None:
    _, secret = registry.create(NEW, TESTER)
    elsewhere = KeyRing(database, "other", clock)
    elsewhere.refresh()

    with pytest.raises(UnknownKey):
        elsewhere.authenticate(f"Bearer {secret}")


def test_a_role_is_known_to_be_there_until_its_last_key_is_revoked(
    registry: Registry, keys: KeyRing
) -> None:
    assert not keys.has_role(Role(ADMIN))
    key_id, secret = registry.create(NewKey(team="platform", app="admin", role=ADMIN), TESTER)
    authorise(proven(keys, secret).principal, Permission.GRANT_ROLES)
    assert keys.has_role(Role(ADMIN))

    registry.revoke(key_id, TESTER)
    keys.refresh()

    assert not keys.has_role(Role(ADMIN))


def test_an_app_key_has_no_role(registry: Registry, keys: KeyRing) -> None:
    _, secret = registry.create(NEW, TESTER)

    with pytest.raises(Forbidden, match="viewer or finance or platform or admin"):
        authorise(proven(keys, secret).principal, Permission.READ_BOOKS)


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
        registry.create(new, TESTER)

    assert registry.all() == []
    assert keys.refresh() is False


def test_an_app_belongs_to_one_team(registry: Registry) -> None:
    registry.create(NEW, TESTER)

    with pytest.raises(ConfigurationError, match="belongs to team 'brand'"):
        registry.create(NewKey(team="other", app="site"), TESTER)

    assert len(registry.all()) == 1


def test_a_rotated_key_is_the_same_key_with_two_secrets_until_the_overlap_is_over(
    registry: Registry, keys: KeyRing, clock: FrozenClock
) -> None:
    key_id, first = registry.create(NewKey(team="brand", app="site", jobs=("a",)), TESTER)

    second, until = registry.rotate(key_id, 10, TESTER)

    assert until == clock.now() + 10 * MICROS
    assert proven(keys, first).key_id == proven(keys, second).key_id == key_id
    assert proven(keys, first).jobs == proven(keys, second).jobs == frozenset({"a"})
    clock.move(10)
    assert proven(keys, second).key_id == key_id
    with pytest.raises(NotAuthenticated, match="expired"):
        proven(keys, first)


def test_the_secret_before_does_not_outlive_its_key(
    registry: Registry, keys: KeyRing, clock: FrozenClock
) -> None:
    ends = clock.now() + 5 * MICROS
    key_id, first = registry.create(NewKey(team="brand", app="site", expires_at=ends), TESTER)
    second, _ = registry.rotate(key_id, 10, TESTER)
    clock.move(5)
    for secret in (first, second):
        with pytest.raises(NotAuthenticated, match="expired"):
            proven(keys, secret)


def test_a_revoked_key_is_refused_by_either_secret(registry: Registry, keys: KeyRing) -> None:
    key_id, first = registry.create(NEW, TESTER)
    second, _ = registry.rotate(key_id, 10, TESTER)

    registry.revoke(key_id, TESTER)

    for secret in (first, second):
        with pytest.raises(NotAuthenticated, match="revoked"):
            proven(keys, secret)


@pytest.mark.parametrize("overlap", [-1, 90 * 24 * 3600 + 1])
def test_an_overlap_is_not_for_ever(overlap: int, registry: Registry) -> None:
    key_id, _ = registry.create(NEW, TESTER)

    with pytest.raises(ConfigurationError, match="90 days"):
        registry.rotate(key_id, overlap, TESTER)


def test_what_a_key_may_do_is_changed_and_known_at_once(registry: Registry, keys: KeyRing) -> None:
    key_id, secret = registry.create(NEW, TESTER)
    wanted = {"role": "viewer@brand", "jobs": ("a",), "addresses": ("10.0.0.0/8",)}

    registry.change(key_id, wanted, TESTER)

    caller = proven(keys, secret)
    assert str(caller.principal.role) == "viewer@brand"
    assert caller.jobs == frozenset({"a"})
    caller.may_come_from("10.1.2.3")
    with pytest.raises(Forbidden, match="address"):
        caller.may_come_from("11.1.2.3")


def test_a_change_of_nothing_is_none(registry: Registry, keys: KeyRing) -> None:
    key_id, _ = registry.create(NEW, TESTER)
    keys.refresh()

    registry.change(key_id, {"role": "app", "jobs": None}, TESTER)

    assert keys.refresh() is False


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"team": "legal"}, "stays what it is"),
        ({"budget_nanos": 1}, "stays what it is"),
        ({"hash": "0"}, "stays what it is"),
        ({"role": "root"}, "role 'root'"),
        ({"role": "viewer@legal"}, "which is 'brand'"),
        ({"addresses": ("x",)}, "address 'x'"),
        ({"jobs": ("a",), "default_job": "b"}, "default job 'b'"),
        ({"expires_at": 1}, "over already"),
    ],
)
def test_a_change_that_makes_no_sense_is_not_made(
    wanted: dict[str, Any], says: str, registry: Registry
) -> None:
    key_id, _ = registry.create(NEW, TESTER)
    before = registry.all()

    with pytest.raises(ConfigurationError, match=says):
        registry.change(key_id, wanted, TESTER)

    assert registry.all() == before


def test_a_key_that_is_not_there_is_not_found(registry: Registry) -> None:
    with pytest.raises(NotFound):
        registry.change("key_0123456789abcdef", {"jobs": None}, TESTER)
    with pytest.raises(NotFound):
        registry.rotate("key_0123456789abcdef", 0, TESTER)


def test_a_key_can_be_wanted_only_for_an_app_that_is_there(registry: Registry) -> None:
    new = NewKey(team="brand", app="site", founds=False)
    with pytest.raises(NotFound, match="no team"):
        registry.create(new, TESTER)
    registry.create(NewKey(team="brand", app="other"), TESTER)
    with pytest.raises(NotFound, match="no app"):
        registry.create(new, TESTER)


def test_teams_and_apps_are_made_told_and_removed(
    database: Database, clock: FrozenClock, registry: Registry
) -> None:
    directory = Directory(database, "main", clock)
    directory.create_team("legal", "", TESTER)
    directory.create_app("contracts", "legal", "ann", TESTER)
    directory.tell_contact("team", "legal", "law@example.com", TESTER)
    key_id, _ = registry.create(NewKey(team="legal", app="contracts", founds=False), TESTER)

    assert [(t["name"], t["contact"]) for t in directory.teams()] == [("legal", "law@example.com")]
    assert [(a["name"], a["team"], a["contact"]) for a in directory.apps()] == [
        ("contracts", "legal", "ann")
    ]
    with pytest.raises(Conflict, match="has apps"):
        directory.remove_team("legal", TESTER)
    with pytest.raises(Conflict, match="in use"):
        directory.remove_app("contracts", TESTER)
    registry.revoke(key_id, TESTER)
    directory.remove_app("contracts", TESTER)
    directory.remove_team("legal", TESTER)
    assert (directory.teams(), directory.apps()) == ([], [])
    for again in (directory.remove_team, directory.remove_app):
        with pytest.raises(NotFound):
            again("legal", TESTER)
