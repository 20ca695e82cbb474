"""routes.yaml is edited while requests are served: what is right goes live, what is wrong does not,
and nobody who asks in the meantime notices."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from gateway.jobs.versions import Versions
from tests.gateways import routes_for
from tests.scripted import Script, ScriptedProvider
from tests.stories.changing import following
from tests.treasury.booking import rows

pytestmark = pytest.mark.anyio

QUESTION = [{"role": "user", "content": "Say something."}]
ANSWER = Script(text="ok", input=10, output=2)
TWO = Script(text="one two", input=10, output=2)
BROKEN = "jobs: [\n"


def with_system(provider: ScriptedProvider, words: str, **more: str) -> str:
    return routes_for(provider.url, system=words, **more)


def asked_with(provider: ScriptedProvider) -> str:
    """The job's prompt that the last request arrived with."""
    return str(provider.requests[-1].body["messages"][0]["content"])


async def test_an_edited_file_is_live_for_the_next_request(
    provider: ScriptedProvider, database_url: str, tmp_path: Path
) -> None:
    provider.script = ANSWER
    async with following(tmp_path / "rules", with_system(provider, "Old."), database_url) as house:
        client = house.running.client()
        await client.chat.completions.create(model="extraction", messages=QUESTION)
        assert asked_with(provider) == "Old."
        await house.takes(with_system(provider, "New."))
        await client.chat.completions.create(model="extraction", messages=QUESTION)
        assert asked_with(provider) == "New."
        _, told = await house.call("GET", "/admin/v1/routes/status")
        _, history = await house.call("GET", "/admin/v1/routes/history")

    version = house.gateway.routes.version
    assert told["live"]["version"] == version
    assert told["live"]["kept_as"]["number"] == 2
    assert told["file"] == {"followed": True, "differs": False, "rejected": None}
    kept = [(row["number"], row["cause"], row["hash"] == version) for row in history["versions"]]
    assert kept == [(2, "file", True), (1, "start", False)]


