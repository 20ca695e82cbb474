"""The proof by packets: a private job sends nothing but to the house, whatever happens there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.residency.packets import CLOUD

ALONE = ["unshare", "--user", "--map-root-user", "--net"]
HOUSE = ["127.0.0.1"]


@pytest.fixture(scope="module")
def seen() -> dict[str, object]:
    """What was sent where, in a network of its own."""
    try:
        subprocess.run([*ALONE, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no proof by packets here: networks of one's own are not allowed ({error})")
    done = subprocess.run(
        [*ALONE, sys.executable, "-m", "tests.residency.packets"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_a_private_job_is_answered_by_the_house_and_sends_nothing_elsewhere(
    seen: dict[str, object],
) -> None:
    assert seen["answers"] == [200, 200]
    assert seen["sent_while_up"] == HOUSE


def test_when_the_house_is_down_the_job_refuses_and_sends_nothing_elsewhere(
    seen: dict[str, object],
) -> None:
    assert set(seen["refusals"]) <= {502, 503}  # type: ignore[call-overload]
    assert seen["sent_while_down"] == HOUSE


def test_what_a_job_sends_that_may_leave_the_house_is_seen(seen: dict[str, object]) -> None:
    """Or the capture would prove nothing."""
    assert seen["abroad"] in (502, 503, 504)
    assert CLOUD in seen["sent_by_a_job_that_may"]  # type: ignore[operator]
