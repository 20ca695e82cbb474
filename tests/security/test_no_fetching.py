"""SSRF: a caller names models and sends words; where the gateway connects to is never theirs.

A trap listens beside the gateway. Every request below carries its address in some place where a
gateway has been known to follow one. Nobody may come to the trap, and the provider that
routes.yaml names is asked, or nobody is.
"""

from __future__ import annotations

import ast
import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import gateway
from tests.gateways import SECRETS, RunningGateway, routes_for, running
from tests.scripted import Script, ScriptedProvider
from tests.stories.front_door import CHAT, QUESTION

pytestmark = pytest.mark.anyio

HOUSE = Path(gateway.__file__).parent
JOBS = ("extraction", "narrative", "workspace", "volume", "private")


@dataclass
class Trap:
    """Somewhere that nobody has any reason to connect to."""

    url: str = ""
    visits: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def a_trap() -> AsyncIterator[Trap]:
    trap = Trap()

    async def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        trap.visits.append(await reader.read(1000))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(visited, "127.0.0.1", 0)
    async with server:
        trap.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield trap


@dataclass(frozen=True)
class Scene:
    gateway: RunningGateway
    provider: ScriptedProvider
    trap: Trap
    http: aiohttp.ClientSession
    key: str

    async def post(self, path: str, fields: Any, **headers: str) -> tuple[int, bytes]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.post(
            self.gateway.url + path,
            data=json.dumps(fields),
            headers={"Authorization": f"Bearer {self.key}", **named},
        ) as answer:
            return answer.status, await answer.read()


@asynccontextmanager
async def a_scene(folder: Path) -> AsyncIterator[Scene]:
    async with (
        a_trap() as trap,
        ScriptedProvider() as provider,
        running(
            routes_for(provider.url), f"sqlite:///{folder}/books.db", environment=SECRETS
        ) as gateway,
        aiohttp.ClientSession() as http,
    ):
        yield Scene(gateway, provider, trap, http, gateway.key())


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with a_scene(tmp_path_factory.mktemp("books")) as opened:
        yield opened


FIELDS = (
    *("base_url", "api_base", "api_url", "endpoint", "host", "azure_endpoint", "aws_bedrock"),
    *("proxy", "proxies", "callback_url", "webhook", "webhook_url", "file", "image", "image_url"),
    *("extra_headers", "extra_body", "extra_query", "default_headers", "custom_llm_provider"),
    *("fallbacks", "model_list", "mock_response", "litellm_params", "vertex_project", "tools_url"),
)


@pytest.mark.parametrize("name", FIELDS)
async def test_no_field_of_a_body_names_a_host_for_us(name: str, scene: Scene) -> None:
    for job in JOBS:
        for value in (scene.trap.url, {"url": scene.trap.url}, [scene.trap.url]):
            asked = len(scene.provider.requests)
            status, _ = await scene.post(
                CHAT, {"model": job, "messages": QUESTION, name: value, "api_key": "sk-theirs"}
            )
            assert status in (200, 400)
            assert len(scene.provider.requests) == asked + (status == 200)
            if status == 200:
                sent = scene.provider.requests[-1]
                assert "sk-theirs" not in str(dict(sent.headers))

    assert scene.trap.visits == []


@pytest.mark.parametrize(
    "header",
    ["Host", "X_Forwarded_Host", "X_Base_Url", "X_Portkey_Custom_Host", "Referer", "Origin"],
)
async def test_no_header_names_a_host_for_us(header: str, scene: Scene) -> None:
    address = scene.trap.url.removeprefix("http://") if header == "Host" else scene.trap.url
    asked = len(scene.provider.requests)

    status, _ = await scene.post(
        CHAT, {"model": "extraction", "messages": QUESTION}, **{header: address}
    )

    assert status == 200
    assert len(scene.provider.requests) == asked + 1
    assert address not in str(dict(scene.provider.requests[-1].headers))
    assert scene.trap.visits == []


