"""Every recorded chat answer, asked for through the gateway, is in the books as it should be.

Whose tokens are not beyond doubt is decided row by row, with the reason, in `decisions`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from openai.types.chat import ChatCompletionChunk

from gateway.metering.anthropic import anthropic
from gateway.metering.reading import gemini, ollama, openai_chat, openai_responses
from gateway.metering.usage import Usage
from tests.recorded.asking import Asked, Outcome, ask_all, replaying, used
from tests.recorded.decisions import DISPUTED, ERROR_INSIDE, MAPPED, OTHER_AMOUNT, searches_in
from tests.recorded.recordings import (
    Row,
    chats,
    every_row,
    expected_of,
    in_their_words,
    name_of,
    nanos,
)

READERS: dict[str, Callable[[dict[str, Any]], Usage | None]] = {
    "chat": openai_chat,
    "completions": openai_chat,
    "embeddings": openai_chat,
    "responses": openai_responses,
    "messages": anthropic,
    "generate": gemini,
    "gemini-embed": gemini,
    "ollama-chat": ollama,
    "ollama-generate": ollama,
}
CHATS = [pytest.param(row["id"], id=name_of(row)) for row in chats()]


def those(which: Callable[[Row], bool]) -> pytest.MarkDecorator:
    """Run a test for each of some rows."""
    rows = [row for row in chats() if which(row)]
    return pytest.mark.parametrize("row_id", [pytest.param(r["id"], id=name_of(r)) for r in rows])


def is_error(row: Row) -> bool:
    return row["status"] >= 400


def is_answer(row: Row) -> bool:
    return not is_error(row) and row["id"] not in ERROR_INSIDE


def tells_usage(row: Row) -> bool:
    return is_answer(row) and expected_of(row) is not None


def is_priced(row: Row) -> bool:
    return tells_usage(row) and row.get("price_calc") is not None


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Everything, asked once; every other caller asks for usage. The books are audited."""
    folder = tmp_path_factory.mktemp("recorded")
    asked = [Asked(row, wants_usage=index % 2 == 0) for index, row in enumerate(chats())]
    with replaying(folder) as url:
        found = asyncio.run(ask_all(asked, url, f"sqlite:///{folder}/books.db"))
    return {outcome.asked.row["id"]: outcome for outcome in found}


