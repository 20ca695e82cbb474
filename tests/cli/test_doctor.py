"""`jobgate doctor`: what is wrong with a gateway, and what to do; beside one that serves."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.commands import app
from gateway.cli.diagnosis import ok
from gateway.cli.provider_checks import Seen, check_clock
from gateway.clock import MICROS
from gateway.store.database import Database
from gateway.store.schema import migrate
from tests.gateways import SECRETS, routes_for
from tests.scripted import ScriptedProvider
from tests.stories.changing import Followed, following
from tests.treasury.booking import change

pytestmark = pytest.mark.anyio

MODELS = ["gpt-test", "gpt-spare", "gpt-unpriced", "mistral-test", "llama-test"]
KEYS = dict.fromkeys(SECRETS, "sk-canary")


@pytest.fixture
async def provider() -> AsyncIterator[ScriptedProvider]:
    """A provider that takes one key, and asks for it."""
    async with ScriptedProvider(api_key="sk-canary") as scripted:
        scripted.models = MODELS
        yield scripted


@pytest.fixture
def house(tmp_path: Path, provider: ScriptedProvider) -> Path:
    """A folder with a routes.yaml whose every provider needs a key."""
    rules = routes_for(provider.url).replace(
        "residency: on_prem}", "residency: on_prem, api_key_env: OPENAI_API_KEY}"
    )
    return written(tmp_path, rules)


def written(folder: Path, rules: str) -> Path:
    (folder / "routes.yaml").write_text(rules)
    for path in (folder, folder / "routes.yaml"):
        path.chmod(0o700)
    return folder


async def doctor(
    house: Path, *arguments: str, url: str = "", keys: Mapping[str, str] = KEYS
) -> Result:
    environment: dict[str, str | None] = {
        **dict.fromkeys(SECRETS),
        **keys,
        "COLUMNS": "200",
        "JOBGATE_ROUTES": str(house / "routes.yaml"),
        "JOBGATE_DATABASE_URL": url or f"sqlite:///{house}/books.db",
    }
    command = ["doctor", "--timeout", "5", *arguments]
    return await asyncio.to_thread(CliRunner().invoke, app, command, env=environment)


async def looked(house: Path, **more: Any) -> dict[str, list[dict[str, str]]]:
    """What is found, by what was looked at."""
    told = await doctor(house, "--format", "json", **more)
    page = json.loads(told.stdout)
    states = [each["state"] for each in page["checks"]]
    assert page["state"] == max(states, key=["ok", "warning", "problem"].index)
    assert told.exit_code == (1 if "problem" in states else 0)
    found: dict[str, list[dict[str, str]]] = {}
    for each in page["checks"]:
        assert each["state"] == "ok" or (each["means"] and each["todo"]), each
        found.setdefault(each["check"], []).append(each)
    return found


def states(found: list[dict[str, str]]) -> list[str]:
    return [each["state"] for each in found]


def books(house: Path) -> str:
    """A database that has been served from."""
    url = f"sqlite:///{house}/books.db"
    database = Database(url)
    migrate(database)
    database.close()
    (house / "books.db").chmod(0o600)
    return url


# ---- a gateway in good health


async def test_beside_a_running_gateway_nothing_is_changed_and_nothing_paid(
    provider: ScriptedProvider, tmp_path: Path, sqlite_url: str
) -> None:
    provider.api_key = None
    async with following(tmp_path / "rules", routes_for(provider.url), sqlite_url) as served:
        written(served.folder, (served.folder / "routes.yaml").read_text())
        for path in tmp_path.iterdir():
            path.chmod(0o700)
        before = entries_and_holds(served)
        found = await looked(served.folder, url=sqlite_url)
        assert entries_and_holds(served) == before

    assert states(found["providers"]) == ["ok"] * 5
    assert all(request.path.endswith("/models") for request in provider.requests)
    assert len(provider.requests) == 5
    assert {request.method for request in provider.requests} == {"GET"}
    for check in ("jobs", "schema", "database", "rules in force", "rules", "database file"):
        assert states(found[check]) == ["ok"], found[check]
    assert "takes our key" in found["providers"][0]["found"]
    assert "needs no key" in found["providers"][-1]["found"]
    assert states(found["configuration"])[-1] == "ok"
    assert found.keys() >= {"clock", "disk", "python", "sqlite", "litellm", "packages"}


def entries_and_holds(served: Followed) -> tuple[int, int, int]:
    tables = ("entries", "holds", "changes")
    with served.gateway.database.reading() as cursor:
        counts = [cursor.rows(f"SELECT COUNT(*) FROM {name}", {})[0][0] for name in tables]
    return counts[0], counts[1], counts[2]


async def test_postgresql_is_asked_for_its_clock_and_its_durability(
    house: Path, postgres_url: str
) -> None:
    database = Database(postgres_url)
    migrate(database)
    database.close()
    found = await looked(house, url=postgres_url)
    (server,) = found["database"]
    assert server["state"] == "warning", "the tests' server does not wait for its disk"
    assert "fsync=off" in server["found"]
    assert states(found["schema"]) == ["ok"]
    assert "against the database's" in found["clock"][0]["found"]
    assert found["clock"][0]["state"] == "ok"


async def test_the_table_ends_with_what_is_worst(house: Path) -> None:
    told = await doctor(house, "--offline", url=books(house))
    assert told.exit_code == 0, told.stdout
    lines = told.stdout.splitlines()
    assert "not asked: --offline" in told.stdout
    assert lines[-1].endswith("0 problems.")


# ---- providers


async def test_a_key_that_is_refused_is_a_problem_and_is_never_shown(
    house: Path, provider: ScriptedProvider
) -> None:
    provider.api_key = "another"
    found = await looked(house, url=books(house))
    assert states(found["providers"]) == ["problem"] * 5
    (first, *_) = found["providers"]
    assert "refuses our key (status 401)" in first["found"]
    assert "OPENAI_API_KEY" in first["todo"]
    assert len(found["jobs"]) == 7, "no job has a target that can be asked"
    told = await doctor(house, url=books(house))
    assert "canary" not in told.stdout + told.stderr


async def test_which_provider_has_no_key_is_said_and_which_jobs_that_stops(house: Path) -> None:
    keys = {name: key for name, key in KEYS.items() if name != "ANTHROPIC_API_KEY"}
    found = await looked(house, url=books(house), keys=keys)
    (lacking,) = [each for each in found["providers"] if each["state"] != "ok"]
    assert (lacking["state"], lacking["found"]) == ("warning", "anthropic: it has no API key")
    assert "ANTHROPIC_API_KEY" in lacking["todo"]
    (stopped,) = found["jobs"]
    assert stopped["found"].startswith("narrative: none of its targets can be asked")


async def test_a_model_that_the_provider_does_not_have_is_a_warning(
    house: Path, provider: ScriptedProvider
) -> None:
    provider.models = [name for name in MODELS if name != "gpt-spare"]
    found = await looked(house, url=books(house))
    lacking = [each["found"] for each in found["providers"] if each["state"] == "warning"]
    assert lacking == ["openai: its list of models lacks gpt-spare"]


async def test_providers_that_are_away_do_not_keep_it_waiting(
    house: Path, provider: ScriptedProvider
) -> None:
    await provider.stop()
    found = await looked(house, url=books(house))
    assert states(found["providers"]) == ["warning"] * 5
    assert "cannot be reached: Connection refused" in found["providers"][0]["found"]


# ---- rules and books


async def test_broken_rules_are_told_line_by_line_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    found = await looked(written(tmp_path, "version: 1\njobs: 7\n"))
    assert "problem" in states(found["configuration"])
    assert all("routes.yaml" in each["found"] for each in found["configuration"])
    assert "not asked" in found["providers"][0]["found"]
    assert states(found["disk"]) != []


async def test_a_database_that_is_not_there_is_not_made(house: Path) -> None:
    found = await looked(house, url=f"sqlite:///{house}/var/books.db")
    assert states(found["database"]) == ["warning"]
    assert not (house / "var").exists()


async def test_a_file_that_is_no_database_is_a_problem(house: Path) -> None:
    (house / "books.db").write_text("This is a letter, and not a database at all. " * 99)
    found = await looked(house)
    (told,) = found["database"]
    assert told["state"] == "problem"
    assert "not a database" in told["found"]


@pytest.mark.parametrize(
    ("version", "state", "says"),
    [("9999", "problem", "newer than this program's"), ("0001", "warning", "up to date")],
)
async def test_tables_of_another_version_are_told(
    version: str, state: str, says: str, house: Path
) -> None:
    url = books(house)
    database = Database(url)
    change(database, f"UPDATE alembic_version SET version_num = '{version}'")
    database.close()
    found = await looked(house, url=url)
    (told,) = found["schema"]
    assert told["state"] == state
    assert says in told["found"] + told["means"]


async def test_a_database_server_that_is_away_is_a_problem(house: Path) -> None:
    found = await looked(house, url="postgresql://nobody@127.0.0.1:9/nothing")
    assert states(found["database"]) == ["problem"]


# ---- files


@pytest.mark.parametrize(
    ("name", "mode", "check", "state"),
    [
        ("routes.yaml", 0o644, "rules", "warning"),
        ("routes.yaml", 0o622, "rules", "problem"),
        ("books.db", 0o644, "database file", "warning"),
        ("books.db", 0o602, "database file", "problem"),
        ("openai.key", 0o644, "key files", "problem"),
        ("openai.key", 0o640, "key files", "ok"),
    ],
)
async def test_what_others_may_read_or_write_is_told_with_the_command_against_it(
    name: str, mode: int, check: str, state: str, house: Path
) -> None:
    url, key = books(house), house / "openai.key"
    key.write_text("sk-canary")
    key.chmod(0o600)
    rules = (house / "routes.yaml").read_text()
    rules = rules.replace("api_key_env: OPENAI_API_KEY", f"api_key_file: {key}")
    written(house, rules)
    (house / name).chmod(mode)
    found = await looked(house, url=url)
    (told,) = found[check]
    assert told["state"] == state, told
    assert state == "ok" or told["todo"].startswith("chmod o-")


async def test_a_folder_that_everybody_can_write_to_is_a_problem(house: Path) -> None:
    url = books(house)
    os.chmod(house, 0o777)
    found = await looked(house, url=url)
    assert "problem" in states(found["rules"])
    assert "in the place of" in found["rules"][0]["found"]


# ---- the clock


@pytest.mark.parametrize(
    ("database", "providers", "state"),
    [
        (None, [], "ok"),
        (0.2, [0.4], "ok"),
        (-6.0, [], "warning"),
        (None, [9.0, 0.1, 0.2], "ok"),
        (None, [9.0, 8.0, 0.2], "warning"),
        (90.0, [0.1], "problem"),
        (0.0, [-3600.0], "problem"),
    ],
)
def test_one_provider_with_a_wrong_clock_is_not_ours(
    database: float | None, providers: list[float], state: str
) -> None:
    seen = {
        str(number): Seen(ok("providers", ""), usable=True, clock_off=round(off * MICROS))
        for number, off in enumerate(providers)
    }
    off = None if database is None else round(database * MICROS)
    assert check_clock(off, seen).state == state
