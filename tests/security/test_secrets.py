"""Canaries: secrets and prompts that are given to a gateway, and everything that it leaves behind.

A gateway runs as a process of its own and at its most talkative. It is asked well and badly, by
keys that are good and keys that are not, with providers that answer, fail, and repeat what they
were told. Then every byte that it wrote is looked through: its log, its database, every other
file, and every answer to somebody who is not the one who asked.
"""

from __future__ import annotations

import ast
import base64
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gateway
from tests.gateways import routes_for
from tests.scripted import Script, ThreadedProvider
from tests.security.process import Process, a_process, environment

HOUSE = Path(gateway.__file__).parent
REPOSITORY = HOUSE.parent
PROVIDER_KEYS = {
    "OPENAI_API_KEY": "sk-canary-of-openai-7f3a",
    "ANTHROPIC_API_KEY": "sk-ant-canary-of-anthropic-7f3a",
    "GEMINI_API_KEY": "AIzaCanaryOfGemini7f3a",
    "MISTRAL_API_KEY": "canaryOfMistral7f3a",
}
PROMPT, ANSWER, SYSTEM = "canary-prompt-5b1e", "canary-answer-5b1e", "canary-system-5b1e"
GUESS = "jg_canaryOfAGuess5b1e"
REPEAT = "canary-idempotency-5b1e"
PATHS = {
    "/v1/chat/completions": ("extraction", "narrative", "workspace", "volume", "private"),
    "/v1/responses": ("extraction",),
    "/v1/messages": ("narrative",),
    "/v1/embeddings": ("extraction",),
}
OFFICE = (
    *("/metrics", "/healthz", "/readyz", "/openapi.json", "/docs"),
    *("/admin/v1/me", "/admin/v1/keys", "/admin/v1/teams", "/admin/v1/apps", "/admin/v1/changes"),
    *("/admin/v1/changes?format=csv", "/admin/v1/budgets", "/admin/v1/raises", "/admin/v1/routes"),
    *("/admin/v1/routes/status", "/admin/v1/routes/history", "/v1/models"),
)


@pytest.fixture(scope="module")
def provider() -> Iterator[ThreadedProvider]:
    with ThreadedProvider() as running:
        yield running


@pytest.fixture(scope="module")
def left_behind(
    provider: ThreadedProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    """A gateway that has been asked in every way, and still runs."""
    folder = tmp_path_factory.mktemp("gateway")
    with a_process(folder, routes_for(provider.url), PROVIDER_KEYS) as running:
        exercise(running, provider)
        yield running


def question(path: str, job: str, stream: bool) -> dict[str, object]:
    said = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}]
    fields: dict[str, object] = {"model": job, "stream": stream}
    if path == "/v1/chat/completions":
        fields |= {"messages": said, "user": PROMPT, "stop": [PROMPT]}
    elif path == "/v1/messages":
        fields |= {"messages": said[1:], "system": SYSTEM, "max_tokens": 10}
    else:
        fields |= {"input": PROMPT}
    return fields


def exercise(running: Process, provider: ThreadedProvider) -> None:
    """Everything that can go well or badly."""
    echo = f"Incorrect API key provided: {list(PROVIDER_KEYS.values())}. You said {PROMPT}."
    scripts = (
        Script(text=ANSWER),
        Script(status=401, error=echo),
        Script(status=400, error=echo),
        Script(status=500, body=echo),
        Script(text=ANSWER, error_event_after=0, error=echo),
        Script(text=ANSWER, garbage_after=0),
        Script(text=ANSWER, cut_after_chunk=0),
        Script(text=ANSWER, truncate_json=True, cut_after_chunk=0),
        Script(hang_up=True),
    )
    for path, jobs in PATHS.items():
        for job in jobs:
            for number, script in enumerate(scripts):
                provider.script = script
                stream = path != "/v1/embeddings" and number % 2 == 0
                running.ask(path, running.key, question(path, job, stream))
    provider.script = Script(text=ANSWER)
    asked = question("/v1/chat/completions", "private", False)
    for headers in (
        {"Idempotency_Key": REPEAT},
        {"Idempotency_Key": REPEAT},
        {"X_Jobgate_Job": PROMPT},
        {"X_Jobgate_Tags": PROMPT},
        {"Content_Encoding": "gzip"},
    ):
        running.ask("/v1/chat/completions", running.key, asked, **headers)
    for bad in ({**asked, "messages": PROMPT}, {**asked, "temperature": PROMPT}, [PROMPT], PROMPT):
        running.ask("/v1/chat/completions", running.key, bad)
    running.ask("/v1/chat/completions", GUESS, asked)
    running.ask("/v1/chat/completions", PROVIDER_KEYS["OPENAI_API_KEY"], asked)


def secrets(running: Process) -> dict[str, str]:
    """What must be nowhere, by what it is."""
    plain = {
        **PROVIDER_KEYS,
        "a key of an app": running.key,
        "the key of the admin": running.admin,
        "a key that was guessed": GUESS,
        "a prompt": PROMPT,
        "a system prompt": SYSTEM,
        "an answer": ANSWER,
        "an idempotency key": REPEAT,
    }
    packed = {
        f"{name}, as base64": base64.b64encode(text.encode()).decode()[:-4].rstrip("=")
        for name, text in plain.items()
    }
    return plain | packed


def found_in(text: bytes | str, running: Process, *, but: tuple[str, ...] = ()) -> list[str]:
    data = text.encode() if isinstance(text, str) else text
    return [
        name
        for name, secret in secrets(running).items()
        if name not in but and secret.encode() in data
    ]


