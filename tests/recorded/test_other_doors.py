"""Every recorded response, embedding and message, asked for at the door of its own format.

Bytes go by as the provider sent them; the books have what it bills.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gateway.metering.usage import Usage
from tests.recorded.asking import Asked, Outcome, ask_all, replaying
from tests.recorded.decisions import DISPUTED, MAPPED, OTHER_AMOUNT, searches_in
from tests.recorded.recordings import (
    Row,
    every_row,
    expected_of,
    in_their_words,
    name_of,
    nanos,
)

FORMS = ("responses", "embeddings", "messages")
ROWS = [row for row in every_row() if row["api"] in FORMS]


def those(which: Callable[[Row], bool]) -> pytest.MarkDecorator:
    """Run a test for each of some rows."""
    cases = [pytest.param(row["id"], id=name_of(row)) for row in ROWS if which(row)]
    return pytest.mark.parametrize("row_id", cases)


def is_error(row: Row) -> bool:
    return bool(row["status"] >= 400)


def is_priced(row: Row) -> bool:
    return not is_error(row) and row.get("price_calc") is not None


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Everything, asked once in its own form. The books are audited."""
    folder = tmp_path_factory.mktemp("doors")
    asked = [Asked(row, form=row["api"]) for row in ROWS]
    with replaying(folder) as url:
        found = asyncio.run(ask_all(asked, url, f"sqlite:///{folder}/books.db"))
    return {outcome.asked.row["id"]: outcome for outcome in found}


@those(lambda row: not is_error(row))
def test_at_every_door_a_recorded_usage_is_booked_to_the_token(
    row_id: str, outcomes: dict[str, Outcome]
) -> None:
    outcome = outcomes[row_id]
    row = outcome.asked.row
    decided = DISPUTED[row_id][0] if row["trust"] != "high" else {}
    assert outcome.status == 200
    assert len(outcome.attempts) == 1
    expected = {**(expected_of(row) or {}), **decided, **searches_in(row)}
    assert in_their_words(outcome.usage) == expected
    assert (outcome.entry["quality"], outcome.entry["outcome"]) == ("reported", "ok")
    assert outcome.entry["model_served"] == (row["model_served"] or "")


@those(is_priced)
def test_at_every_door_the_entry_is_what_the_provider_invoices(
    row_id: str, outcomes: dict[str, Outcome]
) -> None:
    outcome = outcomes[row_id]
    (billed,) = outcome.billed
    if row_id not in OTHER_AMOUNT:
        assert outcome.entry["amount_nanos"] == nanos(billed["price"]["total_usd"])


def test_at_every_door_the_ledger_adds_up_to_the_invoice(outcomes: dict[str, Outcome]) -> None:
    settled = [
        outcome
        for row_id, outcome in outcomes.items()
        if is_priced(outcome.asked.row) and row_id not in OTHER_AMOUNT
    ]
    invoice = sum(nanos(line["price"]["total_usd"]) for each in settled for line in each.billed)
    assert sum(each.entry["amount_nanos"] for each in settled) == invoice


@those(is_error)
def test_at_every_door_a_recorded_error_costs_nothing(
    row_id: str, outcomes: dict[str, Outcome]
) -> None:
    outcome = outcomes[row_id]
    assert outcome.status == MAPPED[outcome.asked.row["status"]]
    assert [entry["amount_nanos"] for entry in outcome.entries] == [0]
    assert outcome.usage == Usage()
    assert outcome.billed == []


@those(lambda row: not is_error(row) and not row["stream"])
def test_an_answer_in_its_own_form_is_passed_on_byte_for_byte(
    row_id: str, outcomes: dict[str, Outcome]
) -> None:
    outcome = outcomes[row_id]
    assert outcome.body == outcome.asked.row["body"].encode()


@those(lambda row: not is_error(row) and row["stream"] and row["id"] not in OTHER_AMOUNT)
def test_the_events_of_a_stream_in_its_own_form_are_the_providers(
    row_id: str, outcomes: dict[str, Outcome]
) -> None:
    outcome = outcomes[row_id]
    sent = outcome.asked.row["body"].encode().replace(b"\r\n", b"\n").split(b"\n\n")
    said = [event.rpartition(b"data: ")[2].strip() for event in sent if b"data: " in event]
    assert outcome.events == [event for event in said if event != b"[DONE]"]
