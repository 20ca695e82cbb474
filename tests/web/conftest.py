"""Who needs a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chromium import MISSING, is_left_out


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the tests in a real browser out where it is missing, and say so."""
    if collection_path.name == "test_browser.py" and is_left_out():
        config.get_terminal_writer().line(f"\n{MISSING}")
        return True
    return None