async def test_a_broken_file_changes_nothing_and_everybody_can_see_why(
    provider: ScriptedProvider, sqlite_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    provider.script = ANSWER
    good = with_system(provider, "Good.")
    async with following(tmp_path / "rules", good, sqlite_url) as house:
        live = house.gateway.routes.version
        await house.rejects(good.replace("openai/gpt-spare]", "opnai/gpt-spare]"))
        await house.running.client().chat.completions.create(model="extraction", messages=QUESTION)
        assert asked_with(provider) == "Good."
        _, told = await house.call("GET", "/admin/v1/routes/status")
        status, ready = await house.call("GET", "/readyz")
        info = house.running.metric("jobgate_configuration_info", version=live[:12])
        assert house.running.metric("jobgate_configuration_file_differs") == info == 1
        await house.takes(good.replace("Good.", "Better."))
        assert house.running.metric("jobgate_configuration_file_differs") == 0
        _, after = await house.call("GET", "/admin/v1/routes/status")
        _, ready_again = await house.call("GET", "/readyz")

    (problem,) = told["file"]["rejected"]["problems"]
    assert told["live"]["version"] == live
    assert told["file"]["differs"] is True
    assert "jobs.with-fallback.targets[1]: unknown provider 'opnai'" in problem
    assert problem in caplog.text
    assert (status, ready["status"]) == (200, "ready")
    assert ready["remarks"] == ["routes.yaml was rejected; the version before it stays live"]
    assert after["file"]["rejected"] is None
    assert ready_again == {"status": "ready"}


async def test_a_file_that_says_again_what_is_live_is_no_longer_rejected(
    provider: ScriptedProvider,
    sqlite_url: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    good = routes_for(provider.url)
    caplog.set_level("INFO", "gateway.pipeline.reloading")
    async with following(tmp_path / "rules", good, sqlite_url) as house:
        await house.rejects(BROKEN)
        house.write(good)
        await house.until(lambda: not house.gateway.reloader.remarks)
        (row,) = rows(house.gateway.database, "SELECT COUNT(*) FROM config_versions")
    assert row == (1,)
    assert "routes.yaml says again what is in force, version 1" in caplog.messages


async def test_the_calendar_cannot_change_while_it_runs(
    provider: ScriptedProvider, sqlite_url: str, tmp_path: Path
) -> None:
    good = routes_for(provider.url)
    async with following(tmp_path / "rules", good, sqlite_url) as house:
        await house.rejects(good.replace("Europe/Berlin", "Asia/Tokyo"))
        _, told = await house.call("GET", "/admin/v1/routes/status")
        assert house.gateway.routes.time_zone.key == "Europe/Berlin"
    (problem,) = told["file"]["rejected"]["problems"]
    assert problem.startswith(
        "routes.yaml: organisation.time_zone: cannot change while the gateway"
    )
    assert "restart it" in problem


async def test_whoever_asks_for_it_is_told_what_is_wrong_and_what_went_live(
    provider: ScriptedProvider, sqlite_url: str, tmp_path: Path
) -> None:
    path = "/admin/v1/routes/reload"
    good = with_system(provider, "Old.")
    async with following(tmp_path / "rules", good, sqlite_url) as house:
        same = await house.call("POST", path)
        house.write(BROKEN)
        status, refused = await house.call("POST", path, json={"reason": "try"})
        house.write(good.replace("Old.", "New."))
        _, told = await house.call("POST", path, json={"reason": "a new voice"})
        assert house.gateway.routes.jobs["extraction"].system == "New."
        _, changes = await house.call("GET", "/admin/v1/changes")

    assert same[0] == 200
    assert same[1]["changed"] is False
    assert (status, refused["error"]["code"]) == (400, "invalid_request")
    assert refused["error"]["details"]["problems"][0].startswith("routes.yaml:2: not valid YAML")
    assert told["reason"] in ("a new voice", "the file changed")  # whoever was first, asked or saw
    assert any(change["what"] == "routes.live" for change in changes["changes"])


async def test_a_signal_reads_the_file_too(
    provider: ScriptedProvider, sqlite_url: str, tmp_path: Path
) -> None:
    async with following(tmp_path / "rules", routes_for(provider.url), sqlite_url) as house:
        before = house.gateway._live.now
        os.kill(os.getpid(), signal.SIGHUP)
        await house.until(lambda: house.gateway._live.now is not before)
    assert house.gateway.routes.text == before.routes.text


async def test_a_request_under_way_ends_by_the_rules_that_it_began_with(
    provider: ScriptedProvider, database_url: str, tmp_path: Path
) -> None:
    """Even its price: what was promised when it was admitted is what is booked."""
    provider.script = Script(text="one two", input=1000, output=2, stall_before_chunk=1)
    old = routes_for(provider.url)
    new = old.replace("price: {input: 2.5, cache_read: 1.25, output: 10}", "price: free")
    assert new != old
    async with following(tmp_path / "rules", old, database_url) as house:
        client = house.running.client()
        stream = await client.chat.completions.create(
            model="extraction", messages=QUESTION, stream=True
        )
        await provider.until(lambda p: p.stalled == 1)
        await house.takes(new)
        assert house.gateway._live.alive == 2
        provider.resume()
        words = [c.choices[0].delta.content or "" async for c in stream if c.choices]
        await house.until(lambda: house.gateway._live.alive == 1)
        (entry,) = house.running.entries(stream.response.headers["x-jobgate-request-id"])
    assert "".join(words) == "one two"
    assert entry["amount_nanos"] == 1000 * 2_500 + 2 * 10_000


async def test_connections_of_a_provider_that_is_gone_are_closed_after_its_last_request(
    provider: ScriptedProvider, sqlite_url: str, tmp_path: Path
) -> None:
    provider.script = Script(text="one two", input=10, output=2, stall_before_chunk=1)
    old = routes_for(provider.url)
    async with following(tmp_path / "rules", old, sqlite_url) as house:
        before = house.gateway._live.now.parts.upstreams
        stream = await house.running.client().chat.completions.create(
            model="extraction", messages=QUESTION, stream=True
        )
        await provider.until(lambda p: p.stalled == 1)
        await house.takes(old.replace("/openai/v1", "/openai/elsewhere/v1"))
        after = house.gateway._live.now.parts.upstreams
        connector = before["openai"]._pool._connections._connector
        assert not connector.closed
        provider.resume()
        assert [c async for c in stream]
        await house.until(lambda: connector.closed)
    assert after["openai"] is not before["openai"]
    assert after["mistral"] is before["mistral"], "what did not change keeps its connections"


async def test_a_lowered_budget_holds_from_the_next_request_on(
    provider: ScriptedProvider, database_url: str, tmp_path: Path
) -> None:
    provider.script = ANSWER
    budget = " {cap: {scope: organisation, limit: 10 USD, period: month}}"
    old = routes_for(provider.url, budgets=budget)
    async with following(tmp_path / "rules", old, database_url) as house:
        client = house.running.client()
        await client.chat.completions.create(model="extraction", messages=QUESTION)
        await house.takes(old.replace("10 USD", "0.000001 USD"))
        with pytest.raises(Exception, match="budget 'cap' has"):
            await client.chat.completions.create(model="extraction", messages=QUESTION)


async def test_included_files_and_prompts_are_followed_as_well(
    provider: ScriptedProvider, sqlite_url: str, tmp_path: Path
) -> None:
    provider.script = ANSWER
    root = "include: [{file: teams/brand.yaml, owner: brand-team}]\n" + routes_for(provider.url)
    team = """
jobs:
  voice:
    purpose: The voice of the brand.
    targets: [openai/gpt-test]
    output_tokens: {max: 100}
    system: {file: prompts/voice.md}
"""
    async with following(
        tmp_path / "rules",
        root,
        sqlite_url,
        teams__brand_yaml=team,
        prompts__voice_md="Be warm.\n",
    ) as house:
        client = house.running.client()
        await client.chat.completions.create(model="voice", messages=QUESTION)
        assert asked_with(provider) == "Be warm."
        house.write("Be brief.\n", "prompts/voice.md")
        await house.until(lambda: house.gateway.routes.jobs["voice"].system == "Be brief.")
        await house.rejects(team.replace("openai/gpt-test", "opnai/gpt-test"), "teams/brand.yaml")
        _, told = await house.call("GET", "/admin/v1/routes/status")
        await client.chat.completions.create(model="voice", messages=QUESTION)
        assert asked_with(provider) == "Be brief."
        with house.gateway.database.reading() as cursor:
            kept = Versions("main", "sqlite").find(cursor, "1")

    assert house.gateway.routes.jobs["voice"].owner == "brand-team"
    assert told["file"]["rejected"]["problems"][0].startswith("teams/brand.yaml:5: jobs.voice.")
    assert told["live"]["files"] == [
        {"name": "routes.yaml", "owner": ""},
        {"name": "teams/brand.yaml", "owner": "brand-team"},
        {"name": "prompts/voice.md", "owner": ""},
    ]
    assert kept.texts == {
        "routes.yaml": root,
        "teams/brand.yaml": team,
        "prompts/voice.md": "Be warm.\n",
    }


async def test_each_process_follows_its_own_file_and_one_change_is_kept_once(
    provider: ScriptedProvider, postgres_url: str, tmp_path: Path
) -> None:
    old, new = with_system(provider, "Old."), with_system(provider, "New.")
    async with (
        following(tmp_path / "a", old, postgres_url) as first,
        following(tmp_path / "b", old, postgres_url) as second,
    ):
        await first.takes(new)
        assert second.gateway.routes.text == old
        await second.takes(new)
        hashes = rows(first.gateway.database, "SELECT hash FROM config_versions ORDER BY number")
    assert len(hashes) == 2
    assert hashes[1] == (first.gateway.routes.version,)


async def test_without_books_to_write_it_down_in_a_version_does_not_go_live(
    provider: ScriptedProvider, sqlite_url: str, tmp_path: Path
) -> None:
    """Every version that was ever live is kept: so one that cannot be kept is not live."""
    old, new = with_system(provider, "Old."), with_system(provider, "New.")
    async with following(tmp_path / "rules", old, sqlite_url) as house:
        held = house.gateway.database.session()
        with held.transaction():  # nobody else can write
            house.write(new)
            await house.until(lambda: house.gateway.reloader.remarks)
            assert house.gateway.routes.text == old
        held.close()
        await house.until(lambda: house.gateway.routes.text == new)
    assert house.gateway.reloader.remarks == []


async def test_a_bug_of_ours_ends_neither_the_watch_nor_what_is_served(
    provider: ScriptedProvider, sqlite_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    provider.script = ANSWER
    old = with_system(provider, "Old.")
    async with following(tmp_path / "rules", old, sqlite_url) as house:
        source = house.gateway.reloader._source
        assert source is not None
        house.gateway.follow(lambda files: {}["no such thing"], source.look_seconds)
        await house.call("POST", "/admin/v1/routes/reload")
        await house.running.client().chat.completions.create(model="extraction", messages=QUESTION)
        assert asked_with(provider) == "Old."
        house.gateway.follow(source.load, source.look_seconds)
        status, told = await house.call("POST", "/admin/v1/routes/reload")
        assert (status, told["changed"]) == (200, False)
        assert house.gateway.reloader.remarks == []
    assert "it could not be made: KeyError" in caplog.text
