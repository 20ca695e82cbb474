"""How long the audit takes: `python -m tests.bench.audit_speed --entries 1000000`.

The entries are made by the database itself, in an afternoon's worth of hours, jobs and teams, and
they balance, so the audit has to look at all of them. Prints entries, seconds and entries a
second; the books are in a temporary folder and go with it.
"""

from __future__ import annotations

import argparse
import tempfile
import time

from gateway.ledger.audit import audit
from gateway.store.database import Database
from gateway.store.schema import migrate
from gateway.store.tables import ROLLUP_DIMENSIONS, ROLLUP_SUMS, EntryRow

RATES = (
    '{"input":2500000000,"cache_read":0,"cache_read_audio":0,"cache_write":0,"cache_write_1h":0,'
    '"output":10000000000,"reasoning":0,"audio_input":0,"audio_output":0,"image_input":0,'
    '"image_output":0,"requests":0}'
)
MADE = {
    "org": "'main'",
    "id": "printf('req_%014x.1', n)",
    "kind": "'charge'",
    "request_id": "printf('req_%014x', n)",
    "attempt": "1",
    "admitted_at": "1793620800000000 + n * 2000",
    "recorded_at": "1793620800000000 + n * 2000 + 500",
    "team": "printf('team-%d', n % 7)",
    "app": "printf('app-%d', n % 21)",
    "job": "printf('job-%d', n % 5)",
    "residency": "'cloud'",
    "confined": "0",
    "stream": "0",
    "outcome": "'ok'",
    "quality": "'reported'",
    "input": "n % 1000",
    "output": "n % 100",
    "tokens": "n % 1000 + n % 100",
    "request_count": "1",
    "amount_nanos": "(n % 1000) * 2500 + (n % 100) * 10000",
    "ceiling_nanos": "10000000000",
    "ceiling_tokens": "100000",
    "prices": f"'{RATES}'",
    "balances": "'1 2'",
}


def fill(database: Database, entries: int) -> None:
    """Make entries, their roll-ups, and two balances over all of them."""
    columns = [column.name for column in EntryRow.__table__.columns]  # type: ignore[attr-defined]
    texts = {"prices", "tags", "changed"}
    zero = {
        column.name: "''" if column.name in texts or "Text" in repr(column.type) else "0"
        for column in EntryRow.__table__.columns  # type: ignore[attr-defined]
    }
    zero |= {
        n: "''" for n in columns if str(EntryRow.model_fields[n].annotation) == "<class 'str'>"
    }
    made = ", ".join(MADE.get(name, zero[name]) for name in columns)
    dimensions, sums = ", ".join(ROLLUP_DIMENSIONS), [n for n in ROLLUP_SUMS if n != "entries"]
    with database.writing() as cursor:
        cursor.run(
            f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers"
            f" WHERE n < {entries}) INSERT INTO entries ({', '.join(columns)})"
            f" SELECT {made} FROM numbers",
            {},
        )
        cursor.run(
            f"INSERT INTO rollups (org, hour, {dimensions}, entries, {', '.join(sums)})"
            f" SELECT org, admitted_at / 3600000000, {dimensions}, COUNT(*),"
            f" {', '.join(f'SUM({name})' for name in sums)} FROM entries"
            f" GROUP BY org, admitted_at / 3600000000, {dimensions}",
            {},
        )
        known = {row[1] for row in cursor.rows("SELECT * FROM pragma_table_info('balances')", {})}
        for number, unit, total in ((1, "usd", "amount_nanos"), (2, "tokens", "tokens")):
            values = {
                "org": "'main'",
                "id": str(number),
                "budget": f"'b{number}'",
                "subject": "''",
                "unit": f"'{unit}'",
                "period": "'forever'",
                "hard": "1",
                "starts_at": "0",
                "ends_at": "4611686018427387904",
                "limit_value": "9000000000000000000",
                "spent": f"(SELECT SUM({total}) FROM entries)",
                "held": "0",
                "overrun": "0",
            }
            values |= dict.fromkeys(known - set(values), "0")
            cursor.run(
                f"INSERT INTO balances ({', '.join(values)}) SELECT {', '.join(values.values())}",
                {},
            )


def main() -> None:
    """Fill, audit, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/books.db")
        migrate(database)
        fill(database, options.entries)
        began = time.perf_counter()
        findings, entries = audit(database, "main")
        seconds = time.perf_counter() - began
        database.close()
    for finding in findings:
        print(finding)
    print(f"{entries:,} entries in {seconds:.1f} s: {entries / seconds:,.0f} a second")


if __name__ == "__main__":
    main()
