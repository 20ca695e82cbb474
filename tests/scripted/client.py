"""A raw client for tests: small requests in every format, and whatever came back."""

from __future__ import annotations

import json
import re
from typing import Any

import aiohttp

from tests.scripted.provider import ScriptedProvider

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
RESPONSES = "/v1/responses"
GEMINI = "/v1beta/models/g-1:generateContent"
GEMINI_STREAM = "/v1beta/models/g-1:streamGenerateContent?alt=sse"


def asking(path: str, text: str = "tell me more", **more: Any) -> dict[str, Any]:
    """A small request in the format of the path."""
    if "generateContent" in path.lower() or "GenerateContent" in path:
        return {"contents": [{"role": "user", "parts": [{"text": text}]}], **more}
    if path == RESPONSES:
        return {"model": "m-1", "input": text, **more}
    turns = [{"role": "user", "content": text}]
    limit = {"max_tokens": 100} if path == MESSAGES else {}
    return {"model": "m-1", "messages": turns, **limit, **more}


async def post(
    client: aiohttp.ClientSession, provider: ScriptedProvider, path: str, **more: Any
) -> tuple[int, Any]:
    async with client.post(provider.url + path, json=asking(path, **more)) as answer:
        return answer.status, json.loads(await answer.read())


async def stream(
    client: aiohttp.ClientSession, provider: ScriptedProvider, path: str, **more: Any
) -> tuple[list[Any], type[BaseException] | None]:
    """The events that arrive (JSON where it is JSON), and what broke, if something did."""
    flag = {} if "Generate" in path else {"stream": True}
    got = b""
    broke = None
    async with client.post(provider.url + path, json=asking(path, **{**flag, **more})) as answer:
        assert answer.status == 200
        try:
            async for data in answer.content.iter_any():
                got += data
        except aiohttp.ClientError as wrong:
            broke = type(wrong)
    found = re.findall(rb"^data: (.*?)\r?$", got, re.M)
    return [json.loads(one) if one[-1:] == b"}" else one for one in found], broke
