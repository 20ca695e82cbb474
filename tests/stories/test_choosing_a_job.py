"""Which job a request is for, what the job adds to it, and the tags that land in the books."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.stories.front_door import QUESTION, House, Told, a_house

pytestmark = pytest.mark.anyio

VOICED = """
  voiced:
    purpose: Speaks in the voice of the brand.
    owner: brand
    targets: [{target}]
    system: "We say 'you', never 'one'."
    temperature: {{default: 0.5, min: 0.2, max: 0.8}}
    output_tokens: {{default: 300, max: 500}}
    tags: [stage]
"""
JOBS = VOICED.format(target="openai/gpt-test") + "".join(
    VOICED.format(target=target).replace("voiced:", f"voiced-{target.partition('/')[0]}:")
    for target in ("anthropic/claude-test", "gemini/gemini-test")
)
VOICE = "We say 'you', never 'one'."


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with a_house(tmp_path_factory.mktemp("books"), jobs=JOBS) as opened:
        yield opened


def entry_of(house: House, told: Told) -> dict[str, Any]:
    """The one entry of an answer."""
    assert told.status == 200, told.raw
    (entry,) = house.gateway.entries(told.headers["x-jobgate-request-id"])
    return entry


# ---- which job


@pytest.mark.parametrize(
    ("model", "header", "job"),
    [
        ("extraction", None, "extraction"),
        ("gpt-4o", None, "extraction"),  # an alias
        ("volume", "extraction", "extraction"),  # the header wins
        ("no-such-job", "extraction", "extraction"),
        ("", "gpt-4o", "extraction"),
        ("volume", "", "volume"),  # an empty header is none
        ("volume", "  ", "volume"),
    ],
)
async def test_the_job_is_the_headers_else_the_models(
    model: str, header: str | None, job: str, house: House
) -> None:
    headers = {} if header is None else {"X-Jobgate-Job": header}

    told = await house.post({"model": model, "messages": QUESTION}, **headers)

    assert told.headers["x-jobgate-job"] == job
    assert entry_of(house, told)["job"] == job


@pytest.mark.parametrize("body", [{}, {"model": ""}, {"model": "default"}, {"model": None}])
async def test_a_request_that_names_no_job_gets_the_keys_default_job(
    body: dict[str, Any], house: House
) -> None:
    client = house.gateway.client(house.gateway.key(default_job="private"))

    raw = await client.chat.completions.with_raw_response.create(
        **{"model": None, "messages": QUESTION, **body}  # type: ignore[arg-type]
    )

    assert raw.headers["x-jobgate-job"] == "private"


async def test_a_default_job_is_only_for_requests_that_name_none(house: House) -> None:
    client = house.gateway.client(house.gateway.key(default_job="private"))

    raw = await client.chat.completions.with_raw_response.create(model="volume", messages=QUESTION)

    assert raw.headers["x-jobgate-job"] == "volume"


async def test_the_model_that_answers_is_the_jobs_and_not_the_callers(house: House) -> None:
    told = await house.ask("gpt-4o")

    assert house.provider.requests[-1].body["model"] == "gpt-test"
    assert told.headers["x-jobgate-target"] == "openai/gpt-test"


# ---- a job, and no model of the caller's own


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"model": "extraction", "messages": QUESTION}),
        ("/v1/embeddings", {"model": "extraction", "input": "a text"}),
        ("/v1/responses", {"model": "extraction", "input": "a text"}),
        ("/v1/messages", {"model": "narrative", "messages": QUESTION, "max_tokens": 9}),
    ],
)
async def test_a_caller_cannot_name_other_models_beside_the_job(
    path: str, body: dict[str, Any], house: House
) -> None:
    wished = {
        "models": ["the/dearest"],
        "fallbacks": [{"model": "the/dearest"}],
        "route": "fallback",
        "preset": "dear",
    }
    data = json.dumps({**body, **wished})
    told = await house.send("POST", path, key=house.key, data=data)
    entry_of(house, told)
    sent = house.provider.requests[-1].body
    assert not wished.keys() & sent.keys()
    for name in wished:
        assert f"{name} dropped (the job chooses the model)" in told.headers["x-jobgate-changed"]


# ---- what the job adds and bounds


@pytest.mark.parametrize("job", ["voiced", "voiced-anthropic", "voiced-gemini"])
async def test_the_jobs_system_prompt_is_put_before_the_callers(job: str, house: House) -> None:
    own = {"role": "system", "content": "Be short."}

    told = await house.ask(job, messages=[own, *QUESTION])

    received = house.provider.requests[-1].body
    if job == "voiced":
        said = [m["content"] for m in received["messages"] if m["role"] == "system"]
        assert [m["role"] for m in received["messages"]] == ["system", "system", "user"]
    elif job == "voiced-anthropic":
        said = [block["text"] for block in received["system"]]
    else:
        said = [part["text"] for part in received["systemInstruction"]["parts"]]
    assert said == [VOICE, "Be short."]
    assert told.status == 200


@pytest.mark.parametrize(
    ("asked", "sent", "told_as"),
    [
        ({}, {"temperature": 0.5, "max_completion_tokens": 300}, None),
        ({"temperature": 0.6}, {"temperature": 0.6}, None),
        ({"temperature": 2}, {"temperature": 0.8}, "temperature=2->0.8 (job maximum)"),
        ({"temperature": 0}, {"temperature": 0.2}, "temperature=0->0.2 (job minimum)"),
        ({"max_tokens": 100}, {"max_tokens": 100}, None),
        ({"max_tokens": 501}, {"max_tokens": 500}, "max_tokens=501->500 (job limit)"),
        ({"max_tokens": 10**12}, {"max_tokens": 500}, "max_tokens=1000000000000->500 (job limit)"),
    ],
)
async def test_what_the_job_bounds_is_bounded_and_told(
    asked: dict[str, Any], sent: dict[str, Any], told_as: str | None, house: House
) -> None:
    told = await house.ask("voiced", **asked)

    received = house.provider.requests[-1].body
    assert {name: received[name] for name in sent} == sent
    assert told.headers.get("x-jobgate-changed") == told_as
    assert entry_of(house, told)["changed"] == (told_as or "")


# ---- tags

GONE = "no such field"


@pytest.mark.parametrize(
    ("header", "metadata", "tags", "passed_on"),
    [
        ("stage=draft", None, '{"stage":"draft"}', None),
        ("stage=draft, run=7", None, '{"stage":"draft","run":"7"}', None),
        (" stage = draft ", None, '{"stage":"draft"}', None),
        ("stage=a=b", None, '{"stage":"a=b"}', None),
        ("campaign=Frühling", None, '{"campaign":"Frühling"}', None),
        (None, {"stage": "final"}, '{"stage":"final"}', GONE),
        (None, {"stage": "final", "unknown": "x"}, '{"stage":"final"}', {"unknown": "x"}),
        ("stage=draft", {"stage": "final"}, '{"stage":"draft"}', GONE),  # the header wins
        ("", {"run": "7"}, '{"run":"7"}', GONE),
        (None, {"run": 7, "stage": None}, "", {"run": 7, "stage": None}),  # tags are text
        (None, {"run": 7, "stage": "a"}, '{"stage":"a"}', {"run": 7}),
        (None, "stage", "", "stage"),
    ],
)
async def test_tags_of_header_and_metadata_land_in_the_entry_and_go_no_further(
    header: str | None, metadata: object, tags: str, passed_on: object, house: House
) -> None:
    headers = {} if header is None else {"X-Jobgate-Tags": header}
    body = {"model": "extraction", "messages": QUESTION, "metadata": metadata}

    told = await house.post(body, **headers)

    assert entry_of(house, told)["tags"] == tags
    # the rest of the metadata goes to the provider as it came
    assert house.provider.requests[-1].body.get("metadata", GONE) == passed_on
    assert "x-jobgate-changed" not in told.headers


@pytest.mark.parametrize("job", ["narrative", "workspace"])
async def test_a_tag_is_no_field_that_a_provider_lacks(job: str, house: House) -> None:
    told = await house.ask(job, metadata={"stage": "draft"})

    assert entry_of(house, told)["stage"] == ""
    assert "metadata" in told.headers["x-jobgate-changed"], "the job has no such tag"


async def test_metadata_that_the_provider_is_to_store_stays_whole(house: House) -> None:
    told = await house.ask(metadata={"stage": "draft"}, store=True)

    assert entry_of(house, told)["stage"] == "draft"
    assert house.provider.requests[-1].body["metadata"] == {"stage": "draft"}


async def test_the_stage_has_a_column_of_its_own(house: House) -> None:
    told = await house.post(
        {"model": "extraction", "messages": QUESTION}, **{"X-Jobgate-Tags": "stage=draft"}
    )

    assert entry_of(house, told)["stage"] == "draft"


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("colour=red", "does not accept the tag 'colour'; it accepts: campaign, run, stage"),
        ("stage", "'stage' is not name=value"),
        ("stage=", "'stage=' is not name=value"),
        ("=draft", "'=draft' is not name=value"),
        ("stage=" + "x" * 129, "over 128 characters"),
        ("stage=a\tb", "not printable"),
        (",", "'' is not name=value"),
    ],
)
async def test_a_tag_that_is_not_one_is_refused(header: str, says: str, house: House) -> None:
    before = house.entries()

    told = await house.post(
        {"model": "extraction", "messages": QUESTION}, **{"X-Jobgate-Tags": header}
    )

    assert (told.status, told.error["param"]) == (400, "X-Jobgate-Tags")
    assert says in told.error["message"]
    assert house.is_untouched(before)


async def test_a_tag_in_the_metadata_that_is_too_long_is_refused_with_its_place(
    house: House,
) -> None:
    told = await house.ask("extraction", metadata={"stage": "x" * 129})

    assert (told.status, told.error["param"]) == (400, "metadata.stage")
