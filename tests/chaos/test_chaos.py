"""A short chaos run on each engine; `make chaos` is the long one, with another seed each time."""

from __future__ import annotations

import pytest

from tests.chaos.run import run

pytestmark = pytest.mark.anyio

SEED = 7
SECONDS = 6.0


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
async def test_whatever_happens_nothing_is_booked_below_the_providers_bill(engine: str) -> None:
    report = await run(engine, SEED, SECONDS)
    told = "\n".join(report.lines())
    print(told)
    assert report.offenders == [], told
    assert {"SIGKILL", "SIGTERM"} < report.storm.counts.keys(), "there was a storm"
    assert len(report.storm.counts) == 3, "the database went away"
    assert report.verdict.by_quality["reported"].attempts > 30, "the load was real"
    assert report.provider.faults > 10
    assert report.callers.told["left"] > 0
