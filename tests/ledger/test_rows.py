"""An entry's values stand where its table has them."""

from __future__ import annotations

import pytest
from sqlalchemy import insert

from gateway.ledger.entries import COLUMNS, Decision, Draft, Ending, Entry, rollup_rows
from gateway.metering.usage import CLASSES, Usage
from gateway.prices.rates import NO_COST
from gateway.store.statements import RowStatement
from gateway.store.tables import ROLLUP_DIMENSIONS, ROLLUP_SUMS, EntryRow

HOUR = 3_600_000_000

USAGE = Usage(**{name: 1000 + number for number, name in enumerate(CLASSES)})
DRAFT = Draft(
    request_id="the request",
    attempt=2,
    key_id="the key",
    team="the team",
    app="the app",
    job="the job",
    target="the target",
    provider="the provider",
    residency="on_prem",
    confined=True,
    model="the model",
    stream=False,
    tags={"stage": "draft"},
    rates=NO_COST,
    changed=("one", "two"),
    decision=Decision("header"),
)
ENDING = Ending(
    kind="charge",
    outcome="ok",
    quality="reported",
    usage=USAGE,
    amount_nanos=31,
    tokens=32,
    model_served="another model",
    upstream_id="theirs",
    service_tier="flex",
    reason="because",
    author="somebody",
)
ENTRY = Entry(
    id="the id",
    draft=DRAFT,
    ending=ENDING,
    admitted_at=5 * HOUR + 7,
    recorded_at=5 * HOUR + 9,
    request_count=1,
    ceiling_nanos=33,
    ceiling_tokens=34,
    balances="3 17",
)
WRITTEN = {
    "org": "the house",
    "stage": "draft",
    "tags": '{"stage":"draft"}',
    "changed": "one; two",
    "decision": '{"by":"header"}',
}
"""Columns that are not simply a field of the entry or of one of its parts."""


@pytest.mark.parametrize("column", [name for name in COLUMNS if name != "prices"])
def test_each_column_has_the_field_of_its_name(column: str) -> None:
    parts = (USAGE, ENTRY, ENDING, DRAFT)
    stated = next((getattr(part, column) for part in parts if hasattr(part, column)), None)
    assert ENTRY.row("the house")[column] == WRITTEN.get(column, stated)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_the_statement_takes_the_values_in_that_order(engine: str) -> None:
    statement = insert(EntryRow.__table__)  # type: ignore[attr-defined]
    assert RowStatement(statement, engine).names == COLUMNS


def test_entries_of_one_hour_and_one_place_are_one_roll_up() -> None:
    (row,) = rollup_rows([ENTRY.values("the house"), ENTRY.values("the house")])
    names = ("org", "hour", *ROLLUP_DIMENSIONS, *ROLLUP_SUMS)
    rolled = dict(zip(names, row, strict=True))
    entry = ENTRY.row("the house")
    assert {name: rolled[name] for name in ROLLUP_DIMENSIONS} == {
        name: entry[name] for name in ROLLUP_DIMENSIONS
    }
    assert (rolled["org"], rolled["hour"], rolled["entries"]) == ("the house", 5, 2)
    assert all(rolled[name] == 2 * entry[name] for name in ROLLUP_SUMS if name != "entries")
