"""Injection: into SQL, headers, paths, the host. What a caller writes stays a value."""

from __future__ import annotations

import ast
from pathlib import Path
from urllib.parse import quote

import pytest

import gateway
from tests.doors.office import Desk
from tests.scripted import Script
from tests.security.wire import Said, say
from tests.stories.front_door import CHAT, QUESTION, House, Told

pytestmark = pytest.mark.anyio

HOUSE = Path(gateway.__file__).parent
EVIL = "evil.example"
SQL = (
    "' OR '1'='1",
    "'; DROP TABLE keys; --",
    "x' UNION SELECT hash FROM keys --",
    '" OR 1=1 --',
    "%' OR 1=1 --",
    "0); DELETE FROM entries; --",
    "$$; SELECT pg_sleep(9); $$",
    "%(org)s",
    ":org",
    "\\'; --",
    "{org}",
    "\x00",
    "\ud800",
)
LINES = ("a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\r\n\r\n<script>", "a\u2028X-Evil: 1", "a\x00b")
TRAVERSALS = (
    "/../../../etc/passwd",
    "/static/../../../../etc/passwd",
    "/static/..%2f..%2f..%2f..%2fetc%2fpasswd",
    "/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/static/%252e%252e%252fetc%252fpasswd",
    "/static//etc/passwd",
    "/static/C:%5cwindows%5cwin.ini",
    "/static/..%5c..%5c..%5cetc%5cpasswd",
    "/static/pages.py%00.css",
    "/v1/models/../../../etc/passwd",
    "/v1/models/..%2f..%2fopenapi.json",
    "/admin/v1/keys/..%2fentries",
    "/etc/passwd",
    "/.env",
    "/routes.yaml",
    "/var/jobgate.db",
)
AROUND = (
    "//admin/v1/keys",
    "/admin//v1/keys",
    "/admin/v1//keys",
    "/./admin/v1/keys",
    "/v1/../admin/v1/keys",
    "/v1/models/../../admin/v1/keys",
    "/v1/models/..%2f..%2fadmin%2fv1%2fkeys",
    "/admin/v1/keys/",
    "/admin/v1/keys;x=1",
    "/admin/v1/keys%00",
    "/admin/v1/keys%2f",
    "/ADMIN/V1/KEYS",
    "/%61dmin/v1/keys",
    "/admin/v1/keys.json",
    "/admin/v1/keys?x=/healthz",
    "/admin/v1/keys#/healthz",
    "/healthz/../admin/v1/keys",
    "/healthz;/admin/v1/keys",
    "/static/../admin/v1/keys",
)
"""Ways to the list of keys around the guard."""


def tables(house: House) -> dict[str, int]:
    """How many rows each table has whose rows a caller must not make or remove."""
    found = {}
    with house.gateway.gateway.database.reading() as cursor:
        for table in ("keys", "teams", "apps", "entries", "holds", "changes"):
            found[table] = cursor.rows(f"SELECT COUNT(*) FROM {table}", {})[0][0]
    return found


async def forgiven(house: House) -> None:
    """A good key forgives the address, so that this file is not slowed down by itself."""
    await house.send("GET", "/v1/models", key=house.key)


def admin(house: House) -> Desk:
    return Desk(house, house.gateway.admin_key)


# ---- SQL


@pytest.mark.parametrize("attack", SQL)
async def test_sql_in_a_header_is_a_value(attack: str, house: House) -> None:
    # what cannot be in a header at all is sent in bytes, or refused by the client itself
    text = attack.replace("\x00", "").encode("utf-8", "replace").decode()
    before = tables(house)
    headers = {
        "Authorization": f"Bearer {text}",
        "X-Jobgate-Job": text,
        "X-Jobgate-Tags": f"stage={text}",
        "Idempotency-Key": text,
    }
    for name, value in headers.items():
        key = {} if name == "Authorization" else {"key": house.key}
        told = await house.send(
            "POST", CHAT, data=b'{"model":"nobody","messages":[]}', **key, **{name: value}
        )
        assert 400 <= told.status < 500, (name, told.raw)
    await forgiven(house)

    assert tables(house) == before


@pytest.mark.parametrize("attack", SQL)
async def test_sql_in_a_body_is_a_value(attack: str, house: House) -> None:
    before = tables(house)
    for fields in (
        {"model": attack, "messages": QUESTION},
        {"model": "extraction", "messages": QUESTION, "user": attack, attack: 1},
        {"model": "extraction", "messages": QUESTION, "metadata": {"stage": attack, attack: "x"}},
    ):
        told = await house.post(fields)
        assert told.status in (200, 400, 404), told.raw
    after = tables(house)

    assert {**after, "entries": before["entries"]} == before


