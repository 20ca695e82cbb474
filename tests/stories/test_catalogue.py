"""To a client the jobs are the models: the list, one of them, aliases, and only what is allowed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import openai
import pytest

from tests.stories.front_door import House, a_house

pytestmark = pytest.mark.anyio

ALL = {
    "extraction",
    "gpt-4o",
    "narrative",
    "private",
    "unpriced",
    "volume",
    "with-fallback",
    "workspace",
}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with a_house(tmp_path_factory.mktemp("books")) as opened:
        yield opened


async def test_a_key_for_all_jobs_sees_all_jobs_and_aliases(house: House) -> None:
    listed = [model async for model in house.gateway.client(house.key).models.list()]

    assert [model.id for model in listed] == sorted(ALL)
    assert {model.object for model in listed} == {"model"}
    assert {model.owned_by for model in listed if model.id == "narrative"} == {"brand"}


async def test_a_key_sees_its_own_jobs_and_the_aliases_that_lead_to_them(house: House) -> None:
    client = house.gateway.client(house.gateway.key(jobs=("extraction", "private")))

    listed = [model.id async for model in client.models.list()]

    assert listed == ["extraction", "gpt-4o", "private"]


async def test_one_model_tells_its_job_its_targets_and_where_they_are(house: House) -> None:
    client = house.gateway.client(house.key)

    by_alias = (await client.models.retrieve("gpt-4o")).model_dump()
    private = (await client.models.retrieve("private")).model_dump()

    assert by_alias["id"] == "gpt-4o"
    assert by_alias["jobgate"]["job"] == "extraction"
    assert private["jobgate"]["targets"] == ["ollama/llama-test"]
    assert private["jobgate"]["residency"] == "on_prem"


@pytest.mark.parametrize("name", ["narrative", "no-such-job", "a/b/c", "%00", "%ff", "x" * 5000])
async def test_a_model_that_is_not_this_keys_is_not_found(house: House, name: str) -> None:
    key = house.gateway.key(jobs=("extraction",))

    told = await house.send("GET", f"/v1/models/{name}", key=key)

    assert told.status == 404
    assert told.error["code"] == "unknown_job"
    assert told.error["param"] == "model"
    assert told.error["details"] == {"jobs": ["extraction", "gpt-4o"]}
    assert "extraction, gpt-4o" in told.error["message"]
    assert len(told.raw) < 1000


async def test_without_a_key_nothing_is_listed(house: House) -> None:
    client = house.gateway.client("jg_wrong")

    with pytest.raises(openai.AuthenticationError) as refused:
        await client.models.list()

    assert refused.value.code == "invalid_api_key"
    assert refused.value.response.headers["x-jobgate-request-id"].startswith("req_")
