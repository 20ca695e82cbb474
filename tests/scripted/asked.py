"""What a request asks of a provider, whichever wire format it came in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Api = Literal["chat", "embeddings", "responses", "messages", "generate", "models"]

FLAVOURS = ("openai", "mistral", "ollama", "vllm", "groq", "deepseek", "xai", "gemini")
"""Who speaks OpenAI's chat format, each in its own dialect."""

_GENERATE = re.compile(r"/models/(?P<model>.+):(?P<verb>generateContent|streamGenerateContent)$")
_ENDINGS: Mapping[str, Api] = {
    "/chat/completions": "chat",
    "/embeddings": "embeddings",
    "/responses": "responses",
    "/messages": "messages",
}
_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens", "maxOutputTokens")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A request, read as far as an answer depends on it."""

    api: Api
    flavour: str
    model: str = ""
    stream: bool = False
    sse: bool = True
    """False for a Gemini stream without alt=sse, which is one JSON array."""
    include_usage: bool = False
    n: int = 1
    limit: int | None = None
    """The most output tokens for one choice."""
    words: int = 0
    last_text: str = ""
    body: Mapping[str, Any]


def api_of(method: str, path: str) -> tuple[Api, re.Match[str] | None] | None:
    """Which call a path is, or None. `path` has no query."""
    if method == "GET":
        return ("models", None) if path.endswith("/models") else None
    if generate := _GENERATE.search(path):
        return "generate", generate
    for ending, api in _ENDINGS.items():
        if path.endswith(ending):
            return api, None
    return None


def flavour_of(path: str, default: str) -> str:
    """The flavour that the path opens with (`/mistral/v1/…`), or the default."""
    first = path.split("/", 2)[1] if path.startswith("/") else ""
    return first if first in FLAVOURS else default


def read(method: str, target: str, body: Mapping[str, Any], flavour: str) -> Asked | None:
    """What the request asks, or None when the provider has no such path."""
    path, _, query = target.partition("?")
    found = api_of(method, path)
    if found is None:
        return None
    api, generate = found
    options, config = (_object(body.get("stream_options")), _object(body.get("generationConfig")))
    turns = body.get("messages") or body.get("contents") or body.get("input") or ()
    preface = (body.get("system"), body.get("instructions"), body.get("systemInstruction"))
    return Asked(
        api=api,
        flavour=flavour_of(path, flavour),
        model=generate["model"] if generate else str(body.get("model", "")),
        stream=generate["verb"].startswith("stream") if generate else body.get("stream") is True,
        sse=generate is None or "alt=sse" in query,
        include_usage=options.get("include_usage") is True,
        n=_whole(body.get("n")) or _whole(config.get("candidateCount")) or 1,
        limit=_limit({**config, **body}),
        words=sum(map(_words, _texts([turns, preface]))),
        last_text=_last_of_user(turns),
        body=body,
    )


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _limit(body: Mapping[str, Any]) -> int | None:
    """The first limit on output that is a positive number."""
    return next(filter(None, (_whole(body.get(name)) for name in _LIMITS)), None)


def _whole(value: Any) -> int | None:
    return value if type(value) is int and value > 0 else None


def _words(text: str) -> int:
    return len(text.split())


def _texts(node: Any) -> Iterator[str]:
    """Every text under a message, a part, a list of them, or a bare string; at any depth."""
    waiting = [node]
    while waiting:
        found = waiting.pop()
        if isinstance(found, str):
            yield found
        elif isinstance(found, list | tuple):
            waiting.extend(reversed(found))
        elif isinstance(found, dict):
            waiting.extend(found.get(key) for key in ("output", "parts", "text", "content"))


def _last_of_user(turns: Any) -> str:
    if isinstance(turns, str):
        return turns
    listed: list[Any] = turns if isinstance(turns, list) else []
    for turn in reversed(listed):
        if isinstance(turn, str):
            return turn
        if isinstance(turn, dict) and turn.get("role", "user") == "user":
            return " ".join(_texts(turn))
    return ""
