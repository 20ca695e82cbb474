"""The API keys of providers come from the environment or from files, and go nowhere else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import openai
import pytest

from gateway.errors import ConfigurationError, NoCredential
from gateway.jobs.loading import parse
from gateway.jobs.routes import Provider
from gateway.upstreams.credentials import Credentials
from tests.gateways import BOOK, SECRETS, routes_for, running
from tests.scripted import Script, ScriptedProvider

ROUTES = parse(routes_for("http://127.0.0.1:1"), "routes.yaml", BOOK, SECRETS)
OPENAI, OLLAMA = ROUTES.providers["openai"], ROUTES.providers["ollama"]


def with_file(path: Path) -> Provider:
    return replace(OPENAI, api_key_env=None, api_key_file=str(path))


def key_of(provider: Provider, environment: dict[str, str] | None = None) -> str | None:
    return Credentials({provider.name: provider}, environment or {}).of(provider.name)


def test_a_key_is_read_from_the_environment() -> None:
    assert key_of(OPENAI, {"OPENAI_API_KEY": "sk-canary"}) == "sk-canary"


def test_the_line_end_of_a_key_is_not_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("  sk-canary\r\n", "utf-8")
    assert key_of(with_file(path)) == "sk-canary"
    assert key_of(OPENAI, {"OPENAI_API_KEY": " sk-canary\n"}) == "sk-canary"


def test_a_provider_that_needs_no_key_has_none() -> None:
    assert key_of(OLLAMA) is None
    assert Credentials({"ollama": OLLAMA}, {}).missing("ollama") is None


@pytest.mark.parametrize("value", [None, "", "  \n"])
def test_a_missing_or_empty_variable_is_named_to_whoever_needs_it(value: str | None) -> None:
    environment = {} if value is None else {"OPENAI_API_KEY": value}
    keys = Credentials({"openai": OPENAI}, environment)
    with pytest.raises(NoCredential, match="set the environment variable OPENAI_API_KEY"):
        keys.of("openai")
    assert keys.missing("openai") == "the environment variable OPENAI_API_KEY"


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_a_missing_or_empty_file_is_named_to_whoever_needs_it(
    content: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_text(content, "utf-8")
    with pytest.raises(NoCredential, match=f"set the file {path}"):
        key_of(with_file(path))


def test_a_file_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        key_of(with_file(tmp_path))


def test_a_key_of_several_lines_stops_the_start_and_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("sk-canary\nX-Admin: yes\n", "utf-8")
    with pytest.raises(ConfigurationError, match="more than one line") as refused:
        key_of(with_file(path))
    assert str(path) in str(refused.value)
    assert "sk-canary" not in str(refused.value)


def test_a_key_is_read_once_so_a_change_needs_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("first", "utf-8")
    keys = Credentials({"openai": with_file(path)}, {})
    path.write_text("second", "utf-8")
    assert keys.of("openai") == "first"


def test_one_provider_without_a_key_does_not_stop_the_others() -> None:
    keys = Credentials(ROUTES.providers, {"GEMINI_API_KEY": "canary-gemini"})
    assert keys.of("gemini") == "canary-gemini"
    with pytest.raises(NoCredential):
        keys.of("openai")


def test_nothing_that_is_printed_holds_a_key() -> None:
    keys = Credentials(ROUTES.providers, SECRETS)
    said = [repr(keys), str(keys), f"{keys}"]
    assert said[0] == "Credentials(for anthropic, gemini, mistral, openai)"
    assert not [secret for secret in SECRETS.values() for text in said if secret in text]
    assert repr(Credentials({}, SECRETS)) == "Credentials(for nobody)"


@pytest.mark.anyio
async def test_without_a_key_a_request_is_refused_and_the_fallback_is_tried(
    provider: ScriptedProvider, sqlite_url: str
) -> None:
    provider.script = Script(text="Two words", input=10, output=2)
    jobs = """
  two:
    purpose: Falls back to another provider.
    owner: data
    targets: [openai/gpt-test, mistral/mistral-test]
    output_tokens: {default: 100, max: 400}
"""
    question = [{"role": "user", "content": "Say something."}]
    keys = {"MISTRAL_API_KEY": "canary-mistral"}
    text = routes_for(provider.url, jobs=jobs)
    async with running(text, sqlite_url, environment=keys) as gateway:
        client = gateway.client()
        with pytest.raises(openai.InternalServerError) as refused:
            await client.chat.completions.create(model="extraction", messages=question)
        await client.chat.completions.create(model="two", messages=question)
        (entry,) = gateway.entries()

    assert (refused.value.status_code, refused.value.code) == (503, "no_credential")
    assert "OPENAI_API_KEY" in refused.value.message
    assert entry["target"] == "mistral/mistral-test"
    (seen,) = provider.requests
    assert seen.headers["authorization"] == "Bearer canary-mistral"