@pytest.mark.parametrize("attack", SQL)
async def test_sql_in_the_admin_api_is_a_value(attack: str, house: House) -> None:
    desk, before = admin(house), tables(house)
    inside = quote(attack.encode("utf-8", "surrogatepass"), safe="")
    asked = [
        ("GET", f"/entries?request_id={inside}", None),
        ("GET", f"/requests/{inside}", None),
        ("GET", f"/changes?subject={inside}", None),
        ("GET", f"/changes?after={inside}", None),
        ("GET", f"/teams/{inside}", None),
        ("DELETE", f"/teams/{inside}", None),
        ("GET", f"/apps/{inside}", None),
        ("GET", f"/keys/{inside}", None),
        ("DELETE", f"/keys/{inside}", None),
        ("POST", f"/keys/{inside}/rotate", {}),
        ("POST", f"/raises/{inside}/end", {"reason": attack}),
        ("POST", "/teams", {"name": attack}),
        ("POST", "/apps", {"name": attack, "team": attack}),
        ("POST", "/keys", {"team": attack, "app": attack}),
        ("POST", "/keys", {"team": "brand", "app": "site", "jobs": [attack]}),
        ("POST", "/keys", {"team": "brand", "app": "site", "addresses": [attack]}),
        ("POST", "/raises", {"budget": attack, "amount": attack, "until": attack, "reason": "x"}),
    ]
    for method, path, body in asked:
        told = await desk.ask(method, path, body)
        empty = path.startswith("/changes?subject=") and told.json == {"changes": [], "next": None}
        assert 400 <= told.status < 500 or empty, (method, path, told.raw)

    assert tables(house) == before


def test_no_statement_is_put_together_where_it_is_run() -> None:
    """Values are bound. Pieces of ours are in the room of the database itself (a PRAGMA with a
    whole number, the triggers of migrations) and in the files of the linter's own list."""
    made = []
    for room in sorted(HOUSE.rglob("*.py")):
        for node in ast.walk(ast.parse(room.read_text("utf-8"))):
            ran = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            if ran and node.func.attr in ("rows", "run", "run_many", "stream", "execute"):
                first = node.args[0] if node.args else None
                if isinstance(first, ast.JoinedStr | ast.BinOp):
                    made.append(room.relative_to(HOUSE).as_posix())
    known = (HOUSE.parent / "pyproject.toml").read_text("utf-8")
    assert [
        room
        for room in made
        if not room.startswith("store/") and f'"gateway/{room}" = ["S608"]' not in known
    ] == []


# ---- headers


def evil_headers(told: Told | Said) -> bool:
    if isinstance(told, Said):
        return b"\nx-evil" in told.raw.lower().partition(b"\r\n\r\n")[0]
    return "x-evil" in {name.lower() for name in told.headers}


@pytest.mark.parametrize("attack", LINES)
async def test_no_caller_writes_a_header_of_an_answer(attack: str, house: House) -> None:
    answers = [
        await house.post({"model": attack, "messages": QUESTION}),
        await house.post({"model": "extraction", "messages": QUESTION, attack: 1}),
        await house.post(
            {"model": "narrative", "messages": QUESTION, "logit_bias": {attack: 1}, "user": attack}
        ),
        await house.post(
            {"model": "extraction", "messages": QUESTION, "metadata": {"stage": attack}}
        ),
        await admin(house).ask("GET", "/teams/" + quote(attack, safe="")),
    ]

    assert not any(evil_headers(told) for told in answers)
    assert all(told.status < 500 for told in answers)


@pytest.mark.parametrize("attack", LINES)
async def test_no_link_writes_a_header_of_a_page(attack: str, house: House) -> None:
    inside = quote("/" + attack, safe="")
    for path in (f"/sign-in?next={inside}", f"/{inside}", f"/requests?team={inside}", "/" + inside):
        head = f"GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n"
        said = await say(house.gateway.url, head.encode(), seconds=5)

        assert said.statuses[0] < 500
        assert not evil_headers(said)
        is_page = b"\ncontent-type: text/html" in said.raw.lower()
        assert not is_page or b"<script>" not in said.raw
        assert b"\nx-content-type-options: nosniff" in said.raw


async def test_a_provider_does_not_write_headers_either(house: House) -> None:
    house.provider.scripts(
        Script(
            text="x",
            headers=(("x-evil", "1"), ("set-cookie", "jobgate_session=stolen"), ("server", "x")),
            model_served="a\r\nx-evil: 1",
            answer_id="a\r\nx-evil: 1",
        )
    )

    told = await house.ask()

    assert told.status == 200
    assert not evil_headers(told)
    assert "set-cookie" not in told.headers
    assert told.headers["server"] != "x"


