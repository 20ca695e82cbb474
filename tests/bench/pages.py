"""How long each page takes over the books of a synthetic company: the median of its answers.

    python -m tests.bench.pages                        two years, half a million entries
    python -m tests.bench.pages --months 24 --scale 20 ten million; takes an hour to write
    python -m tests.bench.pages --database sqlite:///var/synthetic.db    books that are there

The bound is 300 ms for each page at the median, on two cores with nothing else to do. What is
measured is the whole way: session, policy, books, template, and the answer over loopback. The
forecast is made before, as it is for every visitor but the first in a quarter of an hour.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from gateway.app import Gateway
from gateway.cli.history import Plan, company_rules, write_history
from gateway.clock import SystemClock
from gateway.jobs.loading import load
from gateway.settings import Settings
from tests.gateways import BOOK, SECRETS, RunningGateway, serving
from tests.treasury.booking import opening, rows
from tests.web.visiting import visiting

BOUND_SECONDS = 0.3
TIMES = 21
PAGES = (
    "/",
    "/?month={month}",
    "/budgets",
    "/budgets/one?name=everything",
    "/jobs",
    "/jobs/extraction",
    "/requests",
    "/requests?job=private&quality=counted",
    "/requests?outcome=caller_left",
    "/requests?from=2020-01-01&team=nobody",
    "/requests?tag=run%3Dnobody",
    "/reports",
    "/reports?month={month}",
    "/reports/closing?month={month}",
    "/callers",
    "/alerts",
)


async def measure(gateway: RunningGateway, month: str) -> bool:
    """Ask for every page; True when all are quick enough."""
    quick = True
    async with visiting(gateway, "admin") as visitor:
        for part in ("/parts/so-far", "/parts/ends", "/parts/budgets"):
            began = time.perf_counter()
            await visitor.get(part)
            print(f"{part:<44} {time.perf_counter() - began:8.3f} s, once in a quarter of an hour")
        for page in PAGES:
            took = []
            for _ in range(TIMES):
                began = time.perf_counter()
                seen = await visitor.get(page.format(month=month))
                took.append(time.perf_counter() - began)
                assert seen.status == 200, (page, seen.status)
            median = statistics.median(took)
            quick = quick and median <= BOUND_SECONDS
            print(f"{page:<44} {median * 1000:6.0f} ms, at the most {max(took) * 1000:6.0f} ms")
    return quick


async def serve(rules: Any, url: str, month: str) -> bool:
    """Serve the books, and measure."""
    admin: list[Any] = []
    settings = Settings(routes=Path("routes.yaml"), database_url=url, port=0)
    gateway = Gateway(settings, rules, BOOK, environment=SECRETS, announce=admin.append)
    async with serving(gateway, admin) as opened:
        return await measure(opened, month)


def main() -> int:
    """Write the books if need be, and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", default="")
    parser.add_argument("--months", type=int, default=24)
    parser.add_argument("--scale", type=float, default=1.0)
    asked = parser.parse_args()
    rules = company_rules(load(Path("routes.yaml"), book=BOOK, environment=SECRETS), asked.scale)
    with tempfile.TemporaryDirectory() as folder:
        url = asked.database or f"sqlite:///{folder}/books.db"
        with opening(url) as database:
            if not asked.database:
                plan = Plan(asked.months, SystemClock().now(), scale=asked.scale)
                write_history(database, "main", rules, plan)
            count, rolled = (
                rows(database, f"SELECT COUNT(*) FROM {table}")[0][0]
                for table in ("entries", "rollups")
            )
            month = time.strftime("%Y-%m", time.gmtime(time.time() - 60 * 86_400))
        print(f"{count:,} entries, {rolled:,} roll-ups")
        return 0 if asyncio.run(serve(rules, url, month)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
