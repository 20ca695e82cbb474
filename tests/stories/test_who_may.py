"""Keys at the door, jobs that a key may not use, paths that are not there, absent credentials."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest

from gateway.callers.registry import NewKey, Registry
from gateway.clock import MICROS, FrozenClock, SystemClock
from gateway.store.database import Database
from tests.gateways import SECRETS, TESTER
from tests.scripted import Script
from tests.stories.front_door import CHAT, QUESTION, House, a_house

pytestmark = pytest.mark.anyio

CHAIN = """
  chain:
    purpose: Falls back to another provider.
    owner: data
    targets: [openai/gpt-test, mistral/mistral-test]
    output_tokens: {default: 100, max: 400}
"""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with a_house(tmp_path_factory.mktemp("books")) as opened:
        yield opened


# ---- keys


def expired(house: House) -> str:
    return house.gateway.key(expires_at=house.gateway.gateway.clock.now() - 1)


@pytest.mark.parametrize(
    ("authorization", "says"),
    [
        (None, "no key was given"),
        ("", "no key was given"),
        ("Bearer", "no key in it"),
        ("Bearer ", "no key in it"),
        ("{key}", "another scheme"),
        ("Basic {key}", "another scheme"),
        ("Token {key}", "another scheme"),
        ("Bearer jg_wrong", "not known"),
        ("Bearer {key}x", "not known"),
        ("Bearer jg_é", "not known"),
        ("Bearer ' OR 1=1; --", "not known"),
        ("Bearer {expired}", "expired"),
    ],
)
async def test_without_a_good_key_nothing_is_looked_at(
    authorization: str | None, says: str, house: House
) -> None:
    headers = {}
    if authorization is not None:
        keys = {"key": house.key, "expired": expired(house)}
        headers["Authorization"] = authorization.format_map(keys)
    before = house.entries()

    told = await house.send("POST", CHAT, data=b"not even JSON", **headers)

    assert told.status == 401
    assert told.error["type"] == "authentication_error"
    assert told.error["code"] == "invalid_api_key"
    assert says in told.error["message"]
    assert house.key not in told.error["message"]
    assert told.headers["www-authenticate"] == "Bearer"
    assert house.is_untouched(before)
    # a good key forgives the address, so that this test is not slowed down by itself
    assert (await house.send("GET", "/v1/models", key=house.key)).status == 200


async def test_the_scheme_may_be_written_in_any_case(house: House) -> None:
    told = await house.send("GET", "/v1/models", Authorization=f"bearer  {house.key} ")

    assert told.status == 200


async def test_a_key_that_expires_while_the_gateway_runs_stops_working(tmp_path: Path) -> None:
    clock = FrozenClock()
    async with a_house(tmp_path, clock=clock) as house:
        key = house.gateway.key(expires_at=clock.now() + 60 * MICROS)

        clock.move(59.9)
        before = await house.send("GET", "/v1/models", key=key)
        clock.move(0.1)
        after = await house.send("GET", "/v1/models", key=key)

    assert (before.status, after.status) == (200, 401)
    assert "expired" in after.error["message"]


async def test_a_key_revoked_by_another_process_stops_working_within_a_second(
    house: House,
) -> None:
    elsewhere = Database(f"sqlite:///{house.gateway.gateway.database.file}")
    registry = Registry(elsewhere, "main", SystemClock())
    key_id, key = registry.create(NewKey(team="brand", app="site"), TESTER)
    # one that was made a moment ago works at once, too
    assert (await house.send("GET", "/v1/models", key=key)).status == 200

    registry.revoke(key_id, TESTER)
    revoked_at, status = time.monotonic(), 200
    while status == 200 and time.monotonic() < revoked_at + 5:
        told = await house.send("GET", "/v1/models", key=key)
        status = told.status
    elsewhere.close()

    assert time.monotonic() - revoked_at < 1
    assert status == 401
    assert "revoked" in told.error["message"]


async def test_guessing_is_slowed_down_and_a_good_key_is_forgiven(tmp_path: Path) -> None:
    async with a_house(tmp_path) as house:

        async def seconds_for(key: str, path: str = "/v1/models") -> float:
            began = time.monotonic()
            await house.send("GET", path, Authorization=key)
            return time.monotonic() - began

        free = [await seconds_for("Basic x") for _ in range(6)]
        slowed = [await seconds_for("Basic x") for _ in range(3)]
        elsewhere = await seconds_for("Basic x", "/admin/v1/entries")
        await seconds_for(f"Bearer {house.key}")
        forgiven = await seconds_for(f"Bearer {house.key}")
        refusals = house.gateway.metric("jobgate_authentication_failures_total")

    assert max(free) < 0.1
    assert all(seconds >= least for seconds, least in zip(slowed, (0.1, 0.2, 0.4), strict=True))
    assert elsewhere >= 0.8
    assert forgiven < 0.1
    assert refusals == 10


# ---- jobs


async def test_an_unknown_job_is_told_the_nearest_name_and_what_this_key_may_use(
    house: House,
) -> None:
    client = house.gateway.client(house.gateway.key(jobs=("extraction", "private")))

    with pytest.raises(openai.NotFoundError) as refused:
        await client.chat.completions.create(model="extractoin", messages=QUESTION)

    assert refused.value.code == "unknown_job"
    assert refused.value.param == "model"
    assert "did you mean 'extraction'?" in refused.value.message
    assert "extraction, gpt-4o, private" in refused.value.message
    assert refused.value.body["details"] == {"jobs": ["extraction", "gpt-4o", "private"]}  # type: ignore[index]


@pytest.mark.parametrize("how", ["model", "header", "alias"])
async def test_a_job_of_others_is_forbidden_however_it_is_named(how: str, house: House) -> None:
    client = house.gateway.client(house.gateway.key(jobs=("private", "volume")))
    model = {"model": "narrative", "header": "private", "alias": "gpt-4o"}[how]
    headers = {"X-Jobgate-Job": "narrative"} if how == "header" else {}
    before = house.entries()

    with pytest.raises(openai.PermissionDeniedError) as refused:
        await client.chat.completions.create(model=model, messages=QUESTION, extra_headers=headers)

    assert refused.value.code == "forbidden"
    assert "private, volume" in refused.value.message
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert house.is_untouched(before)


@pytest.mark.parametrize("role", ["admin", "finance"])
async def test_a_key_with_a_role_is_not_for_jobs(role: str, house: House) -> None:
    told = await house.send(
        "POST",
        CHAT,
        key=house.gateway.key(role=role),
        data=b'{"model":"extraction","messages":[{"role":"user","content":"Hi"}]}',
    )

    assert (told.status, told.error["code"]) == (403, "forbidden")
    assert f"role {role}" in told.error["message"]


async def test_a_header_cannot_lend_a_team_or_a_role(house: House) -> None:
    claims = {"X-Jobgate-Team": "other", "X-Jobgate-App": "other", "X-Jobgate-Role": "admin"}

    told = await house.post({"model": "extraction", "messages": QUESTION}, **claims)
    books = await house.send("GET", "/admin/v1/entries?request_id=x", key=house.key, **claims)

    (entry,) = house.gateway.entries(told.headers["x-jobgate-request-id"])
    assert (entry["team"], entry["app"]) == ("brand", "site")
    assert books.status == 403


# ---- paths and methods


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", CHAT, 405, "invalid_request"),
        ("DELETE", CHAT, 405, "invalid_request"),
        ("POST", "/v1/models", 405, "invalid_request"),
        ("POST", "/metrics", 405, "invalid_request"),
        ("GET", "/nothing", 404, "not_found"),
        ("POST", "/v1/completions", 404, "not_found"),
        ("POST", "/v1/chat/completions/", 404, "not_found"),
        ("POST", "/V1/chat/completions", 404, "not_found"),
        ("GET", "/admin/v1/nothing", 404, "not_found"),
        ("GET", "/%00", 404, "not_found"),
        ("GET", "/" + "x" * 5000, 404, "not_found"),
    ],
)
async def test_what_is_not_there_is_said_in_the_same_shape(
    method: str, path: str, status: int, code: str, house: House
) -> None:
    told = await house.send(method, path)

    assert (told.status, told.error["code"]) == (status, code)
    assert len(told.raw) < 1000
    if status == 405:
        assert told.headers["allow"]


# ---- credentials of providers


async def test_a_provider_without_a_key_is_told_with_the_variable_to_set(tmp_path: Path) -> None:
    async with a_house(tmp_path, environment={}) as house:
        told = await house.ask("extraction")

        assert (told.status, told.error["code"]) == (503, "no_credential")
        assert "OPENAI_API_KEY" in told.error["message"]
        assert told.headers["x-should-retry"] == "false"
        assert house.provider.requests == []
        assert house.is_untouched(0)
        # what needs no key is served all the same
        assert (await house.ask("private")).status == 200


async def test_a_target_without_a_key_is_passed_over_when_there_is_another(
    tmp_path: Path,
) -> None:
    only = {"MISTRAL_API_KEY": SECRETS["MISTRAL_API_KEY"]}
    async with a_house(tmp_path, jobs=CHAIN, environment=only) as house:
        house.provider.script = Script(text="Well.", input=10, output=2)
        told = await house.ask("chain")
        (entry,) = house.gateway.entries()

    assert told.status == 200
    assert told.headers["x-jobgate-target"] == "mistral/mistral-test"
    assert told.headers["x-jobgate-attempts"] == "1"
    assert (entry["target"], entry["attempt"]) == ("mistral/mistral-test", 1)
