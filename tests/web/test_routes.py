"""Routes: edited rules are checked without being written, tried, published, and rolled back."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.web.colouring import coloured
from tests.gateways import routes_for
from tests.scripted import ScriptedProvider
from tests.stories.changing import Followed, following
from tests.stories.front_door import QUESTION
from tests.web.visiting import Visitor, visiting

pytestmark = pytest.mark.anyio

ROUTES = routes_for("http://127.0.0.1:9").lstrip()
DEARER = ROUTES.replace("input: 2.5, cache_read: 1.25, output: 10", "input: 5, output: 20")
WRONG = ROUTES.replace("targets: [openai/gpt-test]", "targets: [opnai/gpt-test]")


@pytest.fixture
async def followed(tmp_path: Path, sqlite_url: str) -> AsyncIterator[Followed]:
    async with following(tmp_path / "rules", ROUTES, sqlite_url) as found:
        yield found


@asynccontextmanager
async def engineer(followed: Followed) -> AsyncIterator[Visitor]:
    async with visiting(followed.running, "platform") as visitor:
        yield visitor


def on_disk(followed: Followed) -> str:
    return (followed.folder / "routes.yaml").read_text()


def form(text: str, followed: Followed, **more: str) -> dict[str, str]:
    """What a browser sends: lines end with CR LF, and what is there is what is live."""
    live = followed.gateway.routes.version
    sent = text.replace("\n", "\r\n")
    return {"file": "routes.yaml", "text": sent, "base": live, **more}


def shown(text: str) -> str:
    """A page as text alone."""
    return html.unescape(re.sub(r"<[^>]*>", "", text))


async def test_the_live_file_is_shown_whole_and_in_colours(followed: Followed) -> None:
    async with engineer(followed) as visitor:
        page = await visitor.get("/routes")
        edit = await visitor.get("/routes/edit")

    assert page.status == 200
    assert followed.gateway.routes.version[:12] in page.text
    assert '<span class="y-key">providers</span>' in page.text
    for line in filter(None, ROUTES.splitlines()):
        assert line in shown(page.text)
    assert html.unescape(edit.text).count(ROUTES.strip()) == 1


async def test_a_wrong_text_is_told_with_its_line_and_nothing_is_written(
    followed: Followed,
) -> None:
    line = WRONG.splitlines().index("    targets: [opnai/gpt-test]") + 1
    async with engineer(followed) as visitor:
        checked = await visitor.fill_in("/routes", "/routes/check", **form(WRONG, followed))
        sent = form(WRONG, followed, reason="a try")
        published = await visitor.fill_in("/routes", "/routes/publish", **sent)

    for seen in (checked, published):
        assert seen.status == 400
        assert f"routes.yaml:{line}: " in shown(seen.text)
        assert "did you mean 'openai" in shown(seen.text)
        assert html.unescape(seen.text).count(WRONG.strip()) == 1
    assert on_disk(followed) == ROUTES


async def test_a_good_text_is_compared_with_what_is_live_and_not_written(
    followed: Followed,
) -> None:
    async with engineer(followed) as visitor:
        seen = await visitor.fill_in("/routes", "/routes/check", **form(DEARER, followed))
        same = await visitor.fill_in("/routes", "/routes/check", **form(ROUTES, followed))

    assert (seen.status, same.status) == (200, 200)
    assert "It would load" in seen.text
    assert re.search(r'd-more">\+.*input: 5, output: 20', seen.text)
    assert re.search(r'd-less">-.*input: 2.5', seen.text)
    assert 'formaction="/routes/publish"' in seen.text
    assert "Nothing is different" in same.text
    assert 'formaction="/routes/publish"' not in same.text
    assert on_disk(followed) == ROUTES


async def test_a_published_text_is_written_kept_logged_and_taken_over(
    followed: Followed,
) -> None:
    sent = form(DEARER, followed, reason="dearer from November on")
    async with engineer(followed) as visitor:
        told = await visitor.fill_in("/routes", "/routes/publish", **sent)
        await followed.until(lambda: followed.gateway.routes.text == DEARER)
        history = await visitor.get("/routes/history")
        saved = [place.read_text() for place in followed.folder.glob(".before-rollback/*/*.yaml")]
        change = changes(followed)[-1]

        assert (told.status, told.leads_to) == (303, "/routes/history")
        assert "dearer from November on" in history.text
        assert history.page.tables["The newest first"][0].cells[-1] == "live"
        assert saved == [ROUTES]
        assert (change["what"], change["subject"]) == ("routes.live", "version 2")
        assert str(change["author"]).startswith("key_")

        # and back again
        one = await visitor.get("/routes/versions/1")
        assert re.search(r'd-more">\+.*input: 5', one.text)
        back = {"base": followed.gateway.routes.version, "reason": "too dear"}
        restored = await visitor.fill_in("/routes/versions/1", "/routes/versions/1/restore", **back)
        assert restored.status == 303, restored.text
        await followed.until(lambda: followed.gateway.routes.text == ROUTES)
        assert "back to version 1: too dear" in (await visitor.get("/routes/history")).text


def changes(followed: Followed) -> list[dict[str, object]]:
    database = followed.gateway.database
    with database.reading() as cursor:
        names = ("what", "subject", "author")
        rows = cursor.rows("SELECT what, subject, who FROM changes ORDER BY number", {})
    return [dict(zip(names, row, strict=True)) for row in rows]


@pytest.mark.parametrize(
    ("text", "more", "told"),
    [
        (DEARER, {}, "say why"),
        (DEARER, {"reason": "x" * 501}, "say why"),
        (DEARER, {"reason": "late", "base": "0" * 64}, "somebody else has changed"),
        (ROUTES, {"reason": "nothing"}, "nothing is different"),
        (
            ROUTES.replace("127.0.0.1:9/openai", "127.0.0.1:8/openai"),
            {"reason": "elsewhere"},
            "changed in the file itself",
        ),
        (
            ROUTES.replace("api_key_env: GEMINI_API_KEY", "api_key_env: OPENAI_API_KEY"),
            {"reason": "another key"},
            "changed in the file itself",
        ),
        (ROUTES.replace("Europe/Berlin", "UTC"), {"reason": "zone"}, "cannot change while"),
    ],
    ids=["no reason", "a novel", "too late", "the same", "elsewhere", "a credential", "zone"],
)
async def test_what_may_not_be_published_is_not_written(
    text: str, more: dict[str, str], told: str, followed: Followed
) -> None:
    async with engineer(followed) as visitor:
        sent = {**form(text, followed), **more}
        seen = await visitor.fill_in("/routes", "/routes/publish", **sent)

    assert seen.status == 400
    assert told in shown(seen.text)
    assert on_disk(followed) == ROUTES
    assert not (followed.folder / ".before-rollback").exists()
    assert [change["what"] for change in changes(followed)].count("routes.live") == 1


ALERTS = """
alerts:
  destinations:
    hook: {kind: webhook, url: "http://127.0.0.1:9/hook", secret_env: HOOK_SECRET}
