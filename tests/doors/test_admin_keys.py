"""/admin/v1/keys: shown once, limited, rotated, revoked; and nobody helps themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.clock import MICROS, FrozenClock
from tests.doors.office import Desk, desk
from tests.scripted import Script
from tests.stories.front_door import CHAT, House, Told, a_house

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with a_house(tmp_path_factory.mktemp("books"), clock=FrozenClock()) as opened:
        yield opened


@pytest.fixture
def admin(house: House) -> Desk:
    return desk(house)


async def chat(house: House, key: str, job: str = "private") -> Told:
    house.provider.script = Script(text="Well.", input=10, output=2)
    body = b'{"model":"%s","messages":[{"role":"user","content":"Hi"}]}' % job.encode()
    house.gateway.gateway._fresh.refresh()
    return await house.send("POST", CHAT, key=key, data=body)


async def test_a_key_is_shown_once_and_works(house: House, admin: Desk) -> None:
    told = await admin.ask("POST", "/keys", {"team": "brand", "app": "site", "jobs": ["private"]})
    made = told.json
    secret = made.pop("key")

    seen = await admin.get(f"/keys/{made['id']}")
    listed = (await admin.ask("GET", "/keys?app=site")).raw.decode()

    assert seen == made
    assert (seen["team"], seen["app"], seen["role"], seen["state"]) == (
        *("brand", "site", "app", "in use"),
    )
    assert (seen["jobs"], seen["ends_in"]) == (["private"], secret[-4:])
    assert (told.status, told.headers["cache-control"]) == (201, "no-store")
    assert secret not in listed
    assert made["id"] in listed
    assert (await chat(house, secret)).status == 200
    assert (await chat(house, secret, "volume")).status == 403


async def test_rotation_keeps_the_key_and_both_secrets_for_the_overlap(
    house: House, admin: Desk
) -> None:
    clock = house.gateway.gateway.clock
    assert isinstance(clock, FrozenClock)
    made = await admin.make("/keys", team="brand", app="site")
    told = await admin.ask("POST", f"/keys/{made['id']}/rotate", {"overlap_seconds": 60})
    first, second = made["key"], told.json["key"]

    assert (told.json["id"], first != second) == (made["id"], True)
    assert [(await chat(house, key)).status for key in (first, second)] == [200, 200]
    assert {entry["key_id"] for entry in house.gateway.entries()} >= {made["id"]}
    clock.move(60)
    assert [(await chat(house, key)).status for key in (first, second)] == [401, 200]
    third = (await admin.ask("POST", f"/keys/{made['id']}/rotate", {"overlap_seconds": 0})).json
    assert [(await chat(house, key)).status for key in (second, third["key"])] == [401, 200]


async def test_rotating_twice_ends_the_oldest_secret_at_once(house: House, admin: Desk) -> None:
    made = await admin.make("/keys", team="brand", app="site")
    secrets = [made["key"]]
    for _ in range(2):
        told = await admin.ask("POST", f"/keys/{made['id']}/rotate", {})
        secrets.append(told.json["key"])

    assert [(await chat(house, key)).status for key in secrets] == [401, 200, 200]


async def test_rotating_does_not_renew_a_keys_own_budget(house: House, admin: Desk) -> None:
    budget = {"usd": "0.00001", "period": "month"}
    made = await admin.make("/keys", team="brand", app="site", budget=budget)
    assert (await chat(house, made["key"], "volume")).status == 402

    told = await admin.ask("POST", f"/keys/{made['id']}/rotate", {})

    assert (await chat(house, told.json["key"], "volume")).status == 402
    assert told.json["budget"] == {"usd": "0.000010000", "nanos": 10_000, "period": "month"}


async def test_an_expiry_can_be_moved_until_it_has_come(house: House, admin: Desk) -> None:
    clock = house.gateway.gateway.clock
    assert isinstance(clock, FrozenClock)
    made = await admin.make("/keys", team="brand", app="site")
    path = f"/keys/{made['id']}"
    clock.micros = clock.micros // MICROS * MICROS
    soon = (await admin.get("/keys"))["keys"][-1]["created_at"]

    refused = await admin.ask("PATCH", path, {"expires_at": soon})
    moved = await admin.ask("PATCH", path, {"expires_at": "2999-01-31T00:00:00+01:00"})

    assert (refused.status, "over already" in refused.error["message"]) == (400, True)
    assert moved.json["expires_at"] == "2999-01-30T23:00:00.000000Z"
    assert (await chat(house, made["key"])).status == 200
    assert (await admin.ask("PATCH", path, {"expires_at": None})).json["expires_at"] is None


async def test_a_revoked_key_is_refused_and_stays_revoked(house: House, admin: Desk) -> None:
    made = await admin.make("/keys", team="brand", app="site")
    path = f"/keys/{made['id']}"

    assert (await admin.ask("DELETE", path)).status == 204
    assert (await chat(house, made["key"])).status == 401
    assert (await admin.ask("DELETE", path)).status == 404
    assert (await admin.ask("PATCH", path, {"expires_at": None})).status == 400
    assert (await admin.ask("POST", f"{path}/rotate", {})).status == 400
    assert (await admin.get(path))["state"] == "revoked"


@pytest.mark.parametrize(
    ("addresses", "status"),
    [
        (["127.0.0.1"], 200),
        (["10.0.0.0/8", "127.0.0.0/8"], 200),
        (["10.0.0.0/8"], 403),
        (["::1"], 403),
    ],
)
async def test_a_key_is_used_from_its_addresses_alone_whatever_a_header_says(
    addresses: list[str], status: int, house: House, admin: Desk
) -> None:
    made = await admin.make("/keys", team="brand", app="site", addresses=addresses)
    house.gateway.gateway._fresh.refresh()
    claims = {"X-Forwarded-For": "10.0.0.1", "Forwarded": "for=10.0.0.1", "X-Real-IP": "10.0.0.1"}

    assert (await chat(house, made["key"])).status == status
    models = await house.send("GET", "/v1/models", key=made["key"], **claims)
    assert models.status == status
    elsewhere = desk(house, addresses=tuple(addresses))
    assert (await elsewhere.ask("GET", "/me")).status == status


# ---- nobody helps themselves


async def a_key_of(house: House, role: str, team: str = "brand") -> str:
    """The id of a key with a role, for others to try to change."""
    name = f"held-by-{team}"
    secret = house.gateway.key(team=team, app=name, role=role)
    rows = house.gateway._registry.all()
    return str(next(row["id"] for row in rows if row["hint"] == secret[-4:]))


MAKES = [
    ("platform", "app", "brand", 201),
    ("platform", "viewer", "brand", 403),
    ("platform", "admin", "brand", 403),
    ("platform@brand", "app", "brand", 201),
    ("platform@brand", "app", "legal", 403),
    ("platform@brand", "viewer@brand", "brand", 403),
    ("admin@brand", "viewer@brand", "brand", 201),
    ("admin@brand", "admin@brand", "brand", 201),
    ("admin@brand", "viewer", "brand", 403),
    ("admin@brand", "admin", "brand", 403),
    ("admin@brand", "viewer@legal", "legal", 403),
    ("admin", "finance@legal", "legal", 201),
    ("admin", "finance@legal", "brand", 400),
    ("admin", "root", "brand", 400),
    ("finance", "app", "brand", 403),
    ("viewer", "app", "brand", 403),
    ("app", "app", "brand", 403),
]


@pytest.mark.parametrize(("role", "made", "team", "status"), MAKES)
async def test_who_may_make_which_key(
    role: str, made: str, team: str, status: int, house: House
) -> None:
    house.gateway.key(team="legal", app="contracts")
    app = {"brand": "site", "legal": "contracts"}[team]

    told = await desk(house, role).ask("POST", "/keys", {"team": team, "app": app, "role": made})

    assert told.status == status, told.raw
    assert (b"jg_" in told.raw) is (status == 201)


TOUCHES = [
    ("platform", "app", "brand", True),
    ("platform", "viewer", "brand", False),
    ("platform", "admin", "brand", False),
    ("platform@brand", "app", "brand", True),
    ("platform@brand", "app", "legal", None),
    ("platform@brand", "viewer@brand", "brand", False),
    ("admin@brand", "viewer@brand", "brand", True),
    ("admin@brand", "viewer", "brand", False),
    ("admin@brand", "app", "legal", None),
    ("admin", "admin", "brand", True),
]


@pytest.mark.parametrize(("role", "held", "team", "may"), TOUCHES)
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("PATCH", "", {"jobs": None}), ("POST", "/rotate", {}), ("DELETE", "", None)],
)
async def test_who_may_change_rotate_or_revoke_which_key(
    method: str, path: str, body: Any, role: str, held: str, team: str, may: bool, house: House
) -> None:
    """A key with rights that one does not have is not taken over by rotating it."""
    key_id = await a_key_of(house, held, team)
    asking = desk(house, role)

    told = await asking.ask(method, f"/keys/{key_id}{path}", body)

    if may is None:
        assert told.status == 404, "a key of another team is not even there"
        assert (await asking.ask("GET", f"/keys/{key_id}")).status == 404
    else:
        assert told.status in ((200, 204) if may else (403,)), told.raw
    assert may or b"jg_" not in told.raw


@pytest.mark.parametrize("role", ["admin", "platform", "admin@brand", "platform@brand"])
async def test_nobody_changes_or_revokes_the_key_they_ask_with(role: str, house: House) -> None:
    asking = desk(house, role)
    own = f"/keys/{(await asking.get('/me'))['name']}"

    for method, body in [
        ("PATCH", {"role": "admin"}),
        ("PATCH", {"expires_at": None}),
        ("PATCH", {"addresses": []}),
        ("DELETE", None),
    ]:
        assert (await asking.ask(method, own, body)).status == 403
    assert (await asking.get(own))["role"] == role
    rotated = await asking.ask("POST", f"{own}/rotate", {})
    assert (rotated.status, rotated.json["role"]) == (200, role)


async def test_an_admin_changes_a_role_and_no_one_below_does(house: House, admin: Desk) -> None:
    key_id = await a_key_of(house, "viewer@brand")
    wanted = {"role": "finance@brand"}

    refused = await desk(house, "platform").ask("PATCH", f"/keys/{key_id}", wanted)
    raised = await desk(house, "admin@brand").ask("PATCH", f"/keys/{key_id}", {"role": "finance"})
    changed = await admin.ask("PATCH", f"/keys/{key_id}", wanted)

    assert (refused.status, raised.status) == (403, 403)
    assert (changed.status, changed.json["role"]) == (200, "finance@brand")


async def test_a_role_for_one_team_lists_its_keys_alone(house: House) -> None:
    house.gateway.key(team="legal", app="contracts")

    found = await desk(house, "viewer@brand").get("/keys")
    asked = await desk(house, "viewer@brand").get("/keys?team=legal")

    assert {key["team"] for key in found["keys"]} == {"brand"}
    assert asked == {"keys": []}


# ---- what a write may say


NEW = {"team": "brand", "app": "site"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "team"),
        ({**NEW, "id": "key_0123456789abcdef"}, "id"),
        ({**NEW, "hash": "0" * 64}, "hash"),
        ({**NEW, "org": "other"}, "org"),
        ({**NEW, "revoked_at": None}, "revoked_at"),
        ({**NEW, "jobs": []}, "jobs"),
        ({**NEW, "jobs": "private"}, "jobs"),
        ({**NEW, "jobs": ["privat"]}, "jobs"),
        ({**NEW, "default_job": "nothing"}, "jobs"),
        ({**NEW, "team": "a b"}, "team"),
        ({**NEW, "team": "nobody"}, "team"),
        ({**NEW, "app": "nothing"}, "app"),
        ({**NEW, "role": 7}, "role"),
        ({**NEW, "addresses": ["10.0.0.1/8"]}, None),
        ({**NEW, "expires_at": "tomorrow"}, "expires_at"),
        ({**NEW, "expires_at": "2999-01-01T00:00:00"}, "expires_at"),
        ({**NEW, "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({**NEW, "budget": {"usd": "-1", "period": "month"}}, "budget.usd"),
        ({**NEW, "budget": {"usd": "1", "period": "fortnight"}}, "budget.period"),
        ({**NEW, "budget": {"usd": 1.5, "period": "month"}}, "budget.usd"),
        ({**NEW, "budget": {"usd": "1", "period": "month", "hard": False}}, "budget.hard"),
        ([], None),
        ("text", None),
    ],
)
async def test_a_key_is_not_made_of_what_makes_no_sense(
    body: Any, param: str | None, house: House, admin: Desk
) -> None:
    before = len(house.gateway._registry.all())

    told = await admin.ask("POST", "/keys", body)

    assert told.status in (400, 404), told.raw
    if param is not None:
        assert told.error["param"] == param
    assert len(house.gateway._registry.all()) == before


@pytest.mark.parametrize(
    "body",
    [
        {"team": "legal"},
        {"app": "other"},
        {"budget": {"usd": "1000", "period": "month"}},
        {"budget_nanos": 10**15},
        {"revoked_at": None},
        {"key": "jg_mine"},
        {"role": None},
        {"addresses": None},
        {"addresses": ["everywhere"]},
        {"default_job": "volume", "jobs": ["private"]},
    ],
)
async def test_what_stays_as_it_is_cannot_be_written(body: Any, house: House, admin: Desk) -> None:
    key_id = await a_key_of(house, "app")
    before = await admin.get(f"/keys/{key_id}")

    told = await admin.ask("PATCH", f"/keys/{key_id}", body)

    assert told.status == 400
    assert await admin.get(f"/keys/{key_id}") == before


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"null", b'{"team":"\\ud800","app":"x"}'])
async def test_a_body_that_is_no_json_is_refused_in_openais_shape(
    data: bytes, house: House, admin: Desk
) -> None:
    told = await house.send(
        "POST", "/admin/v1/keys", key=admin.key, data=data, **{"Content-Type": "application/json"}
    )

    assert (told.status, told.error["code"]) == (400, "invalid_request")


async def test_a_body_that_breaks_off_is_told_without_a_field(house: House, admin: Desk) -> None:
    headers = {"Content-Type": "application/json"}
    told = await house.send("POST", "/admin/v1/keys", key=admin.key, data=b'{"team', **headers)

    assert (told.error["message"], told.error["param"]) == ("the body is not JSON", None)


async def test_a_body_is_not_read_before_its_sender_is_known(house: House) -> None:
    headers = {"Content-Type": "application/json"}
    huge = b'{"team":"' + b"x" * 200_000 + b'"}'

    unknown = await house.send("POST", "/admin/v1/keys", data=b"{", **headers)
    large = await house.send("POST", "/admin/v1/keys", key=desk(house).key, data=huge, **headers)

    assert unknown.status == 401
    assert large.status == 413
    await house.send("GET", "/v1/models", key=house.key)


@pytest.mark.parametrize("key_id", ["key_x", "%00", "' OR 1=1 --", "..%2f..", "key_" + "g" * 16])
async def test_an_id_that_cannot_be_one_is_refused(key_id: str, admin: Desk) -> None:
    told = await admin.ask("GET", f"/keys/{key_id}")

    assert told.status in (400, 404)
