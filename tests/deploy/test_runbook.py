"""What the runbook tells people to type works, and the unit holds what it promises."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from gateway.callers.registry import NewKey, Registry
from gateway.cli.commands import app
from gateway.clock import SystemClock
from gateway.settings import Settings
from gateway.store.database import BUSY_SECONDS, Database
from gateway.store.schema import migrate
from gateway.treasury import committer as committing
from tests.gateways import TESTER
from tests.postgres import PostgresServer

DEPLOY = Path(__file__).parents[2] / "deploy"
RUNBOOK = (DEPLOY / "runbook.md").read_text()
UNIT = (DEPLOY / "jobgate.service").read_text()
COMMANDS = re.findall(r"`(?:docker compose [^`]* )?jobgate ([a-z][^`\n]*)`", RUNBOOK)


def books(url: str) -> Database:
    """Migrated books with one key in them."""
    database = Database(url)
    migrate(database)
    Registry(database, "main", SystemClock()).create(NewKey(team="brand", app="studio"), TESTER)
    return database


def keys(url: str) -> list[str]:
    """The ids of the keys in the books at an address."""
    database = Database(url)
    try:
        return [key["id"] for key in Registry(database, "main", SystemClock()).all()]
    finally:
        database.close()


def test_the_backup_of_sqlite_is_whole_while_somebody_writes(tmp_path: Path) -> None:
    database = books(f"sqlite:///{tmp_path}/books.db")
    [line] = [line for line in RUNBOOK.splitlines() if "VACUUM INTO" in line]
    with database.writing() as cursor:
        cursor.run("DELETE FROM keys", {})
        command = [sys.executable, *shlex.split(line)[1:]]
        subprocess.run(command, cwd=tmp_path, check=True)
    database.close()
    assert len(keys(f"sqlite:///{tmp_path}/backup.db")) == 1
    assert keys(f"sqlite:///{tmp_path}/books.db") == []


def test_the_backup_of_postgresql_can_be_restored_over_what_is_there(
    postgres_server: PostgresServer, postgres_url: str, tmp_path: Path
) -> None:
    def run(program: str) -> None:
        [line] = [line for line in RUNBOOK.splitlines() if f"postgres {program} " in line]
        words = shlex.split(line.split(program, 1)[1])
        place, file = words[-2:]
        options = [w for w in words[:-2] if w not in ("-U", "-d", "jobgate")]
        command = [str(postgres_server.programs / program), *options, "-d", postgres_url]
        if place == ">":
            with (tmp_path / file).open("wb") as output:
                subprocess.run(command, check=True, stdout=output)
        else:
            with (tmp_path / file).open("rb") as backup:
                subprocess.run(command, check=True, stdin=backup)

    database = books(postgres_url)
    before = keys(postgres_url)
    run("pg_dump")
    Registry(database, "main", SystemClock()).create(NewKey(team="media", app="planner"), TESTER)
    database.close()
    run("pg_restore")
    assert keys(postgres_url) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_runbook_exists_with_its_options(command: str) -> None:
    words = [word for word in command.split() if word != "ID"]
    found = get_command(app)
    while words and not words[0].startswith("-") and hasattr(found, "commands"):
        found = found.commands[words.pop(0)]
    known = {option for parameter in found.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_there_is_time_to_finish_open_answers_before_a_stop_becomes_a_kill() -> None:
    compose = (DEPLOY / "compose.yaml").read_text()
    [unit_seconds] = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)
    [compose_seconds] = re.findall(r"gateway:.*?stop_grace_period: (\d+)s", compose, re.DOTALL)[:1]
    assert min(int(unit_seconds), int(compose_seconds)) >= 2 * Settings().shutdown_seconds
    assert f"get {Settings().shutdown_seconds} s to end" in RUNBOOK


def test_what_it_says_of_a_database_that_is_away_is_what_the_program_does() -> None:
    """tests/endings/test_broken_databases.py does all of it; here are the words and figures."""
    section = RUNBOOK.split("## The database is away", 1)[1].split("\n## ", 1)[0]
    refusal = committing._books_are_down()
    assert f"{refusal.status} `{refusal.code}` at once" in section
    assert f"`Retry-After: {refusal.retry_after:g}`" in section
    assert f"waits up to {committing.SETTLE_PATIENCE:g} s for its entry" in section
    assert f"silent for {committing.HANGS_AFTER:g} s" in section
    assert f"wait up to {max(BUSY_SECONDS, committing._BUSY_AT_MOST_SECONDS):g} s" in section
    assert f"{Settings().shutdown_seconds} s for open answers" in section
    assert f"and {committing.SETTLE_PATIENCE:g} s for their entries" in section
    [unit_seconds] = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)
    assert int(unit_seconds) > Settings().shutdown_seconds + committing.SETTLE_PATIENCE


def test_systemd_takes_the_unit_where_there_is_systemd(tmp_path: Path) -> None:
    assert "User=jobgate" in UNIT
    if analyze := shutil.which("systemd-analyze"):
        unit = tmp_path / "jobgate.service"
        unit.write_text(re.sub(r"^ExecStart=.*$", "ExecStart=/bin/true", UNIT, flags=re.MULTILINE))
        done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
