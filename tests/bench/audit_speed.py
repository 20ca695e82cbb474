"""How long the audit takes: `python -m tests.bench.audit_speed --entries 10000000`.

The database itself makes the entries, 500 a second: seven teams with three apps each, twelve
models with prices of their own, budgets by the month and by the minute, and now and then a
release, a lapse or a correction. They balance, so the audit has to look at all of them. Prints
entries, seconds, entries a second and the most memory that a process of the audit had; the books
are in a temporary folder and go with it. `--database-url` names an empty database to take instead.

`--within SECONDS` makes the exit status 1 when it takes longer.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable

import msgspec
from sqlalchemy import insert

from gateway.ledger.audit import audit
from gateway.prices.rates import NO_COST, Rates
from gateway.store.database import Cursor, Database
from gateway.store.schema import migrate
from gateway.store.statements import RowStatement
from gateway.store.tables import ROLLUP_DIMENSIONS, ROLLUP_SUMS, Balance, EntryRow

MICROS_EACH = 2_000
FIRST = 1_793_620_800_000_000
TOGETHER = 100_000
"""Entries that are made in one transaction."""
MODELS = 12
TEAMS, APPS = 7, 21
SINGLE, TEAM, MINUTE = 1, 2, 100
"""Where the numbers begin of the balances of the organisation, the teams, the apps' minutes."""
KIND = (
    "CASE WHEN n % 1009 = 7 THEN 'adjust' WHEN n % 101 = 5 THEN 'lapse'"
    " WHEN n % 53 = 3 THEN 'release' ELSE 'charge' END"
)
MINUTE_OF = f"(n * {MICROS_EACH} / 60000000)"


