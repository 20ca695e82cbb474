"""Pages need nothing from elsewhere, and let nothing in: headers, names with hashes, no inline."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import gateway.web
from gateway.web.assets import Assets
from tests.gateways import RunningGateway, routes_for, running
from tests.web.visiting import visiting

pytestmark = pytest.mark.anyio

WEB = Path(gateway.web.__file__).parent
TEMPLATES = sorted((WEB / "templates").glob("*.html"))
STATIC = sorted(path for path in (WEB / "static").rglob("*") if path.is_file())
OURS = [path for path in STATIC if "vendor" not in path.parts]
VENDORED = [
    *(WEB / "static" / "vendor").glob("*.[cj]s*"),
    *(Path(__file__).parent / "vendor").glob("*.js"),
]
OF_TEMPLATES = re.compile(r"\{[%#].*?[%#]\}", re.DOTALL)
WITH_STATEMENTS = re.compile(
    r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+\s*=\s*[\"']|javascript:"
)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def opened(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    url = f"sqlite:///{tmp_path_factory.mktemp('books')}/books.db"
    async with running(routes_for("http://127.0.0.1:9"), url) as found:
        yield found


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_has_a_script_a_style_or_a_handler_in_it(path: Path) -> None:
    markup = OF_TEMPLATES.sub("", path.read_text("utf-8"))
    assert WITH_STATEMENTS.findall(markup) == []


@pytest.mark.parametrize("path", [*TEMPLATES, *OURS], ids=lambda path: path.name)
def test_nothing_is_fetched_from_elsewhere(path: Path) -> None:
    text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"https?://|@import|url\(|(?:src|href)=\"//", text) == []


@pytest.mark.parametrize("path", VENDORED, ids=lambda path: path.name)
def test_what_others_wrote_is_as_they_wrote_it(path: Path) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    notes = (path.parent / "README.md").read_text("utf-8")
    assert re.search(rf"\| {re.escape(path.name)} \|.*\| {digest} \|", notes)


def test_a_name_has_the_hash_of_what_it_names() -> None:
    assets = Assets()
    for path in STATIC:
        if path.suffix in (".css", ".js", ".svg"):
            url = assets.url(path.relative_to(WEB / "static").as_posix())
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            assert digest[:12] in url


async def test_a_page_is_protected_and_kept_nowhere(opened: RunningGateway) -> None:
    async with visiting(opened, "viewer") as visitor:
        for path in ("/", "/requests", "/sign-in", "/requests/nothing", "/requests.csv"):
            headers = (await visitor.get(path)).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "http" not in policy
            assert "frame-ancestors 'none'" in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin"
            assert headers["cache-control"] == "no-store"


async def test_files_are_kept_for_a_year_and_others_are_not_there(opened: RunningGateway) -> None:
    async with visiting(opened, "viewer") as visitor:
        text = (await visitor.get("/")).text
        places = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', text))
        assert len(places) >= 6
        for place in places:
            seen = await visitor.get(place)
            assert seen.status == 200
            assert seen.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert seen.headers["content-type"].startswith(("text/", "image/svg+xml"))
        for place in (
            "/static/pages.css",
            "/static/",
            "/static/../rendering.py",
            "/static/%2e%2e/rendering.py",
            "/static/vendor/README.md",
        ):
            assert (await visitor.get(place)).status == 404


async def test_names_from_the_books_are_text_on_every_page(opened: RunningGateway) -> None:
    """Whatever a key, a team or a reason is called, it is never markup."""
    words = "<script>alert(1)</script>"
    async with visiting(opened, "finance") as visitor:
        for place in (
            f"/requests?job={words}&team={words}&tag=a={words}",
            f"/requests/{words}",
            f"/jobs/{words}",
            f"/budgets/one?name={words}&subject={words}",
            f"/?month={words}",
            f"/sign-in?next=/{words}",
        ):
            seen = await visitor.get(place, accept="text/html")
            assert "<script>alert" not in seen.text
            assert seen.headers["content-type"].startswith("text/html")


async def test_when_the_books_are_out_of_reach_a_page_says_so(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/books.db"
    async with (
        running(routes_for("http://127.0.0.1:9"), url) as gateway,
        visiting(gateway, "viewer") as visitor,
    ):
        database = gateway.gateway.database
        with database.writing() as cursor:
            cursor.run("ALTER TABLE rollups RENAME TO elsewhere", {})
        whole = await visitor.get("/requests", accept="text/html")
        part = await visitor.get("/parts/so-far", hx_request="true")
        with database.writing() as cursor:
            cursor.run("ALTER TABLE elsewhere RENAME TO rollups", {})
        assert (whole.status, part.status) == (503, 503)
        assert "the books are out of reach" in whole.text
        assert "the books are out of reach" in part.text
        assert "<html" in whole.text
        assert "<html" not in part.text
        assert "rollups" not in whole.text + part.text
