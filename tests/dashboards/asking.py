"""The queries of the dashboards that read the books, and how Grafana asks them."""

from __future__ import annotations

import re
import subprocess
from datetime import datetime
from typing import Any

import psycopg

from tests.dashboards.reading import REPOSITORY, panels
from tests.postgres import PostgresServer

READER = REPOSITORY / "deploy" / "postgres" / "dashboards_reader.sql"
PANELS = {
    panel["title"]: [target["rawSql"] for target in panel["targets"]]
    for panel in [*panels("spend"), *panels("budgets")]
}


def filled_in(sql: str, first: datetime, last: datetime, chosen: dict[str, str]) -> str:
    """The query as Grafana sends it, for a range of time and what is chosen at the top."""
    start, end = int(first.timestamp()), int(last.timestamp())
    sql = re.sub(r"\$__unixEpochFilter\((\w+)\)", rf"\1 >= {start} AND \1 <= {end}", sql)
    return re.sub(r"\$\{(\w+):sqlstring\}", lambda found: f"'{chosen[found[1]]}'", sql)


def grant(server: PostgresServer, url: str) -> None:
    """Run the file that lets Grafana read, as deploy/compose.yaml does."""
    command = [str(server.programs / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url]
    environment = {"DASHBOARDS_PASSWORD": "it's only a test"}
    subprocess.run([*command, "-f", str(READER)], check=True, env=environment)


def asked(url: str, sql: str) -> list[dict[str, Any]]:
    """The rows of a query."""
    with psycopg.connect(url, row_factory=psycopg.rows.dict_row) as connection:
        return connection.execute(sql.encode()).fetchall()