"""


@pytest.mark.parametrize(
    "before",
    [
        ROUTES.replace("127.0.0.1:9/openai", "127.0.0.1:8/openai"),
        ROUTES + ALERTS.replace("secret_env", "residency: on_prem, secret_env"),
    ],
    ids=["a provider elsewhere", "alerts that hear more"],
)
async def test_nothing_that_was_moved_is_moved_back_from_a_page(
    before: str, tmp_path: Path, sqlite_url: str
) -> None:
    after = ROUTES + ALERTS if ALERTS[:8] in before else ROUTES
    async with following(tmp_path / "rules", before, sqlite_url) as followed:
        await followed.takes(after)
        back = {"base": followed.gateway.routes.version, "reason": "as it was"}
        async with engineer(followed) as visitor:
            seen = await visitor.fill_in("/routes/versions/1", "/routes/versions/1/restore", **back)
            sent = form(before, followed, reason="as it was")
            published = await visitor.fill_in("/routes", "/routes/publish", **sent)
        assert (seen.status, published.status) == (400, 400)
        assert "changed in the file itself" in shown(seen.text)
        assert "jobgate routes rollback 1" in shown(seen.text)
        assert on_disk(followed) == after


async def test_a_file_that_is_a_link_is_not_published_over(followed: Followed) -> None:
    real = followed.folder / "kept-elsewhere.yaml"
    real.write_text(ROUTES)
    (followed.folder / "routes.yaml").unlink()
    (followed.folder / "routes.yaml").symlink_to(real.name)
    async with engineer(followed) as visitor:
        page = await visitor.get("/routes")
        sent = form(DEARER, followed, reason="a try")
        seen = await visitor.fill_in("/routes", "/routes/publish", **sent)

    assert "Nothing can be published from here" in page.text
    assert seen.status == 400
    assert real.read_text() == ROUTES


async def test_past_traffic_is_replayed_by_an_edited_text(tmp_path: Path, sqlite_url: str) -> None:
    async with ScriptedProvider() as provider:
        routes = routes_for(provider.url).lstrip()
        twice = routes.replace(
            "price: {input: 2.5, cache_read: 1.25, output: 10}", "price: {input: 5, output: 20}"
        )
        async with following(tmp_path / "rules", routes, sqlite_url) as followed:
            client = followed.running.client()
            for _ in range(3):
                await client.chat.completions.create(model="extraction", messages=QUESTION)  # type: ignore[arg-type]
            booked = sum(entry["amount_nanos"] for entry in followed.running.entries())
            async with engineer(followed) as visitor:
                sent = form(twice, followed, days="7")
                seen = await visitor.fill_in("/routes", "/routes/whatif", **sent)

    assert seen.status == 200
    assert seen.rows("tried-team") == {key: [booked, 2 * booked, booked] for key in row_names(seen)}
    assert len(row_names(seen)) == 1


def row_names(seen: object) -> list[str]:
    return [row.name for row in seen.page.by["tried-team"]]  # type: ignore[attr-defined]


@pytest.mark.parametrize("role", ["viewer", "finance", "platform@brand", "admin@brand"])
async def test_the_rules_are_for_the_platform_of_the_whole_organisation(
    role: str, followed: Followed
) -> None:
    async with visiting(followed.running, role) as visitor:
        for place in ("/routes", "/routes/edit", "/routes/history", "/routes/versions/1"):
            assert (await visitor.get(place)).status == 403
        sent = form(DEARER, followed, reason="a try")
        assert (await visitor.fill_in("/", "/routes/publish", **sent)).status == 403
        assert 'href="/routes"' not in (await visitor.get("/")).text
    assert on_disk(followed) == ROUTES


async def test_a_form_without_its_token_publishes_nothing(followed: Followed) -> None:
    async with engineer(followed) as visitor:
        for told in ({}, {"csrf": "x"}, {"csrf": visitor.token}):
            sent = {**form(DEARER, followed, reason="a try"), **told}
            assert (await visitor.post("/routes/publish", sent)).status == 403
    assert on_disk(followed) == ROUTES


@given(st.text(alphabet=st.sampled_from("a1 :-#'\"[]{},|>&*\n\\/.té\t"), max_size=200))
def test_colours_lose_nothing_of_a_text(text: str) -> None:
    lines = ["".join(piece for _, piece in line) for line in coloured(text)]

    assert "\n".join(lines) == text


def test_what_is_a_key_a_number_and_a_text_has_its_own_colour() -> None:
    (one, two, three, four) = coloured(
        "jobs: # all\n  a-b: {max: 4, on: true}\n  prompt: |\n    a: 1"
    )

    assert {("key", "jobs"), ("comment", "# all")} <= set(one)
    assert [piece for kind, piece in two if kind in ("key", "number", "word")] == [
        "a-b",
        "max",
        "4",
        "on",
        "true",
    ]
    assert ("key", "prompt") in three
    assert four == [("string", "    a: 1")]