# ---- paths


@pytest.mark.parametrize("path", TRAVERSALS)
async def test_no_path_leads_to_a_file(path: str, house: House) -> None:
    for key in ("", f"Authorization: Bearer {house.gateway.admin_key}\r\n"):
        head = f"GET {path} HTTP/1.1\r\nHost: gateway\r\n{key}Connection: close\r\n\r\n"
        said = await say(house.gateway.url, head.encode(), seconds=5)

        assert said.statuses in ([400], [401], [404])
        assert b"root:" not in said.raw
        await forgiven(house)


@pytest.mark.parametrize("key", ["no key", "an app's key", "a viewer's cookie"])
@pytest.mark.parametrize("path", AROUND)
async def test_no_path_leads_around_the_guard(path: str, key: str, house: House) -> None:
    proof = {
        "no key": "",
        "an app's key": f"Authorization: Bearer {house.key}\r\n",
        "a viewer's cookie": "Cookie: jobgate_session=made-up\r\n",
    }[key]
    head = f"GET {path} HTTP/1.1\r\nHost: gateway\r\n{proof}Connection: close\r\n\r\n"

    said = await say(house.gateway.url, head.encode(), seconds=5)
    await forgiven(house)

    assert said.statuses in ([303], [400], [401], [403], [404], [405])
    assert b'"keys":' not in said.raw


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PUT", "QUERY", "PROPFIND"])
async def test_no_other_method_leads_around_the_guard(method: str, house: House) -> None:
    for path in ("/admin/v1/keys", "/admin/v1/entries", CHAT):
        head = f"{method} {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n"
        said = await say(house.gateway.url, head.encode(), seconds=5)

        assert said.statuses in ([400], [401], [404], [405])
    await forgiven(house)


@pytest.mark.parametrize(
    "header",
    [
        "X-HTTP-Method-Override: DELETE",
        "X-Original-URL: /admin/v1/keys",
        "X-Rewrite-URL: /admin/v1/keys",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Prefix: /admin",
        "Forwarded: for=127.0.0.1;by=admin",
        "X-Remote-User: admin",
        "X-Jobgate-Role: admin",
    ],
)
async def test_no_header_leads_around_the_guard(header: str, house: House) -> None:
    for path in ("/healthz", "/admin/v1/keys"):
        head = f"GET {path} HTTP/1.1\r\nHost: gateway\r\n{header}\r\nConnection: close\r\n\r\n"
        said = await say(house.gateway.url, head.encode(), seconds=5)

        assert said.statuses == ([200] if path == "/healthz" else [401])
        assert b'"keys":' not in said.raw
    await forgiven(house)


async def test_a_parameter_that_is_there_twice_is_refused_and_none_of_the_two_counts(
    house: House,
) -> None:
    for query in ("limit=1&limit=2", "subject=a&subject=b", "limit=1&x=&limit=1", "x=1&x=2"):
        told = await admin(house).ask("GET", f"/changes?{query}")

        assert (told.status, told.error["code"]) == (400, "invalid_request")


# ---- the host


@pytest.mark.parametrize(
    "host",
    [
        EVIL,
        f"{EVIL}/admin/v1/keys?",
        f"{EVIL}#",
        f"user:password@{EVIL}",
        "[",
        "[::1",
        "]",
        "a b",
        ":99999",
        "'\"><script>alert(1)</script>",
        "xn--\xff",
        "",
    ],
)
async def test_the_host_header_decides_nothing(host: str, house: House) -> None:
    paths = ("/", "/sign-in", "/requests?team=x", "/admin/v1/keys", "/v1/models", "/docs")
    for path in (*paths, "/openapi.json", "/nowhere", "/healthz"):
        more = f"X-Forwarded-Host: {EVIL}\r\nConnection: close\r\n"
        head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n"
        said = await say(house.gateway.url, head.encode("latin-1"), seconds=5)

        assert said.statuses[0] < 500, (path, said.raw)
        assert EVIL.encode() not in said.raw
        assert b"<script>alert" not in said.raw
    await forgiven(house)


@pytest.mark.parametrize("origin", ["http://[", "null", f"http://{EVIL}", "http://gateway.evil"])
@pytest.mark.parametrize("path", ["/sign-in", "/sign-out"])
async def test_a_form_of_another_origin_is_refused(path: str, origin: str, house: House) -> None:
    body = b"key=x&csrf=y"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: gateway\r\nOrigin: {origin}\r\nConnection: close\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    said = await say(house.gateway.url, head.encode() + body, seconds=5)

    assert said.statuses == [403]
    assert b"another site" in said.raw