def test_nothing_secret_and_no_prompt_is_in_any_byte_on_disk(left_behind: Process) -> None:
    files = left_behind.written()
    lines = files.pop("gateway.log")

    assert {"books.db", "books.db-wal"} <= set(files)
    for name, data in files.items():
        assert found_in(data, left_behind) == [], name
    # the admin key is shown once, by the first start
    assert found_in(lines, left_behind, but=("the key of the admin",)) == []
    assert lines.count(left_behind.admin.encode()) == 1


@pytest.mark.parametrize("path", OFFICE)
def test_nothing_secret_and_no_prompt_is_in_what_others_can_read(
    path: str, left_behind: Process
) -> None:
    status, headers, body = left_behind.ask(path, left_behind.admin)

    assert status == 200
    assert found_in(headers + body, left_behind) == []


def test_no_decision_of_a_request_tells_what_was_asked(left_behind: Process) -> None:
    asked = question("/v1/chat/completions", "private", False)
    for body in (asked, {**asked, "messages": PROMPT}, {**asked, "model": PROMPT}):
        _, headers, _ = left_behind.ask("/v1/chat/completions", left_behind.key, body)
        request_id = headers.partition("x-jobgate-request-id: ")[2].split()[0]
        for path in (f"/requests/{request_id}", f"/entries?request_id={request_id}"):
            status, _, told = left_behind.ask("/admin/v1" + path, left_behind.admin)
            assert status in (200, 404)
            assert found_in(told, left_behind) == []


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_no_error_of_a_provider_tells_its_key_to_a_caller(
    stream: bool, left_behind: Process, provider: ThreadedProvider
) -> None:
    key = PROVIDER_KEYS["MISTRAL_API_KEY"]
    for told in (f"Incorrect API key provided: {key}", f"Authorization: Bearer {key} is wrong"):
        provider.script = Script(status=400, error=told)
        answer = left_behind.ask(
            "/v1/chat/completions",
            left_behind.key,
            question("/v1/chat/completions", "volume", stream),
        )
        assert key not in str(answer)
        assert "[secret]" in answer[2] or answer[0] == 503
    provider.script = Script(text=ANSWER)


def test_no_key_of_a_caller_reaches_a_provider(
    left_behind: Process, provider: ThreadedProvider
) -> None:
    sent = [str(dict(seen.headers)) for seen in provider.requests]

    assert len(sent) > 50
    assert not [headers for headers in sent if left_behind.key in headers]


def test_the_process_shows_no_secret_in_its_command_line(left_behind: Process) -> None:
    shown = Path(f"/proc/{left_behind.process.pid}/cmdline").read_bytes()

    assert found_in(shown, left_behind) == []


def test_a_crash_writes_neither_a_dump_nor_a_secret(left_behind: Process) -> None:
    """The last test of this file that needs the process."""
    limits = Path(f"/proc/{left_behind.process.pid}/limits").read_text()
    (core,) = (line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]

    left_behind.process.send_signal(signal.SIGABRT)
    assert left_behind.process.wait(timeout=30) == -signal.SIGABRT
    files = left_behind.written()
    lines = files.pop("gateway.log")

    assert b"Fatal Python error: Aborted" in lines
    assert not [name for name in files if "core" in name]
    assert found_in(lines, left_behind, but=("the key of the admin",)) == []


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://gateway:canary-password@127.0.0.1:1/books",
        "postgres//gateway:canary-password@127.0.0.1/books",
        "mysql://gateway:canary-password@127.0.0.1/books",
        "postgresql://gateway:canary-password@127.0.0.1:port/books",
        "postgresql://gateway@127.0.0.1:1/books?password=canary-password",
    ],
)
def test_the_password_of_a_database_is_not_told(url: str, tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(routes_for("http://127.0.0.1:9"))
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "audit"],
        env=environment(tmp_path, {"JOBGATE_DATABASE_URL": url}),
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (2, 75)
    assert b"Traceback" not in done.stderr
    assert b"canary-password" not in done.stdout + done.stderr


# ---- the timing of key checks, by structure: what a clock shows depends on the machine


def compared(room: Path) -> list[str]:
    """Names in a file that are compared with == or !=, or looked for in a text."""
    found = []
    for node in ast.walk(ast.parse(room.read_text("utf-8"))):
        if isinstance(node, ast.Compare) and any(
            isinstance(op, ast.Eq | ast.NotEq) for op in node.ops
        ):
            for side in (node.left, *node.comparators):
                found.append(ast.unparse(side))
    return found


def test_no_secret_is_compared_in_a_way_whose_time_tells_where_it_differs() -> None:
    secret = ("secret", "token", "digest", "key_hash", "signature", "csrf", "password", "nonce")
    suspicious = [
        f"{room.relative_to(HOUSE)}: {name}"
        for folder in ("callers", "doors")
        for room in sorted((HOUSE / folder).rglob("*.py"))
        for name in compared(room)
        if any(word in name.lower() for word in secret)
    ]
    assert suspicious == []


def test_a_key_is_looked_up_by_the_whole_hash_of_it_and_compared_in_constant_time() -> None:
    text = (HOUSE / "callers" / "callers.py").read_text("utf-8")
    calls = [
        ast.unparse(node.func) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)
    ]
    assert "hmac.compare_digest" in calls
    assert "hashlib.sha256" in calls
    assert "startswith" not in text
