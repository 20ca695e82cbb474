"""Rules in several files: what is put together, what is refused, and that no name leads outside."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigurationError
from gateway.jobs.files import Files, Unreadable, version_of
from gateway.jobs.loading import load, load_files
from gateway.jobs.routes import Routes
from tests.jobs.samples import BOOK, SMALL, changed, loaded

INCLUDE = "include: [{file: teams/brand.yaml, owner: brand-team}]\n"
ROOT = SMALL + INCLUDE
TEAM = """\
# the brand's own rules
jobs:
  voice:
    purpose: The voice of the brand.
    targets: [openai/gpt-4.1]
    output_tokens: {max: 100}
    system: {file: prompts/voice.md}
aliases:
  loud: voice
budgets:
  brand: {scope: {job: voice}, limit: 10 USD, period: day}
"""
GOOD = {"routes.yaml": ROOT, "teams/brand.yaml": TEAM, "prompts/voice.md": "\nBe warm.\n"}


def together(**changes: str) -> Routes:
    """GOOD with some files changed; names are written with __ for a slash, without their ends."""
    ends = {
        "routes": "routes.yaml",
        "teams__brand": "teams/brand.yaml",
        "voice": "prompts/voice.md",
    }
    texts = GOOD | {ends[name]: text for name, text in changes.items()}
    return load_files(Files("routes.yaml", texts=texts), book=BOOK, environment={})


def problems(**changes: str) -> list[str]:
    try:
        together(**changes)
    except ConfigurationError as error:
        return error.problems
    return []


def test_an_included_file_adds_jobs_aliases_and_budgets() -> None:
    routes = together()
    assert routes.pick("loud").name == "voice"
    assert routes.jobs["voice"].system == "Be warm."
    assert [budget.name for budget in routes.budgets] == ["all", "brand"]
    assert routes.owners == {"teams/brand.yaml": "brand-team"}
    assert list(routes.files) == ["routes.yaml", "teams/brand.yaml", "prompts/voice.md"]


def test_a_job_has_the_owner_of_its_file_unless_it_names_one() -> None:
    named = TEAM.replace("    purpose: The", "    owner: ann\n    purpose: The")
    assert together().jobs["voice"].owner == "brand-team"
    assert together(teams__brand=named).jobs["voice"].owner == "ann"


WRONG = {
    "a job that is there already": (
        {"teams__brand": TEAM.replace("  voice:", "  extraction:").replace("voice\n", "private\n")},
        "teams/brand.yaml:3: jobs.extraction: is there already: routes.yaml, line 17",
    ),
    "a budget that is there already": (
        {"teams__brand": TEAM.replace("  brand: {", "  all: {")},
        "teams/brand.yaml:11: budgets.all: is there already: routes.yaml, line 33",
    ),
    "a mistake inside, with its own line": (
        {"teams__brand": TEAM.replace("openai/gpt", "opnai/gpt")},
        "teams/brand.yaml:5: jobs.voice.targets[0]: unknown provider 'opnai'; did you mean"
        " 'openai'?",
    ),
    "a misspelt field inside": (
        {"teams__brand": TEAM.replace("purpose", "purposs")},
        "teams/brand.yaml:4: jobs.voice.purposs: there is no such field; did you mean 'purpose'?",
    ),
    "a provider, which says where prompts go": (
        {"teams__brand": TEAM + "providers: {evil: {wire: openai}}\n"},
        "teams/brand.yaml:12: providers: stands in routes.yaml alone; an included file has models,"
        " jobs, aliases, teams, budgets",
    ),
    "an include inside of an included file": (
        {"teams__brand": TEAM + "include: []\n"},
        "teams/brand.yaml:12: include: stands in routes.yaml alone; an included file has models,"
        " jobs, aliases, teams, budgets",
    ),
    "a section that does not exist": (
        {"teams__brand": TEAM.replace("budgets:", "budget:")},
        "teams/brand.yaml:10: budget: there is no such field; did you mean 'budgets'?",
    ),
    "a section that is a list": (
        {"teams__brand": "jobs: []\n"},
        "teams/brand.yaml:1: jobs: must be a mapping",
    ),
    "no YAML": (
        {"teams__brand": "jobs: [\n"},
        "teams/brand.yaml:2: not valid YAML: expected the node content, but found '<stream end>'",
    ),
    "a list in place of a mapping": (
        {"teams__brand": "- jobs\n"},
        "teams/brand.yaml:1: an included file must be a mapping with some of models, jobs, aliases,"
        " teams, budgets",
    ),
    "a file twice": (
        {"routes": SMALL + INCLUDE.replace("}]", "}, {file: teams/brand.yaml, owner: b}]")},
        "routes.yaml:34: include[1].file: teams/brand.yaml is included already",
    ),
    "itself": (
        {"routes": SMALL + "include: [{file: routes.yaml, owner: b}]\n"},
        "routes.yaml:34: include[0].file: routes.yaml is included already",
    ),
    "a file that is not there": (
        {"routes": ROOT.replace("teams/brand", "teams/brnd")},
        "routes.yaml:34: include[0].file: teams/brnd.yaml cannot be read: there is no such file",
    ),
    "a file without an owner": (
        {"routes": SMALL + "include: [{file: teams/brand.yaml}]\n"},
        "routes.yaml:34: include[0].owner: is missing",
    ),
    "an absolute path": (
        {"routes": ROOT.replace("teams/brand.yaml", "/etc/passwd")},
        "routes.yaml:34: include[0].file: must be a path inside the folder of routes.yaml, such as"
        " teams/brand.yaml",
    ),
    "a path that leads out": (
        {"routes": ROOT.replace("teams/brand.yaml", "teams/../../brand.yaml")},
        "routes.yaml:34: include[0].file: must be a path inside the folder of routes.yaml, such as"
        " teams/brand.yaml",
    ),
    "a hidden file": (
        {"routes": ROOT.replace("teams/brand.yaml", ".git/config")},
        "routes.yaml:34: include[0].file: must be a path inside the folder of routes.yaml, such as"
        " teams/brand.yaml",
    ),
    "a prompt that is not there": (
        {"teams__brand": TEAM.replace("voice.md", "vioce.md")},
        "teams/brand.yaml:7: jobs.voice.system: prompts/vioce.md cannot be read: there is no such"
        " file",
    ),
    "an empty prompt": (
        {"voice": "\n \n"},
        "teams/brand.yaml:7: jobs.voice.system: prompts/voice.md is empty",
    ),
    "a prompt of novel length": (
        {"voice": "a" * 100_001},
        "teams/brand.yaml:7: jobs.voice.system: prompts/voice.md is longer than 100,000 characters",
    ),
    "a prompt with a NUL": (
        {"voice": "a\0b"},
        "teams/brand.yaml:7: jobs.voice.system: prompts/voice.md has control characters that cannot"
        " be used",
    ),
    "a prompt outside": (
        {"teams__brand": TEAM.replace("prompts/voice.md", "../voice.md")},
        "teams/brand.yaml:7: jobs.voice.system.file: must be a path inside the folder of"
        " routes.yaml, such as teams/brand.yaml",
    ),
}


@pytest.mark.parametrize(("changes", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_told_with_its_file_and_line(
    changes: dict[str, str], sentence: str
) -> None:
    assert sentence in problems(**changes)


def test_problems_are_told_file_by_file_in_the_order_of_their_lines() -> None:
    found = problems(
        routes=ROOT.replace("limit: 2000 USD", "limit: lots"),
        teams__brand=TEAM.replace("openai/gpt", "opnai/gpt").replace("10 USD", "little"),
    )
    assert [line.partition(": ")[0] for line in found] == [
        "routes.yaml:33",
        "teams/brand.yaml:5",
        "teams/brand.yaml:11",
    ]


def test_a_private_job_of_an_included_file_cannot_reach_a_cloud() -> None:
    private = TEAM.replace("    targets:", "    residency: on_prem\n    targets:")
    (found,) = problems(teams__brand=private)
    assert "a job with residency on_prem cannot reach a cloud: voice -> openai/gpt-4.1" in found


# ---- the version


def test_the_version_of_one_file_is_its_sha256() -> None:
    assert loaded(SMALL).version == hashlib.sha256(SMALL.encode()).hexdigest()


def test_the_version_of_several_is_that_of_what_sha256sum_prints() -> None:
    lines = [
        f"{hashlib.sha256(GOOD[name].encode()).hexdigest()}  {name}\n"
        for name in ("routes.yaml", "prompts/voice.md", "teams/brand.yaml")
    ]
    assert together().version == hashlib.sha256("".join(lines).encode()).hexdigest()


@given(st.sampled_from(sorted(GOOD)), st.text(alphabet="# abc\n", min_size=1))
def test_a_change_in_any_file_is_another_version(name: str, more: str) -> None:
    texts = GOOD | {name: GOOD[name] + more}
    assert version_of("routes.yaml", texts) != version_of("routes.yaml", GOOD)


# ---- on disk


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "rules"
    for name, text in GOOD.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    return home


def test_files_on_disk_load_like_files_that_were_kept(folder: Path) -> None:
    routes = load(folder / "routes.yaml", book=BOOK, environment={})
    assert routes.version == together().version


def test_a_link_within_the_folder_is_followed_as_volumes_are_mounted(folder: Path) -> None:
    (folder / "..2026").mkdir()
    (folder / "teams").rename(folder / "..2026" / "teams")
    (folder / "..data").symlink_to("..2026")
    (folder / "teams").symlink_to("..data/teams")
    assert "voice" in load(folder / "routes.yaml", book=BOOK, environment={}).jobs


@pytest.mark.parametrize("linked", ["teams", "teams/brand.yaml"])
def test_a_link_that_leads_out_of_the_folder_is_refused(folder: Path, linked: str) -> None:
    (folder / linked).rename(folder.parent / "elsewhere")
    (folder / linked).symlink_to(folder.parent / "elsewhere")
    with pytest.raises(ConfigurationError, match=r"leads out of the folder of routes\.yaml"):
        load(folder / "routes.yaml", book=BOOK, environment={})


@pytest.mark.parametrize("name", ["../secret", "a/../../secret", "/etc/passwd", "a\0b"])
def test_no_name_leads_out_whoever_asks(folder: Path, name: str) -> None:
    (folder.parent / "secret").write_text("secret")
    with pytest.raises(Unreadable, match="leads out"):
        Files.at(folder / "routes.yaml").text(name)


def test_a_pipe_is_no_file_and_nobody_waits_for_it(folder: Path) -> None:
    (folder / "teams" / "brand.yaml").unlink()
    os.mkfifo(folder / "teams" / "brand.yaml")
    with pytest.raises(ConfigurationError, match=r"teams/brand.yaml cannot be read: is not a file"):
        load(folder / "routes.yaml", book=BOOK, environment={})


def test_bytes_that_are_not_text_are_told_with_their_line(folder: Path) -> None:
    (folder / "teams" / "brand.yaml").write_bytes(b"jobs:\n  \xff: {}\n")
    with pytest.raises(ConfigurationError, match=r"teams/brand.yaml:2: the file is not UTF-8"):
        load(folder / "routes.yaml", book=BOOK, environment={})


def test_all_files_together_are_bounded(folder: Path) -> None:
    filler = "#" * 900_000 + "\n"
    more = "".join(f", {{file: more/{n}.yaml, owner: b}}" for n in range(5))
    (folder / "more").mkdir()
    for number in range(5):
        (folder / "more" / f"{number}.yaml").write_text(filler + "teams: {}\n")
    (folder / "routes.yaml").write_text(SMALL + INCLUDE.replace("}]", "}" + more + "]"))
    with pytest.raises(ConfigurationError, match="all files together have more than 4,000,000"):
        load(folder / "routes.yaml", book=BOOK, environment={})


def test_a_prompt_in_the_file_itself_is_still_a_text() -> None:
    text = changed(("    owner: data\n", "    owner: data\n    system: Be brief.\n"))
    assert loaded(text).jobs["extraction"].system == "Be brief."
