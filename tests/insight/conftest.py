"""The shipped rules, and books with the last months of the synthetic company in them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.cli.history import Plan, Written, company_rules, write_history
from gateway.jobs.loading import load
from gateway.jobs.routes import Routes
from gateway.prices.book import PriceBook
from gateway.store.database import Database
from tests.ledger.spending import moment
from tests.treasury.booking import opening

SHIPPED = Path(__file__).parents[2] / "routes.yaml"
NOW = moment("2026-11-22T14:30:00+00:00")
SCALE = 0.1


@dataclass(frozen=True)
class Past:
    """Three months of a small synthetic company, and the rules that it lives under."""

    database: Database
    routes: Routes
    written: Written
    now: int = NOW


@pytest.fixture(scope="session")
def shipped() -> Routes:
    """The routes.yaml that comes with the gateway."""
    return load(SHIPPED, book=PriceBook.bundled(), environment=os.environ)


@pytest.fixture(scope="module")
def past(shipped: Routes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    """The same for all tests of a file, which only read it."""
    folder = tmp_path_factory.mktemp("past")
    rules = company_rules(shipped, SCALE)
    with opening(f"sqlite:///{folder}/books.db") as database:
        written = write_history(database, "main", rules, Plan(3, NOW, scale=SCALE))
        yield Past(database, rules, written)
