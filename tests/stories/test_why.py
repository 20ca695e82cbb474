"""GET /admin/v1/requests/{id}: why a request went as it did, to those who may read the books."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import FrozenClock
from gateway.doors.refusals import KEPT_AT_MOST, Refusals
from gateway.errors import BadRequest, BudgetExhausted
from gateway.ledger.entries import HEADER, Decision
from gateway.pipeline.asked import Trace
from tests.gateways import SECRETS
from tests.scripted import Script
from tests.stories.front_door import CHAT, QUESTION, House, Told, a_house

pytestmark = pytest.mark.anyio

ANSWER = Script(text="Two words", input=100, output=2)
COST = 100 * 2_500 + 2 * 10_000
JOBS = """
  chain:
    purpose: Its first target has no key, its second another form.
    owner: data
    targets: [gemini/gemini-test, anthropic/claude-test, mistral/mistral-test]
    output_tokens: {default: 100, max: 400}
  downgrading:
    purpose: A cheaper model will do.
    owner: data
    targets: [openai/gpt-test, anthropic/claude-test, openai/gpt-spare]
    output_tokens: {default: 1000, max: 4000}
    retries: 0
    wait_for_room: 0
    when_short: downgrade
"""
BUDGETS = """
  all: {scope: organisation, limit: 100 USD, period: month}
  teams: {scope: each team, limit: 1000000 tokens, period: month, enforce: warn}
  tight: {scope: {job: downgrading}, limit: 0.02 USD, period: month}
