"""Where we count or presume, the books have no less than the provider may charge.

Each of these was found by a chaos run: an answer that was lost on its way, tokens that no text
shows, and what was under way when we hung up.
"""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from gateway.pipeline.endings import IN_FLIGHT_TOKENS
from tests.endings.bills import check_entry, money, only_entry, said
from tests.endings.callers import calling
from tests.gateways import routes_for, running
from tests.scripted import Script, ScriptedProvider

pytestmark = pytest.mark.anyio

HELLO = [{"role": "user", "content": "hello"}]
FORMS: dict[str, dict[str, Any]] = {
    "chat/completions": {"model": "extraction", "messages": HELLO},
    "embeddings": {"model": "extraction", "input": "hello"},
    "responses": {"model": "extraction", "input": "hello"},
    "messages": {"model": "narrative", "messages": HELLO, "max_tokens": 50},
}


@pytest.mark.parametrize("lost", ["", "{}", "[]", "<html>Sorry</html>", '{"id": "1", "usa'])
@pytest.mark.parametrize("form", FORMS)
async def test_an_answer_that_cannot_be_read_may_have_been_made_all_the_same(
    form: str, lost: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Two words", body=lost)
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        headers = {"authorization": f"Bearer {gateway.key()}"}
        async with httpx.AsyncClient() as http:
            answer = await http.post(f"{gateway.url}/v1/{form}", json=FORMS[form], headers=headers)
        entry = only_entry(gateway, answer.headers["x-jobgate-request-id"])
    assert answer.status_code == 502
    assert said(entry) == ("provider_broken", "presumed")
    check_entry(entry, money(provider.bill))


@pytest.mark.parametrize("form", FORMS)
async def test_an_error_that_came_as_a_success_costs_nothing(
    form: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(body=json.dumps({"error": {"message": "Overheated."}}))
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        headers = {"authorization": f"Bearer {gateway.key()}"}
        async with httpx.AsyncClient() as http:
            answer = await http.post(f"{gateway.url}/v1/{form}", json=FORMS[form], headers=headers)
        entry = only_entry(gateway, answer.headers["x-jobgate-request-id"])
    assert (answer.status_code, entry["amount_nanos"]) == (502, 0)
    assert "Overheated." in answer.text


@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_chat_template_adds_is_counted_too(
    stream: bool, provider: ScriptedProvider, sqlite_url: str
) -> None:
    """OpenAI bills 8 tokens for `hello`: three a message, one its role, three to open the reply."""
    provider.script = Script(text="Two words", input=8, output=2, omit_usage=True)
    async with running(routes_for(provider.url), sqlite_url) as gateway, calling(gateway) as caller:
        heard = await caller.ask("extraction", stream=stream, messages=HELLO)
        entry = only_entry(gateway, heard.request_id)
    assert (entry["input"], entry["output"], entry["quality"]) == (8, 2, "counted")


@pytest.mark.parametrize("form", FORMS)
async def test_an_answer_without_usage_is_answered_and_counted(
    form: str, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Two words", input=1, omit_usage=True)
    async with running(routes_for(provider.url), sqlite_url) as gateway:
        headers = {"authorization": f"Bearer {gateway.key()}"}
        async with httpx.AsyncClient() as http:
            answer = await http.post(f"{gateway.url}/v1/{form}", json=FORMS[form], headers=headers)
        entry = only_entry(gateway, answer.headers["x-jobgate-request-id"])
    assert (answer.status_code, *said(entry)) == (200, "ok", "counted")
    assert entry["output"] == (0 if form == "embeddings" else 2)
    check_entry(entry, money(provider.bill))


@pytest.mark.parametrize(("limit", "booked"), [(3, 3), (100, 1 + IN_FLIGHT_TOKENS)])
async def test_what_may_have_been_made_before_we_hung_up_is_booked_up_to_what_was_asked_for(
    limit: int, booked: int, provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="one two three", stall_before_chunk=1)
    routes = routes_for(provider.url, timeouts="{idle: 0.1}")
    async with running(routes, sqlite_url) as gateway, calling(gateway) as caller:
        heard = await caller.ask("extraction", stream=True, max_tokens=limit)
        entry = only_entry(gateway, heard.request_id)
    assert heard.error["code"] == "upstream_timed_out"
    assert (entry["output"], entry["quality"]) == (booked, "counted")
    check_entry(entry, money(provider.bill))


@pytest.mark.parametrize(
    ("cut", "booked"), [("end", 2), ("reset", 2 + IN_FLIGHT_TOKENS), ("eof", 2 + IN_FLIGHT_TOKENS)]
)
async def test_what_was_on_its_way_when_a_connection_broke_is_booked_too(
    cut: Any, booked: int, provider: ScriptedProvider, sqlite_url: str
) -> None:
    """A body that the provider ends well has all that was made, though not the whole answer."""
    provider.script = Script(text="one two three", cut_after_chunk=2, cut_mode=cut)
    async with running(routes_for(provider.url), sqlite_url) as gateway, calling(gateway) as caller:
        heard = await caller.ask("extraction", stream=True)
        entry = only_entry(gateway, heard.request_id)
    assert (entry["output"], entry["quality"]) == (booked, "counted")
