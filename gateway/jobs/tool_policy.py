"""Which tools a request may bring, whatever its form calls them.

A kind is a tool's `type` without its version: `web_search` stands for `web_search_preview` and
`web_search_20250305` too. What the caller runs itself is a `function` in all forms, whether it is
called that, `custom`, or nothing at all as in Messages. Tools that are kept stay byte for byte.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.errors import BadRequest
from gateway.jobs.policies import ToolsPolicy
from gateway.jobs.values import short
from gateway.jobs.wishes import Wish

FUNCTION = "function"
_BESIDE = {"functions": FUNCTION, "web_search_options": "web_search", "mcp_servers": "mcp"}
"""Fields that bring a tool although they are not `tools`, and its kind."""
_LOST_WITHOUT_TOOLS = ("tool_choice", "parallel_tool_calls")


class _Tool(msgspec.Struct):
    type: Any = None


_tools = msgspec.json.Decoder(list[msgspec.Raw])
_tool = msgspec.json.Decoder(_Tool)


def limit_tools(wish: Wish, policy: ToolsPolicy) -> None:
    """Leave out the tools that the job does not allow. Raises BadRequest if it refuses them."""
    takes = "the job takes " + (", ".join(sorted(policy.allowed)) or "no tools")
    if (raw := wish.given("tools")) is not None:
        _limit(wish, policy, raw, takes)
    for name, kind in _BESIDE.items():
        if wish.given(name) is not None and not _allowed(kind, policy):
            wish.close(name, policy.outside, takes)
            if name == "functions" and wish.given("function_call") is not None:
                wish.leave_out("function_call", "no functions are left")


def _limit(wish: Wish, policy: ToolsPolicy, raw: bytes, takes: str) -> None:
    kept, gone = [], []
    for tool in _read(raw):
        kind = _kind(tool)
        if _allowed(kind, policy):
            kept.append(tool)
        else:
            gone.append(short(kind))
    if not gone:
        return
    kinds = ", ".join(dict.fromkeys(gone))
    if policy.outside == "refuse":
        said = f"job {wish.job!r} does not take tools of type {kinds}: {takes}"
        raise BadRequest(said, param="tools")
    if kept:
        wish.put("tools", kept)
        wish.told.append(f"tools of type {kinds} dropped ({takes})")
        choice = wish.given("tool_choice")
        if choice is not None and choice[:1] == b"{":  # it may name one that is gone
            wish.leave_out("tool_choice", "some tools are gone")
        return
    wish.leave_out("tools", takes)
    for name in _LOST_WITHOUT_TOOLS:
        if wish.given(name) is not None:
            wish.leave_out(name, "no tools are left")


def _read(raw: bytes) -> list[msgspec.Raw]:
    try:
        return _tools.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        raise BadRequest("tools must be a list", param="tools") from None


def _kind(tool: msgspec.Raw) -> str:
    try:
        kind = _tool.decode(tool).type
    except (msgspec.MsgspecError, RecursionError):
        raise BadRequest("a tool must be an object", param="tools") from None
    return kind if isinstance(kind, str) and kind != "custom" else FUNCTION


def _allowed(kind: str, policy: ToolsPolicy) -> bool:
    return kind in policy.allowed or any(kind.startswith(f"{name}_") for name in policy.allowed)
