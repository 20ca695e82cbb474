"""`jobgate routes`: what was live, what is different, and the way back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.commands import app
from tests.gateways import SECRETS, routes_for
from tests.scripted import ScriptedProvider
from tests.stories.changing import Followed, following

pytestmark = pytest.mark.anyio

INCLUDE = "include: [{file: teams/brand.yaml, owner: brand-team}]\n"
TEAM = "teams:\n  brand: {contact: ann@example.com}\n"


async def jobgate(house: Followed, *arguments: str) -> Result:
    """Run the command line beside the running gateway, on its files and its books."""
    environment = {
        **SECRETS,
        "COLUMNS": "200",
        "JOBGATE_ROUTES": str(house.folder / "routes.yaml"),
        "JOBGATE_DATABASE_URL": house.gateway.settings.database_url,
    }
    return await asyncio.to_thread(CliRunner().invoke, app, ["routes", *arguments], env=environment)


async def history(house: Followed) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = json.loads((await jobgate(house, "history", "--json")).stdout)
    return told


async def test_a_rollback_writes_the_files_and_the_running_gateway_takes_them_over(
    provider: ScriptedProvider, sqlite_url: str, tmp_path: Path
) -> None:
    old = INCLUDE + routes_for(provider.url, system="Old.")
    new = routes_for(provider.url, system="New.")
    async with following(tmp_path / "rules", old, sqlite_url, teams__brand_yaml=TEAM) as house:
        await house.takes(new)
        house.write("teams: {}\n", "teams/brand.yaml")
        told = await jobgate(
            house, "rollback", "1", "--reason", "the new voice is wrong", "--author", "ann"
        )
        assert told.exit_code == 0, told.stderr
        await house.until(lambda: house.gateway.routes.text == old)
        rows = await history(house)
        _, changes = await house.call("GET", "/admin/v1/changes?limit=1000")

    assert (house.folder / "routes.yaml").read_text() == old
    assert (house.folder / "teams" / "brand.yaml").read_text() == TEAM
    (saved,) = (house.folder / ".before-rollback").iterdir()
    assert (saved / "routes.yaml").read_text() == new
    assert (saved / "teams" / "brand.yaml").read_text() == "teams: {}\n"
    assert str(saved) in told.stdout
    assert [(row["number"], row["cause"], row["is_the_file"]) for row in rows] == [
        (3, "rollback", True),
        (2, "file", False),
        (1, "start", True),
    ]
    assert (rows[0]["author"], rows[0]["reason"]) == (
        "ann",
        "back to version 1: the new voice is wrong",
    )
    logged = [one for one in changes["changes"] if one["what"] == "routes.live"]
    assert [one["subject"] for one in logged] == ["version 1", "version 2", "version 3"]
    assert logged[-1]["who"] == "ann"


async def test_a_diff_shows_each_file_and_what_is_on_disk(
    provider: ScriptedProvider, sqlite_url: str, tmp_path: Path
) -> None:
    old = routes_for(provider.url, system="Old.")
    new = INCLUDE + routes_for(provider.url, system="New.")
    async with following(tmp_path / "rules", old, sqlite_url, teams__brand_yaml=TEAM) as house:
        await house.takes(new)
        between = (await jobgate(house, "diff", "1", "2")).stdout.splitlines()
        house.write(new.replace("New.", "Unsaved."))
        on_disk = (await jobgate(house, "diff", house.gateway.routes.version[:8])).stdout

    assert between[:2] == ["--- 1/routes.yaml", "+++ 2/routes.yaml"]
    assert "+" + INCLUDE.strip() in between
    assert "-    system: Old." in between
    assert "+    system: New." in between
    assert between[-5:] == [
        "--- /dev/null",
        "+++ 2/teams/brand.yaml",
        "@@ -0,0 +1,2 @@",
        "+teams:",
        "+  brand: {contact: ann@example.com}",
    ]
    assert "+    system: Unsaved." in on_disk


async def test_the_history_says_when_the_file_is_not_what_is_live(
    provider: ScriptedProvider, sqlite_url: str, tmp_path: Path
) -> None:
    good = routes_for(provider.url)
    async with following(tmp_path / "rules", good, sqlite_url) as house:
        same = await jobgate(house, "history")
        await house.rejects("jobs: [\n")
        broken = await jobgate(house, "history")
    assert "the file" in same.stdout
    assert same.stderr == ""
    assert "is not the newest version that went live" in broken.stderr


async def test_a_file_that_is_gone_is_told_and_put_back(
    provider: ScriptedProvider, sqlite_url: str, tmp_path: Path
) -> None:
    old = INCLUDE + routes_for(provider.url)
    async with following(tmp_path / "rules", old, sqlite_url, teams__brand_yaml=TEAM) as house:
        (house.folder / "routes.yaml").unlink()
        await house.until(lambda: house.gateway.reloader.remarks)
        gone = await jobgate(house, "history")
        diff = await jobgate(house, "diff", "1")
        back = await jobgate(house, "rollback", "1", "--reason", "it was gone")
        await house.until(lambda: not house.gateway.reloader.remarks)
    assert (gone.exit_code, diff.exit_code, back.exit_code) == (0, 0, 0)
    assert "is not the newest version that went live" in gone.stderr
    assert "+++ /dev/null" in diff.stdout
    assert (house.folder / "routes.yaml").read_text() == old


REFUSED = {
    "a version that never was": (["rollback", "99", "--reason", "x"], "no version '99' was ever"),
    "something that names none": (["diff", "nonsense"], "no version 'nonsense' was ever live"),
    "no reason": (["rollback", "1", "--reason", " "], "say why"),
}


@pytest.mark.parametrize(("arguments", "sentence"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_cannot_be_done_is_said(
    arguments: list[str],
    sentence: str,
    provider: ScriptedProvider,
    sqlite_url: str,
    tmp_path: Path,
) -> None:
    async with following(tmp_path / "rules", routes_for(provider.url), sqlite_url) as house:
        told = await jobgate(house, *arguments)
    assert told.exit_code == 2
    assert sentence in told.stderr


async def test_a_link_is_not_replaced_and_nothing_is_written_down(
    provider: ScriptedProvider, sqlite_url: str, tmp_path: Path
) -> None:
    """What a link stands for comes from somewhere else, and would come back."""
    old, new = routes_for(provider.url, system="Old."), routes_for(provider.url, system="New.")
    async with following(tmp_path / "rules", old, sqlite_url) as house:
        await house.takes(new)
        (house.folder / "routes.yaml").rename(tmp_path / "source.yaml")
        (house.folder / "routes.yaml").symlink_to(tmp_path / "source.yaml")
        told = await jobgate(house, "rollback", "1", "--reason", "x")
        rows = await history(house)
    assert told.exit_code == 2
    assert "is a link" in told.stderr
    assert (tmp_path / "source.yaml").read_text() == new
    assert len(rows) == 2


async def test_a_version_that_can_no_longer_be_live_is_not_put_back(
    provider: ScriptedProvider, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment has changed since: the old file would be rejected, so it is not written."""
    old, new = routes_for(provider.url, system="Old."), routes_for(provider.url, system="New.")
    async with following(tmp_path / "rules", old, sqlite_url) as house:
        await house.takes(new)
        monkeypatch.setenv("JOBGATE_PROVIDER_OLLAMA_BASE_URL", "https://ollama.com/v1")
        told = await jobgate(house, "rollback", "1", "--reason", "x")
    assert told.exit_code == 2
    assert "ollama.com is a public cloud" in told.stderr
    assert (house.folder / "routes.yaml").read_text() == new