@pytest.mark.parametrize("job", JOBS)
async def test_an_address_in_a_message_is_passed_on_or_refused_and_never_fetched(
    job: str, scene: Scene
) -> None:
    url = scene.trap.url
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": f"{url}/cat.png"}},
        {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}},
        {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest/meta-data/"}},
        {"type": "image_url", "image_url": f"{url}/cat.png"},
        {"type": "input_audio", "input_audio": {"data": f"{url}/a.wav", "format": "wav"}},
        {"type": "file", "file": {"file_data": f"{url}/a.pdf", "file_id": f"{url}/a.pdf"}},
        {"type": "document", "source": {"type": "url", "url": f"{url}/a.pdf"}},
    ]
    for part in parts:
        content = [{"type": "text", "text": "What is this?"}, part]
        messages = [{"role": "user", "content": content}]
        status, told = await scene.post(CHAT, {"model": job, "messages": messages})
        assert status in (200, 400), told
        assert b"root:" not in told

    assert scene.trap.visits == []


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages", "/v1/embeddings"])
async def test_the_other_forms_fetch_nothing_either(path: str, scene: Scene) -> None:
    url = scene.trap.url
    image = [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}]
    source = {"type": "image", "source": {"type": "url", "url": url}}
    fields = {
        "/v1/responses": {
            "model": "extraction",
            "input": image,
            "tools": [{"type": "mcp", "server_label": "x", "server_url": url}],
        },
        "/v1/messages": {
            "model": "narrative",
            "max_tokens": 10,
            "messages": [{"role": "user", "content": [source]}],
            "mcp_servers": [{"type": "url", "name": "x", "url": url}],
        },
        "/v1/embeddings": {"model": "extraction", "input": url},
    }[path]

    status, told = await scene.post(path, fields)

    assert status in (200, 400), told
    assert scene.trap.visits == []


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
async def test_a_provider_cannot_send_us_elsewhere(stream: bool, tmp_path: Path) -> None:
    async with a_scene(tmp_path) as scene:
        for job, status in zip(JOBS, (301, 302, 303, 307, 308), strict=True):
            scene.provider.scripts(Script(status=status, headers=(("location", scene.trap.url),)))
            fields = {"model": job, "messages": QUESTION, "stream": stream}
            told, _ = await scene.post(CHAT, fields)
            assert told == 502

        assert scene.trap.visits == []


async def test_the_environment_cannot_send_us_elsewhere(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, scene.trap.url)

    status, _ = await scene.post(CHAT, {"model": "volume", "messages": QUESTION})

    assert status == 200
    assert scene.trap.visits == []


async def test_a_caller_cannot_bring_headers_along_to_a_provider(scene: Scene) -> None:
    mine = {
        "X_Api_Key": "sk-theirs",
        "Cookie": "session=theirs",
        "X_Forwarded_For": "10.9.8.7",
        "OpenAI_Organization": "theirs",
        "anthropic_beta": "theirs",
        "Proxy_Authorization": "Basic theirs",
    }
    for job in JOBS:
        status, _ = await scene.post(CHAT, {"model": job, "messages": QUESTION}, **mine)
        sent = dict(scene.provider.requests[-1].headers)

        assert status == 200
        assert "theirs" not in str(sent)
        assert "10.9.8.7" not in str(sent)
        assert scene.key not in str(sent)


def test_only_the_rooms_that_have_to_can_connect_to_anything() -> None:
    """A new import of an HTTP client is a decision: it stands here, with what it connects to."""
    clients = {"aiohttp", "httpx", "requests", "urllib3", "http", "smtplib", "ftplib", "socket"}
    found = set()
    for room in sorted(HOUSE.rglob("*.py")):
        for node in ast.walk(ast.parse(room.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if clients & {name.split(".")[0] for name in names} or "urllib.request" in names:
                found.add(room.relative_to(HOUSE).as_posix())

    assert {room for room in found if not room.startswith("cli/")} <= MAY_CONNECT


MAY_CONNECT = {
    "upstreams/failures.py",  # knows the errors of the pool
    "upstreams/free_call.py",  # providers, for `jobgate doctor`
    "upstreams/exchanges.py",  # providers, by routes.yaml
    "upstreams/http.py",  # the errors of their connections
    "upstreams/litellm_bridge.py",
    "upstreams/litellm_transport.py",  # refuses what is not the provider's own host
    "callers/issuer_documents.py",  # the sign-in service, by setting
    "alerts/mailing.py",
    "alerts/sending.py",  # where alerts go, by routes.yaml
}
