"""How long a what-if takes: `python -m tests.bench.whatif_speed --entries 10000000`.

The entries are those of `audit_speed`, spread over thirty days. The other rules move every job to
another model, change every price and add budgets of each kind, so nothing can be skipped. Prints
entries, seconds, entries a second and the hits of budgets; `--within SECONDS` makes the exit
status 1 when it takes longer. `--keep FOLDER` leaves the books there, for another run.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

from gateway.cli.options import rules_of
from gateway.cli.whatif import progress_bar
from gateway.insight.whatif import Question, ask
from gateway.jobs.files import Files
from gateway.ledger.queries import Range
from gateway.store.database import Database
from tests.bench import audit_speed

DAYS = 30
RULES = """
version: 1
organisation: {{name: Bench}}
providers: {{provider: {{wire: openai, base_url: "http://127.0.0.1:1/v1"}}}}
models:
{models}
jobs:
{jobs}
budgets:
  all: {{scope: organisation, limit: {all} USD, period: month}}
  teams: {{scope: each team, limit: {team} USD, period: day}}
  apps: {{scope: each app, limit: 1000000 requests, period: hour}}
  stages: {{scope: {{tag: stage}}, limit: {all} USD, period: week}}
"""


def rules(entries: int) -> str:
    """Other targets at other prices, and budgets that some of the traffic goes over."""
    models = [
        f"  provider/model-{m}: {{price: {{input: {0.11 * (m + 1):.2f},"
        f" cache_read: {0.011 * (m + 1):.3f}, output: {0.44 * (m + 1):.2f}}}}}"
        for m in range(audit_speed.MODELS)
    ]
    jobs = [
        f"  job-{j}: {{purpose: Work., owner: data, targets: [provider/model-{j},"
        f" provider/model-{j + 1}], output_tokens: {{max: 90}}, tags: [stage]}}"
        for j in range(4)
    ]
    dollars = max(1, entries // 10_000)
    return RULES.format(
        models="\n".join(models), jobs="\n".join(jobs), all=dollars, team=max(1, dollars // 200)
    )


def make(url: str, entries: int) -> None:
    """Books whose entries are spread over the days; in a process of its own."""
    audit_speed.MICROS_EACH = DAYS * 86_400_000_000 // entries
    audit_speed.make(url, entries)


def main() -> None:
    """Fill, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--database-url", default="")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--within", type=float, default=float("inf"))
    parser.add_argument("--keep", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        url = options.database_url or f"sqlite:///{folder}/books.db"
        if options.database_url or not (folder / "books.db").exists():
            maker = multiprocessing.get_context("spawn").Process(
                target=make, args=(url, options.entries)
            )
            maker.start()
            maker.join()
            if maker.exitcode:
                sys.exit("the entries could not be made")
        (folder / "routes.yaml").write_text(rules(options.entries))
        files = Files.at(folder / "routes.yaml")
        rules_of(files)
        database = Database(url)
        began, used = time.perf_counter(), os.times()
        with progress_bar() as progress:
            question = Question(files, Range(0, 2**61), options.processes)
            found = ask(database, "main", rules_of, question, progress)
        seconds, now = time.perf_counter() - began, os.times()
        database.close()
    entries = found.tally.entries
    cpu = sum(now[:4]) - sum(used[:4])
    print(
        f"{entries:,} entries in {seconds:.1f} s: {entries / seconds:,.0f} a second by"
        f" {options.processes} processes, {cpu:.1f} s of processor; {len(found.hits)} hits"
    )
    if entries != options.entries or seconds > options.within:
        sys.exit(1)


if __name__ == "__main__":
    main()