@those(tells_usage)
def test_a_recorded_usage_is_booked_to_the_token(row_id: str, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[row_id]
    row = outcome.asked.row
    decided = DISPUTED[row_id][0] if row["trust"] != "high" else {}
    assert outcome.status == 200
    assert len(outcome.attempts) == 1
    expected = {**(expected_of(row) or {}), **decided, **searches_in(row)}
    assert in_their_words(outcome.usage) == expected
    assert (outcome.entry["quality"], outcome.entry["outcome"]) == ("reported", "ok")


@those(lambda row: row.get("expected_billed") is not None)
def test_what_other_models_did_is_booked_beside_it(
    row_id: str, outcomes: dict[str, Outcome]
) -> None:
    outcome = outcomes[row_id]
    billed = {**in_their_words(Usage()), **outcome.asked.row["expected_billed"]}
    together = [used(entry) for entry in outcome.entries]
    assert sum(each.input_total for each in together) == billed["input_total"]
    assert sum(each.output_total for each in together) == billed["output_total"]
    parts = [part for part in outcome.asked.row["expected_parts"] if part["model"]]
    assert [(each["model"], each["quality"]) for each in outcome.beside] == [
        (part["model"], "reported") for part in parts
    ]
    for entry, part in zip(outcome.beside, parts, strict=True):
        assert (entry["input"], entry["output"]) == (part["input_total"], part["output_total"])


@those(lambda row: is_answer(row) and not tells_usage(row))
def test_an_answer_without_usage_is_counted(row_id: str, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[row_id]
    assert outcome.status == 200
    assert [entry["quality"] for entry in outcome.entries] == ["counted"]
    assert outcome.entry["amount_nanos"] > 0


@those(is_priced)
def test_the_entry_is_what_the_provider_invoices(row_id: str, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[row_id]
    (billed,) = outcome.billed
    invoiced, charged = nanos(billed["price"]["total_usd"]), outcome.asked.row.get("price_charged")
    if charged is not None:
        assert outcome.entry["amount_nanos"] == nanos(charged["total_usd"])
    if row_id in OTHER_AMOUNT:
        assert outcome.entry["amount_nanos"] != invoiced
    else:
        assert outcome.entry["amount_nanos"] == invoiced


def test_the_ledger_adds_up_to_the_invoice(outcomes: dict[str, Outcome]) -> None:
    settled = [
        outcome
        for outcome in outcomes.values()
        if is_priced(outcome.asked.row) and outcome.asked.row["id"] not in OTHER_AMOUNT
    ]
    invoice = sum(nanos(line["price"]["total_usd"]) for each in settled for line in each.billed)
    assert sum(each.entry["amount_nanos"] for each in settled) == invoice


@those(is_error)
def test_a_recorded_error_costs_nothing_and_says_what_the_provider_said(
    row_id: str, outcomes: dict[str, Outcome]
) -> None:
    outcome = outcomes[row_id]
    row = outcome.asked.row
    assert outcome.status == MAPPED[row["status"]]
    assert message_in(row["body"]) in outcome.body.decode()
    assert [entry["amount_nanos"] for entry in outcome.entries] == [0]
    assert outcome.usage == Usage()
    assert outcome.billed == []


@those(lambda row: row["id"] in ERROR_INSIDE)
def test_an_error_under_a_good_status_is_an_error(
    row_id: str, outcomes: dict[str, Outcome]
) -> None:
    outcome = outcomes[row_id]
    row = outcome.asked.row
    assert outcome.status == ERROR_INSIDE[row_id]
    assert message_in(row["body"].rpartition("data: ")[2]) in outcome.body.decode()
    if row["stream"]:
        assert (outcome.entry["quality"], outcome.entry["outcome"]) == ("counted", "provider_cut")
        assert b'"error"' in outcome.events[-1]
    else:
        assert outcome.entry["amount_nanos"] == 0


@those(lambda row: bool(row["stream"]) and is_answer(row))
def test_the_caller_sees_an_openai_stream(row_id: str, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[row_id]
    assert outcome.events[-1] == b"[DONE]"
    chunks = [ChatCompletionChunk.model_validate(chunk) for chunk in outcome.chunks]
    assert ends_once(chunks)
    with_usage = [chunk for chunk in chunks if chunk.usage is not None]
    if not (outcome.asked.wants_usage and tells_usage(outcome.asked.row)):
        assert with_usage == []
        return
    assert with_usage == chunks[-1:]
    assert chunks[-1].choices == []
    if row_id not in DISPUTED:
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.prompt_tokens == outcome.usage.input_total


def test_a_price_is_decided_only_where_there_is_something_to_decide() -> None:
    rows = {row["id"]: row for row in chats()}
    doubtful = {name for name, row in rows.items() if row["trust"] == "disputed"}
    assert set(DISPUTED) == doubtful
    assert set(OTHER_AMOUNT) <= set(rows)
    assert set(ERROR_INSIDE) <= set(rows)


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=name_of(row))
        for row in every_row()
        if row.get("usage_raw") and row["trust"] == "high"
    ],
)
def test_a_recorded_usage_of_any_call_is_read_to_the_token(row: Row) -> None:
    usage = READERS[row["api"]](row["usage_raw"])
    assert usage is not None
    expected = expected_of(row)
    assert expected is not None
    assert in_their_words(usage) == expected


def message_in(body: str) -> str:
    """The beginning of a provider's message in its error, as it stands in JSON."""
    return body.partition('"message"')[2].lstrip(': "')[:40]


def ends_once(chunks: Iterable[ChatCompletionChunk]) -> bool:
    """No choice of an answer says twice why it ended."""
    ended = [each.index for chunk in chunks for each in chunk.choices if each.finish_reason]
    return len(ended) == len(set(ended))
