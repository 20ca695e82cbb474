"""Rules over the admin API: read, compared, checked, published and put back, as from the pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.gateways import routes_for
from tests.stories.changing import Followed, following

pytestmark = pytest.mark.anyio

BRAND = """jobs:
  slogans:
    purpose: Short texts.
    targets: [openai/gpt-test]
    output_tokens: {max: 100}
"""
ROUTES = routes_for("http://127.0.0.1:9").lstrip() + (
    "include: [{file: teams/brand.yaml, owner: brand-strategy}]\n"
)
DEARER = ROUTES.replace("input: 2.5, cache_read: 1.25, output: 10", "input: 5, output: 20")
LONGER = BRAND.replace("max: 100", "max: 200")
WRONG = ROUTES.replace("targets: [openai/gpt-test]", "targets: [opnai/gpt-test]", 1)
LEAK = ROUTES.replace(
    "targets: [ollama/llama-test]", "targets: [ollama/llama-test, openai/gpt-test]"
)
AT = "/admin/v1/routes"


@pytest.fixture
async def followed(tmp_path: Path, sqlite_url: str) -> AsyncIterator[Followed]:
    async with following(tmp_path / "rules", ROUTES, sqlite_url, teams__brand_yaml=BRAND) as found:
        yield found


def live(followed: Followed) -> str:
    return followed.gateway.routes.version


def on_disk(followed: Followed) -> tuple[str, str]:
    names = ("routes.yaml", "teams/brand.yaml")
    first, second = ((followed.folder / name).read_text() for name in names)
    return first, second


async def post(followed: Followed, path: str, **body: Any) -> tuple[int, Any]:
    return await followed.call("POST", AT + path, json=body)


async def test_edited_files_are_checked_and_compared_and_nothing_is_written(
    followed: Followed,
) -> None:
    good = {"routes.yaml": DEARER, "teams/brand.yaml": LONGER}
    status, told = await post(followed, "/check", files=good)
    assert (status, told["valid"], told["problems"]) == (200, True, [])
    assert "-    output_tokens: {max: 100}" in told["difference"]
    assert any("openai/gpt-unpriced has no price" in said for said in told["warnings"])

    status, told = await post(followed, "/check", files={"routes.yaml": WRONG})
    assert (status, told["valid"]) == (200, False)
    assert "unknown provider 'opnai'; did you mean 'openai'?" in told["problems"][0]

    _status, told = await post(followed, "/check", files={"routes.yaml": LEAK})
    assert "private -> fallback -> openai/gpt-test -> provider openai" in told["problems"][0]
    assert on_disk(followed) == (ROUTES, BRAND)


async def test_published_files_are_written_together_kept_and_taken_over(
    followed: Followed,
) -> None:
    files, first = {"routes.yaml": DEARER, "teams/brand.yaml": LONGER}, live(followed)
    status, row = await post(followed, "/publish", files=files, base=first, reason="dearer now")
    assert status == 200, row
    assert (row["number"], row["cause"], row["reason"]) == (2, "api", "dearer now")
    assert row["author"].startswith("key_")
    assert on_disk(followed) == (DEARER, LONGER)
    await followed.until(lambda: live(followed) == row["hash"])

    _status, kept = await followed.call("GET", f"{AT}/versions/1")
    assert kept["version"]["hash"] == first
    assert kept["files"] == [
        {"name": "routes.yaml", "text": ROUTES},
        {"name": "teams/brand.yaml", "text": BRAND},
    ]
    _status, told = await followed.call("GET", f"{AT}/diff?before=1")
    assert "+    output_tokens: {max: 200}" in told["difference"]
    assert told == (await followed.call("GET", f"{AT}/diff?before={first[:8]}&after=2"))[1]
    assert (await followed.call("GET", f"{AT}/diff?before=2"))[1]["difference"] == []

    back = {"base": row["hash"], "reason": "too dear"}
    status, third = await post(followed, "/versions/1/restore", **back)
    assert (status, third["cause"]) == (200, "rollback")
    assert third["reason"] == "back to version 1: too dear"
    assert on_disk(followed) == (ROUTES, BRAND)
    await followed.until(lambda: live(followed) == first)


@pytest.mark.parametrize(
    ("files", "more", "status", "told"),
    [
        ({"routes.yaml": WRONG}, {}, 400, "unknown provider"),
        ({"routes.yaml": LEAK}, {}, 400, "cannot reach a cloud"),
        ({"routes.yaml": ROUTES}, {}, 400, "nothing is different"),
        ({"routes.yaml": DEARER}, {"base": "0" * 64}, 409, "somebody else has changed the rules"),
        ({"routes.yaml": DEARER}, {"reason": " "}, 400, "say why"),
        ({"routes.yaml": DEARER}, {"reason": "a\nb"}, 400, "in one line"),
        ({"../routes.yaml": DEARER}, {}, 400, "is no file of the rules"),
        ({"deploy.sh": "rm"}, {}, 400, "is no file of the rules"),
        (
            {"routes.yaml": ROUTES.replace("9/openai", "8/openai")},
            {},
            400,
            "changed in the file itself",
        ),
        ({"routes.yaml": ROUTES.replace("Europe/Berlin", "UTC")}, {}, 400, "cannot change while"),
        ({}, {}, 400, "files"),
    ],
)
async def test_what_may_not_be_published_is_not_written(
    files: dict[str, str], more: dict[str, str], status: int, told: str, followed: Followed
) -> None:
    sent = {"files": files, "base": live(followed), "reason": "a try", **more}
    answered, said = await post(followed, "/publish", **sent)
    assert (answered, told in said["error"]["message"]) == (status, True), said
    assert on_disk(followed) == (ROUTES, BRAND)
    assert sorted(place.name for place in followed.folder.iterdir()) == ["routes.yaml", "teams"]


async def test_a_version_that_never_was_is_not_found(followed: Followed) -> None:
    for path in (f"{AT}/versions/9", f"{AT}/versions/abcdef", f"{AT}/diff?before=9"):
        status, told = await followed.call("GET", path)
        assert (status, told["error"]["param"]) == (404, "version")
        assert "was ever live" in told["error"]["message"]
    base = {"base": live(followed), "reason": "a try"}
    assert (await post(followed, "/versions/9/restore", **base))[0] == 404


async def test_a_text_larger_than_other_bodies_is_read_from_those_who_may_alone(
    followed: Followed,
) -> None:
    large = {"files": {"routes.yaml": ROUTES + "# " + "x" * 200_000}}
    assert (await post(followed, "/check", **large))[1]["valid"]
    viewer = {"Authorization": f"Bearer {followed.running.key(role='viewer')}"}
    async with (
        aiohttp.ClientSession(headers=viewer) as http,
        http.post(f"{followed.running.url}{AT}/check", json=large) as answer,
    ):
        assert answer.status == 403