"""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    secrets = {name: value for name, value in SECRETS.items() if name != "GEMINI_API_KEY"}
    books = tmp_path_factory.mktemp("books")
    async with a_house(books, jobs=JOBS, budgets=BUDGETS, environment=secrets) as opened:
        yield opened


async def why(house: House, told: Told, key: str | None = None) -> Any:
    """The page of a request, by the id that its answer had."""
    found = await look(house, told.headers["x-jobgate-request-id"], key)
    assert found.status == 200, found.raw
    assert found.json["request_id"] == told.headers["x-jobgate-request-id"]
    return found.json


async def look(house: House, request_id: str, key: str | None = None) -> Told:
    path = f"/admin/v1/requests/{request_id}"
    return await house.send("GET", path, key=key or house.gateway.admin_key)


# ---- who asked, and which rule chose the job


@pytest.mark.parametrize(
    ("model", "header", "default", "by", "alias"),
    [
        ("extraction", None, None, "model", ""),
        ("gpt-4o", None, None, "model", "gpt-4o"),
        ("whatever they like", "extraction", None, "header", ""),
        ("volume", "gpt-4o", None, "header", "gpt-4o"),
        ("default", None, "extraction", "default", ""),
        ("", None, "extraction", "default", ""),
        ("gpt-4o", None, "volume", "model", "gpt-4o"),
    ],
)
async def test_the_rule_that_chose_the_job_is_told(
    model: str, header: str | None, default: str | None, by: str, alias: str, house: House
) -> None:
    house.provider.script = ANSWER
    key = house.gateway.key(default_job=default)
    body = json.dumps({"model": model, "messages": QUESTION}).encode()
    named = {} if header is None else {"X-Jobgate-Job": header}

    told = await house.send("POST", CHAT, key=key, data=body, **named)
    page = await why(house, told)

    job = page["job"]
    assert (job["name"], job["chosen_by"], job["alias"]) == ("extraction", by, alias)
    assert ("by its alias gpt-4o" in job["said"]) is bool(alias)
    assert (page["asked_by"]["team"], page["asked_by"]["app"]) == ("brand", "site")
    assert page["asked_by"]["key_id"].startswith("key_")
    assert page["rules"]["version"] == 1
    assert page["rules"]["hash"] == house.gateway.gateway.routes.version
    assert b"whatever they like" not in json.dumps(page).encode()


# ---- the bound, the budgets and the cost


async def test_bound_usage_prices_and_budgets_are_told_to_the_nano(house: House) -> None:
    house.provider.script = ANSWER
    before = house.gateway.balances()
    spent = before[("all", "")]["spent"] if ("all", "") in before else 0

    page = await why(house, await house.ask(max_tokens=5000))

    (attempt,) = page["attempts"]
    assert page["state"] == "ended"
    assert attempt["changed"] == ["max_tokens=5000->4000 (job limit)"]
    bound = attempt["bound"]
    assert bound["nanos"] > 4000 * 10_000
    assert (bound["requests"], attempt["outcome"], attempt["quality"]) == (1, "ok", "reported")
    by_name = {row["budget"]: row for row in attempt["budgets"]}
    assert by_name.keys() == {"all", "teams"}
    money, tokens = by_name["all"], by_name["teams"]
    assert money["before"] == {"spent": spent, "held": 0, "limit": 100 * 10**9}
    assert (money["taken"], money["booked"]) == (bound["nanos"], COST)
    assert money["after"] == {"spent": spent + COST, "held": 0, "limit": 100 * 10**9}
    assert money["now"] == money["after"]
    assert (tokens["subject"], tokens["unit"], tokens["hard"]) == ("brand", "tokens", False)
    assert (tokens["taken"], tokens["booked"]) == (bound["tokens"], 102)
    (entry,) = attempt["entries"]
    assert [(p["class"], p["count"], p["usd"]) for p in entry["products"]] == [
        ("input", 100, "0.000250000"),
        ("output", 2, "0.000020000"),
    ]
    assert page["amount_nanos"] == entry["amount_nanos"] == COST
    assert page["amount_usd"] == "0.000270000"


async def test_what_others_did_meanwhile_is_in_now_and_not_in_after(house: House) -> None:
    house.provider.script = ANSWER
    first = await house.ask()
    await house.ask()

    money = (await why(house, first))["attempts"][0]["budgets"][0]

    assert money["now"]["spent"] == money["after"]["spent"] + COST


async def test_a_request_under_way_is_told_with_what_is_held_for_it(house: House) -> None:
    house.provider.script = Script(text="Two words", stall_before_chunk=1)
    stream = await house.gateway.client().chat.completions.create(
        model="extraction", messages=QUESTION, stream=True
    )
    request_id = stream.response.headers["x-jobgate-request-id"]
    page = (await look(house, request_id)).json
    house.provider.resume()
    _ = [chunk async for chunk in stream]

    (attempt,) = page["attempts"]
    assert (page["state"], attempt["outcome"]) == ("under way", "under way")
    assert (attempt["entries"], attempt["recorded_at"], page["amount_nanos"]) == ([], None, 0)
    money = attempt["budgets"][0]
    assert money["taken"] == attempt["bound"]["nanos"] == money["now"]["held"] > 0
    assert (await look(house, request_id)).json["state"] == "ended"


# ---- targets, and why they were not asked


async def test_failed_attempts_and_targets_passed_over_stand_in_their_order(house: House) -> None:
    house.provider.scripts(Script(status=503, retry_after=0), Script(status=500), ANSWER)
    page = await why(house, await house.ask("with-fallback"))

    assert [(t["target"], t["asked"], t["outcome"]) for t in page["targets"]] == [
        ("openai/gpt-test", True, "provider_busy"),
        ("openai/gpt-test", True, "provider_broken"),
        ("openai/gpt-spare", True, "ok"),
    ]
    assert [a["amount_nanos"] for a in page["attempts"]] == [0, 0, 100 * 1_000 + 2 * 4_000]


async def test_a_provider_without_a_key_is_passed_over(house: House) -> None:
    house.provider.script = ANSWER
    page = await why(house, await house.ask("chain"))

    assert [(t["target"], t["asked"], t.get("why")) for t in page["targets"]] == [
        ("gemini/gemini-test", False, "no_credential"),
        ("anthropic/claude-test", True, None),
    ]
    assert page["targets"][0]["said"] == "its provider has no API key"


async def test_a_target_that_does_not_speak_the_form_is_passed_over(house: House) -> None:
    house.provider.script = Script(input=12)
    body = json.dumps({"model": "chain", "input": "one text"}).encode()
    told = await house.send("POST", "/v1/embeddings", key=house.key, data=body)

    found = (await why(house, told))["targets"]

    assert [(t["target"], t.get("why")) for t in found] == [
        ("gemini/gemini-test", "no_such_form"),
        ("anthropic/claude-test", "no_such_form"),
        ("mistral/mistral-test", None),
    ]


async def test_an_open_breaker_is_told(house: House) -> None:
    breaker = house.gateway.gateway._live.now.parts.breakers["openai/gpt-test"]
    for _ in range(5):
        breaker.failed()
    house.provider.script = ANSWER
    try:
        told = await house.ask("with-fallback")
    finally:
        breaker.succeeded()

    first, second = (await why(house, told))["targets"]
    assert (first["target"], first["why"]) == ("openai/gpt-test", "upstream_busy")
    assert "breaker was open" in first["said"]
    assert (second["target"], second["outcome"]) == ("openai/gpt-spare", "ok")


async def test_a_downgrade_names_the_budget_that_was_short(house: House) -> None:
    house.provider.script = ANSWER
    page = await why(house, await house.ask("downgrading", max_tokens=4000))

    assert [(t["target"], t.get("why"), t.get("budget")) for t in page["targets"]] == [
        ("openai/gpt-test", "budget_exhausted", "tight"),
        ("anthropic/claude-test", "budget_exhausted", "tight"),
        ("openai/gpt-spare", None, None),
    ]


# ---- what was refused


async def test_a_refusal_is_remembered_with_its_figures(house: House) -> None:
    before = house.entries()
    told = await house.ask("downgrading", n=8, max_tokens=4000)
    assert told.status == 402

    page = await why(house, told)

    assert (page["state"], page["attempts"], page["amount_nanos"]) == ("refused", [], 0)
    assert (page["job"]["name"], page["asked_by"]["team"]) == ("downgrading", "brand")
    refusal = page["refusal"]
    assert (refusal["status"], refusal["code"]) == (402, "budget_exhausted")
    assert refusal["details"] == told.error["details"]
    assert refusal["message"] == told.error["message"]
    assert [t["target"] for t in page["targets"]] == [
        "openai/gpt-test",
        "anthropic/claude-test",
        "openai/gpt-spare",
    ]
    assert house.is_untouched(before)


async def test_words_that_may_quote_a_request_are_not_remembered(house: House) -> None:
    told = await house.ask("a-secret-name")
    assert b"a-secret-name" in told.raw

    found = await look(house, told.headers["x-jobgate-request-id"])

    assert found.json["refusal"]["code"] == "unknown_job"
    assert (found.json["job"], found.json["refusal"]["message"]) == (None, "")
    assert b"a-secret-name" not in found.raw


async def test_a_failure_after_attempts_shows_both_books_and_answer(house: House) -> None:
    house.provider.script = Script(status=500, error="it said a-secret-word")
    told = await house.ask()

    page = await why(house, told)

    assert [a["outcome"] for a in page["attempts"]] == ["provider_broken"]
    assert (page["state"], page["refusal"]["status"]) == ("ended", 502)
    assert "a-secret-word" not in json.dumps(page)


@pytest.mark.parametrize("asked", ["req_unknown", "%27%20OR%201=1", "%00", "%ff", "x" * 128])
async def test_a_request_that_never_was_is_not_found(asked: str, house: House) -> None:
    told = await look(house, asked)

    assert (told.status, told.error["code"]) == (404, "not_found")
    assert "A refused one leaves no entry" in told.error["message"]


async def test_another_process_does_not_know_a_refusal(tmp_path: Path) -> None:
    async with a_house(tmp_path) as first:
        told = await first.ask(n=0)
        admin = first.gateway.admin_key
        assert (await look(first, told.headers["x-jobgate-request-id"])).status == 200
    async with a_house(tmp_path) as second:
        gone = await look(second, told.headers["x-jobgate-request-id"], admin)
    assert gone.status == 404


def test_refusals_are_bounded_and_nobody_without_a_key_is_remembered() -> None:
    kept = Refusals(FrozenClock())
    kept.note(BadRequest("no"), Trace("req_nobody"))
    caller: Any = type("Caller", (), {"key_id": "key_1", "team": "brand", "app": "site"})()
    for number in range(KEPT_AT_MOST + 1):
        trace = Trace(f"req_{number}", caller=caller, decision=Decision(by=HEADER))
        kept.note(BudgetExhausted("no room", details={"left": number}), trace)

    assert kept.of("req_nobody") is None
    assert kept.of("req_0") is None
    last = kept.of(f"req_{KEPT_AT_MOST}")
    assert last is not None
    assert (last.details, last.decision.by) == ({"left": KEPT_AT_MOST}, "header")
    assert kept.of("req_1") is not None


# ---- who may see it


@pytest.mark.parametrize("refused", [False, True])
async def test_a_team_sees_its_own_requests_and_budgets_alone(refused: bool, house: House) -> None:
    house.provider.script = ANSWER
    told = await house.ask(n=0 if refused else 1)
    own = house.gateway.key(app="desk-own", role="viewer@brand")
    other = house.gateway.key(team="press", app="desk-other", role="viewer@press")
    plain = house.gateway.key(app="no-desk")
    request_id = told.headers["x-jobgate-request-id"]

    page = await why(house, told, own)

    assert page["state"] == ("refused" if refused else "ended")
    for attempt in page["attempts"]:
        assert [row["budget"] for row in attempt["budgets"]] == ["teams"]
        assert attempt["budgets_not_shown"] == 1
    assert (await look(house, request_id, other)).status == 404
    assert (await look(house, request_id, plain)).status == 403
