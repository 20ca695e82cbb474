"""The database that the dashboards' queries are run on, and who needs a real Prometheus."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.postgres import postgres_server, postgres_url
from tests.promtool import MISSING, is_left_out

__all__ = ["postgres_server", "postgres_url"]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the tests on a real Prometheus out where it is missing, and say so."""
    if collection_path.name == "test_on_prometheus.py" and is_left_out():
        config.get_terminal_writer().line(f"\n{MISSING}")
        return True
    return None
