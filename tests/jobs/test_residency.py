"""A private job has no way out of the house, or the file does not load (law 11)."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Literal

import pytest

from gateway.jobs.residency import is_forwarded, is_public_cloud, may_reach
from tests.jobs.samples import changed, loaded, problems

ROOT = Path(__file__).parents[2] / "gateway"
ROOMS_WITH_WORDS = ("pipeline", "wire", "metering", "jobs", "prices", "treasury", "ledger")
"""Rooms that a request's words pass through, or could."""
CLIENTS = {"aiohttp", "httpx", "requests", "socket", "ssl", "http", "urllib", "smtplib", "ftplib"}
HOUSE_URL = "base_url: http://127.0.0.1:11434/v1"


@pytest.mark.parametrize(
    ("job", "provider", "allowed"),
    [
        ("any", "cloud", True),
        ("any", "on_prem", True),
        ("on_prem", "on_prem", True),
        ("on_prem", "cloud", False),
    ],
)
def test_only_a_private_job_and_a_cloud_do_not_go_together(
    job: Literal["any", "on_prem"], provider: Literal["cloud", "on_prem"], allowed: bool
) -> None:
    assert may_reach(job, provider) is allowed


@pytest.mark.parametrize(
    ("targets", "more", "way"),
    [
        ("openai/gpt-4.1", "", ""),
        ("openai/gpt-4.1, house/llama", "", ""),
        ("house/llama, openai/gpt-4.1", "", "fallback -> "),
        ("house/llama, openai/gpt-4.1", "\n    when_short: downgrade", "fallback or downgrade -> "),
    ],
)
def test_a_cloud_anywhere_in_the_chain_keeps_the_file_from_loading(
    targets: str, more: str, way: str
) -> None:
    index = targets.split(", ").index("openai/gpt-4.1")
    assert problems(changed(("targets: [house/llama]", f"targets: [{targets}]{more}"))) == [
        f"routes.yaml:28: jobs.private.targets[{index}]: a job with residency on_prem cannot "
        f"reach a cloud: private -> {way}openai/gpt-4.1 -> provider openai (residency: cloud)"
    ]


def test_a_provider_is_a_cloud_unless_it_says_otherwise() -> None:
    found = problems(changed(("    residency: on_prem\nmodels", "models")))
    assert len(found) == 1
    assert "private -> house/llama -> provider house (residency: cloud)" in found[0]


@pytest.mark.parametrize(
    "host", ["api.openai.com", "API.OpenAI.com.", "x.openai.azure.com", "ollama.com", "api.x.ai"]
)
def test_a_known_cloud_cannot_be_declared_on_prem(host: str) -> None:
    found = problems(changed((HOUSE_URL, f"base_url: https://{host}/v1")))
    assert len(found) == 1
    assert found[0].startswith("routes.yaml:12: providers.house.base_url: ")
    assert found[0].endswith(" is a public cloud, so this provider is not on-prem")


def test_the_environment_cannot_move_a_provider_out_of_the_house() -> None:
    moved = {"JOBGATE_PROVIDER_HOUSE_BASE_URL": "https://api.openai.com/v1"}
    assert problems(changed(), moved) == [
        "routes.yaml:12: providers.house.base_url: JOBGATE_PROVIDER_HOUSE_BASE_URL in the "
        "environment: api.openai.com is a public cloud, so this provider is not on-prem"
    ]


def test_a_model_that_a_local_server_forwards_to_a_cloud_is_not_on_prem() -> None:
    text = changed(
        ("house/llama: {price: free, output_limit: 4096}", "house/gpt-oss:120b-cloud: {}"),
        ("targets: [house/llama]", 'targets: ["house/gpt-oss:120b-cloud"]'),
    )
    assert problems(text) == [
        "routes.yaml:28: jobs.private.targets[0]: gpt-oss:120b-cloud is run by a cloud that house "
        "forwards to, so it is not on-prem"
    ]


def test_on_prem_is_not_reached_through_litellm() -> None:
    text = changed(
        (
            "wire: openai\n    flavour: ollama",
            "wire: litellm\n    litellm_provider: ollama",
        )
    )
    assert len(problems(text)) == 1
    assert "an on-prem provider cannot have wire litellm" in problems(text)[0]


def test_hosts_that_only_look_like_a_cloud_are_not_one() -> None:
    assert not is_public_cloud("openai.com.internal.example")
    assert not is_public_cloud("myopenai.com")
    assert not is_public_cloud("10.0.0.7")
    assert not is_forwarded("llama3.3")


def test_what_loads_keeps_every_target_of_a_private_job_in_the_house() -> None:
    targets = loaded(changed()).jobs["private"].targets
    assert {target.provider.residency for target in targets} == {"on_prem"}


@pytest.mark.parametrize("room", ROOMS_WITH_WORDS)
def test_rooms_that_have_a_requests_words_open_no_connections(room: str) -> None:
    for file in sorted((ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            used = {name.partition(".")[0] for name in names if name != "urllib.parse"}
            assert not used & CLIENTS, f"{file.relative_to(ROOT)}: leave that to upstreams"
