"""The books that the audit's speed is measured with balance, and it reads them a part at a time."""

from __future__ import annotations

from itertools import pairwise

import pytest

from gateway.ledger import reading
from gateway.ledger.audit import audit
from tests.bench.audit_speed import fill
from tests.treasury.booking import opening

ENTRIES = 5_000


def test_the_measured_books_balance_on_both_engines(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_ENTRIES_OF_A_PART", 700)
    told: list[int] = []
    with opening(database_url) as database:
        fill(database, ENTRIES)
        findings, entries = audit(database, "main", progress=lambda read, _all: told.append(read))
    assert (findings, entries) == ([], ENTRIES)
    assert max(after - before for before, after in pairwise(told)) <= 700