def rates(model: int) -> Rates:
    """Whole nano-dollars a token: 100 to 1,200 for input, a tenth when cached, four times out."""
    price = (model + 1) * 100_000_000
    changes = {"input": price, "cache_read": price // 10, "output": 4 * price, "reasoning": 0}
    return msgspec.structs.replace(NO_COST, **changes)


def by_model(values: list[str]) -> str:
    """SQL for what differs from model to model."""
    cases = " ".join(f"WHEN {number} THEN {value}" for number, value in enumerate(values))
    return f"CASE n % {MODELS} {cases} END"


def columns(sqlite: bool) -> dict[str, str]:
    """SQL for each column of entry number `n`, of kind `kind`."""
    number = "printf('%012x', n)" if sqlite else "lpad(to_hex(n), 12, '0')"
    before = "printf('%012x', n - 1)" if sqlite else "lpad(to_hex(n - 1), 12, '0')"
    charged = "CASE WHEN kind = 'charge' THEN {} ELSE 0 END"
    tokens = "n % 1000 + n % 300 + n % 100"
    amount = f"(n % {MODELS} + 1) * (100 * (n % 1000) + 10 * (n % 300) + 400 * (n % 100))"
    lapsed = "CASE kind WHEN 'lapse' THEN {} WHEN 'charge' THEN {} ELSE 0 END"
    empty = {
        column.name: "0" if column.name in _NUMBERS else "''"
        for column in EntryRow.__table__.columns  # type: ignore[attr-defined]
    }
    return empty | {
        "org": "'main'",
        "id": f"'req_' || {number} || '.1'",
        "kind": "kind",
        "request_id": f"'req_' || {number}",
        "attempt": "1",
        "admitted_at": f"{FIRST} + n * {MICROS_EACH}",
        "recorded_at": f"{FIRST} + n * {MICROS_EACH} + 700000",
        "key_id": f"'key_' || (n % {APPS})",
        "team": f"'team-' || (n % {TEAMS})",
        "app": f"'app-' || (n % {APPS})",
        "job": "'job-' || (n % 4)",
        "target": f"'provider/model-' || (n % {MODELS})",
        "provider": "'provider'",
        "residency": "'cloud'",
        "confined": "0" if sqlite else "false",
        "model": f"'model-' || (n % {MODELS})",
        "model_served": f"'model-2026-01-01-' || (n % {MODELS})",
        "upstream_id": f"'chatcmpl-' || {number}",
        "stage": "'stage-' || (n % 2)",
        "tags": "'{\"stage\":\"stage-' || (n % 2) || '\"}'",
        "stream": "0" if sqlite else "false",
        "outcome": "'ok'",
        "quality": "CASE kind WHEN 'lapse' THEN 'presumed' ELSE 'reported' END",
        "input": charged.format("n % 1000"),
        "cache_read": charged.format("n % 300"),
        "output": charged.format("n % 100"),
        "tokens": lapsed.format("5000", tokens),
        "request_count": "CASE kind WHEN 'charge' THEN 1 WHEN 'lapse' THEN 1 ELSE 0 END",
        "amount_nanos": lapsed.format("10000000000", amount),
        "ceiling_nanos": "10000000000",
        "ceiling_tokens": "5000",
        "prices": by_model([f"'{msgspec.json.encode(rates(m)).decode()}'" for m in range(MODELS)]),
        "balances": f"'{SINGLE} ' || ({TEAM} + n % {TEAMS}) || ' '"
        f" || ({MINUTE} + {MINUTE_OF} * {APPS} + n % {APPS})",
        "corrects": f"CASE kind WHEN 'adjust' THEN 'req_' || {before} || '.1' ELSE '' END",
        "reason": "CASE kind WHEN 'adjust' THEN 'credit' ELSE '' END",
        "author": "CASE kind WHEN 'adjust' THEN 'finance' ELSE '' END",
    }


_NUMBERS = {
    name for name, field in EntryRow.model_fields.items() if field.annotation in (int, bool)
}


def fill(database: Database, entries: int) -> None:
    """Make entries, their roll-ups, and their balances."""
    sqlite = database.is_sqlite
    made = columns(sqlite)
    for first in range(1, entries + 1, TOGETHER):
        last = min(entries, first + TOGETHER - 1)
        with database.writing() as cursor:
            cursor.run(_insert(made, first, last, sqlite), {})
    dimensions, sums = ", ".join(ROLLUP_DIMENSIONS), [n for n in ROLLUP_SUMS if n != "entries"]
    with database.writing() as cursor:
        if not sqlite:
            cursor.run("SET LOCAL statement_timeout = 0", {})
        cursor.run(
            f"INSERT INTO rollups (org, hour, {dimensions}, entries, {', '.join(sums)})"
            f" SELECT org, admitted_at / 3600000000, {dimensions}, COUNT(*),"
            f" {', '.join(f'SUM({name})' for name in sums)} FROM entries"
            f" GROUP BY org, admitted_at / 3600000000, {dimensions}",
            {},
        )
        make_balances(cursor, database.engine_name)
    if not sqlite:
        analyse(database)


def analyse(database: Database) -> None:
    """What PostgreSQL does by itself some minutes after many rows have come."""
    session = database.session()
    try:
        session.run("ANALYZE")
    finally:
        session.close()


def _insert(made: dict[str, str], first: int, last: int, sqlite: bool) -> str:
    numbers = (
        f"RECURSIVE numbers(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM numbers"
        f" WHERE n < {last})"
        if sqlite
        else f"numbers AS (SELECT n FROM generate_series({first}::bigint, {last}) n)"
    )
    text = (
        f"INSERT INTO entries ({', '.join(made)}) WITH {numbers},"
        f" made AS (SELECT n, {KIND} AS kind FROM numbers)"
        f" SELECT {', '.join(made.values())} FROM made"
    )
    return text if sqlite else text.replace("%", "%%")


def make_balances(cursor: Cursor, engine: str) -> None:
    """A balance for each number that entries name, with what they add up to."""
    kinds = {SINGLE: "usd", TEAM: "tokens", MINUTE: "requests"}
    spent: dict[int, list[int]] = {}
    for numbers, *amounts in cursor.rows(
        "SELECT balances, SUM(amount_nanos), SUM(tokens), SUM(request_count)"
        " FROM entries GROUP BY balances",
        {},
    ):
        for number in map(int, numbers.split()):
            found = spent.setdefault(number, [0, 0, 0])
            for place, amount in enumerate(amounts):
                found[place] += int(amount)
    names = list(Balance.model_fields)
    rows = []
    for number, (nanos, tokens, requests) in spent.items():
        unit = kinds[max(first for first in kinds if first <= number)]
        amount = {"usd": nanos, "tokens": tokens, "requests": requests}[unit]
        rows.append(
            dict.fromkeys(names, 0)
            | {"org": "main", "id": number, "budget": f"b{number}", "subject": ""}
            | {"unit": unit, "period": "forever", "hard": True, "ends_at": 2**62}
            | {"limit_value": 2**62, "spent": amount}
        )
    cursor.run_many(RowStatement(insert(Balance.__table__), engine), rows)  # type: ignore[attr-defined]


def make(url: str, entries: int) -> None:
    """Books with so many entries at an address; in a process of its own, for its memory."""
    began = time.perf_counter()
    database = Database(url)
    try:
        migrate(database)
        fill(database, entries)
    finally:
        database.close()
    print(f"{entries:,} entries made in {time.perf_counter() - began:.0f} s", flush=True)


def measure(url: str, processes: int, entries_made: int, within: float) -> None:
    """Audit, and print what it took; in a process whose children are those of the audit alone.

    Raises SystemExit when the books do not balance, or when it takes longer than `within` seconds.
    """
    database = Database(url)
    began = time.perf_counter()
    findings, entries = audit(database, "main", processes=processes)
    seconds = time.perf_counter() - began
    database.close()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    worked = sum(one.ru_utime + one.ru_stime for one in used)
    megabytes = max(one.ru_maxrss for one in used) // 1024
    for finding in findings:
        print(finding)
    print(
        f"{entries:,} entries in {seconds:.1f} s ({worked:.1f} s of work in {processes}"
        f" processes): {entries / seconds:,.0f} a second, {megabytes:,} MB at the most"
    )
    if findings or entries != entries_made or seconds > within:
        sys.exit(1)


def main() -> None:
    """Fill, audit, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--database-url", default="")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--within", type=float, default=float("inf"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = options.database_url or f"sqlite:///{folder}/books.db"
        if _status(make, url, options.entries):
            sys.exit("the entries could not be made")
        sys.exit(_status(measure, url, options.processes, options.entries, options.within))


def _status(work: Callable[..., None], *arguments: object) -> int:
    """Do it in a process of its own; its exit status."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    return process.exitcode or 0


if __name__ == "__main__":
    main()
