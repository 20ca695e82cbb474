"""An OpenAI chat request, said as an Anthropic Messages request.

Owns where each thing goes: system and developer messages to `system`, tool results into the
user's turns, turns of one speaker joined, tools, formats and reasoning under their other names.
Promises that nothing is lost in silence: what can not be said is refused with its place when it
is content, and listed as dropped when it is a parameter. Pure; it will not know about sampling
limits, prices or budgets.
"""

from __future__ import annotations

import base64
import binascii
import re

import msgspec

from gateway.errors import BadRequest
from gateway.wire.anthropic_thinking import (
    Model,
    model_named,
    schema_it_holds_to,
    thinking_for,
)
from gateway.wire.openai_request import (
    Function,
    Json,
    Part,
    Translated,
    answers_asked_of,
    data_uri,
    effort_of,
    expect_text,
    file_data_of,
    functions_of,
    image_url_of,
    messages_of,
    not_understood,
    said_parts_of,
    schema_asked_of,
    stops_of,
    text_of,
    tool_calls_of,
    tool_choice_of,
    unsupported,
)

_SAID_AS_IT_IS = ("temperature", "top_p", "top_k")
_UNDERSTOOD = frozenset(
    {
        *_SAID_AS_IT_IS,
        "stop",
        "user",
        "safety_identifier",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "reasoning_effort",
        "thinking",
        "n",
    }
)
_TOOL_MODES = {"auto": "auto", "none": "none", "required": "any", "named": "tool"}
_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9_-]")
_THOUGHTS = ("thinking", "redacted_thinking")
_ONLY_JSON = "Answer with one valid JSON object and nothing else: no code fence, no other text."


def to_anthropic(body: Json, *, model: str, max_tokens: int) -> Translated:
    """The Messages request that says what this chat request says.

    `max_tokens` is the output limit that the job allows, in tokens. Raises BadRequest, with the
    place as `param`, for what the format can not say.
    """
    if answers_asked_of(body) != 1:
        raise unsupported("n", "more than one answer to a request")
    claude = model_named(model)
    dropped = not_understood(body, _UNDERSTOOD)
    system, turns = _conversation(body)
    request: Json = {"model": model, "max_tokens": max_tokens, "messages": turns}
    if body.get("stream") is True:
        request["stream"] = True
    for name in _SAID_AS_IT_IS:
        if body.get(name) is not None:
            request[name] = body[name]
    _add_stops(request, body, dropped)
    _add_user(request, body)
    _add_tools(request, body, claude)
    _add_format(request, body, claude, system)
    _add_thinking(request, body, claude, dropped)
    if not _thinks(request, claude):
        _forget_thoughts(request["messages"])
    if system:
        request["system"] = system
    return Translated(request, tuple(dropped))


def _conversation(body: Json) -> tuple[list[Json], list[Json]]:
    """The blocks of the system prompt, and the turns.

    A request may be nothing but a system prompt; here somebody must ask, so it is the question.
    """
    system: list[Json] = []
    turns: list[Json] = []
    for path, role, message in messages_of(body):
        if role in ("system", "developer"):
            system += [_text_block(part, path) for part in said_parts_of(message, path)]
        elif role == "user":
            blocks = [_block(part) for part in said_parts_of(message, path)]
            _say(turns, "user", blocks)
        elif role == "assistant":
            _say(turns, "assistant", _assistant_blocks(message, path))
        elif role == "tool":
            _say(turns, "user", [_tool_result(message, path)])
        else:
            raise unsupported(f"{path}.role", f"a message of role {role!r}")
    _trim_last_word(turns)
    if system and not turns:
        turns, system = [{"role": "user", "content": system}], []
    if not turns:
        raise BadRequest("messages must have something for the model to answer", param="messages")
    return system, turns


def _say(turns: list[Json], role: str, blocks: list[Json]) -> None:
    if not blocks:
        return
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += blocks
    else:
        turns.append({"role": role, "content": blocks})


def _trim_last_word(turns: list[Json]) -> None:
    """An answer that the caller began may not end in white space: the provider refuses it."""
    if not turns or turns[-1]["role"] != "assistant":
        return
    blocks = turns[-1]["content"]
    if blocks[-1]["type"] == "text":
        blocks[-1]["text"] = blocks[-1]["text"].rstrip()
        if not blocks[-1]["text"]:
            blocks.pop()
        if not blocks:
            turns.pop()


def _text_block(part: Part, path: str) -> Json:
    text = text_of(part)
    if text is None:
        raise unsupported(part.path, f"a {part.kind} part in a message of {path}'s role")
    return _marked({"type": "text", "text": text}, part.value)


def _block(part: Part) -> Json:
    text = text_of(part)
    if text is not None:
        block: Json = {"type": "text", "text": text}
    elif part.kind == "image_url":
        block = {"type": "image", "source": _image_source(part)}
    elif part.kind == "file":
        block = {"type": "document", "source": _document_source(part)}
    else:
        raise unsupported(part.path, f"a part of type {part.kind!r}")
    return _marked(block, part.value)


def _marked(block: Json, origin: Json) -> Json:
    """The block with the caching mark of what it was made from."""
    mark = origin.get("cache_control")
    if mark is not None:
        block["cache_control"] = mark
    return block


def _image_source(part: Part) -> Json:
    address = image_url_of(part)
    found = data_uri(address)
    if found is not None:
        return {"type": "base64", "media_type": found[0], "data": found[1]}
    if address.startswith(("https://", "http://")):
        return {"type": "url", "url": address}
    raise unsupported(part.path, "an image that is neither a data: URI in base64 nor on the web")


def _document_source(part: Part) -> Json:
    kind, data = file_data_of(part)
    if kind == "application/pdf":
        return {"type": "base64", "media_type": kind, "data": data}
    if kind == "text/plain":
        try:
            text = base64.b64decode(data, validate=True).decode()
        except (binascii.Error, ValueError):
            path = f"{part.path}.file.file_data"
            raise BadRequest(f"{path} is not base64 of UTF-8 text", param=path) from None
        return {"type": "text", "media_type": kind, "data": text}
    raise unsupported(part.path, f"a file of type {kind}")


def _assistant_blocks(message: Json, path: str) -> list[Json]:
    blocks = _thoughts(message)
    blocks += [_text_block(part, path) for part in said_parts_of(message, path)]
    for call in tool_calls_of(message, path):
        block = {
            "type": "tool_use",
            "id": _NOT_IN_AN_ID.sub("_", call.id),
            "name": call.name,
            "input": call.arguments,
        }
        blocks.append(_marked(block, call.value))
    return blocks


def _thoughts(message: Json) -> list[Json]:
    """The signed thoughts of an earlier answer, as `from_anthropic` handed them out."""
    given = message.get("thinking_blocks")
    if not isinstance(given, list):
        return []
    signed = ("signature", "data")
    return [
        {key: value for key, value in block.items() if key != "cache_control"}
        for block in given
        if isinstance(block, dict)
        and block.get("type") in _THOUGHTS
        and any(isinstance(block.get(key), str) for key in signed)
    ]


def _tool_result(message: Json, path: str) -> Json:
    call = expect_text(message.get("tool_call_id"), f"{path}.tool_call_id")
    result: Json = {"type": "tool_result", "tool_use_id": _NOT_IN_AN_ID.sub("_", call)}
    blocks = [_block(part) for part in said_parts_of(message, path)]
    for block in blocks:
        # A mark on a part of a result means the result: it is the block that can be cached.
        mark = block.pop("cache_control", None)
        if mark is not None:
            result["cache_control"] = mark
    if blocks:
        result["content"] = blocks
    return result


def _add_stops(request: Json, body: Json, dropped: list[str]) -> None:
    stops = stops_of(body)
    visible = [stop for stop in stops if stop.strip()]
    if visible:
        request["stop_sequences"] = visible
    if len(visible) < len(stops):
        dropped.append("stop")  # the provider refuses stops that are only white space


def _add_user(request: Json, body: Json) -> None:
    for name in ("user", "safety_identifier"):
        if body.get(name) is not None:
            request["metadata"] = {"user_id": expect_text(body[name], name)}


def _add_tools(request: Json, body: Json, claude: Model) -> None:
    functions = functions_of(body)
    choice = tool_choice_of(body)
    if not functions:
        _add_tools_of_the_past(request)
        return
    request["tools"] = [_tool(function, claude) for function in functions]
    alone = body.get("parallel_tool_calls") is False
    if choice is None and not alone:
        return
    mode, name = choice or ("auto", "")
    said: Json = {"type": _TOOL_MODES[mode]}
    if name:
        said["name"] = name
    if alone and mode != "none":
        said["disable_parallel_tool_use"] = True
    request["tool_choice"] = said


def _add_tools_of_the_past(request: Json) -> None:
    """The provider wants every tool that was ever called declared, even when none may be now."""
    called = {
        block["name"]: None
        for turn in request["messages"]
        for block in turn["content"]
        if block["type"] == "tool_use"
    }
    if called:
        request["tools"] = [{"name": name, "input_schema": {"type": "object"}} for name in called]
        request["tool_choice"] = {"type": "none"}


def _tool(function: Function, claude: Model) -> Json:
    schema = {"type": "object", **function.schema}
    schema.setdefault("properties", {})
    tool: Json = {"name": function.name}
    if function.description:
        tool["description"] = function.description
    if function.strict and claude.holds_to_schemas:
        tool["strict"] = True
        schema = _held_to(schema, f"tools ({function.name})")
    tool["input_schema"] = schema
    return _marked(tool, function.tool)


def _add_format(request: Json, body: Json, claude: Model, system: list[Json]) -> None:
    schema = schema_asked_of(body)
    if schema is None:
        return
    if schema and claude.holds_to_schemas:
        held = {"type": "json_schema", "schema": _held_to(schema, "response_format")}
        request["output_config"] = {"format": held}
        return
    instruction = _ONLY_JSON
    if schema:
        encoded = _encoded(schema, "response_format")
        instruction += f" It must be valid against this JSON schema: {encoded}"
    system.append({"type": "text", "text": instruction})


def _held_to(schema: Json, path: str) -> Json:
    try:
        return schema_it_holds_to(schema)
    except RecursionError:
        raise _too_deep(path) from None


def _encoded(schema: Json, path: str) -> str:
    try:
        return msgspec.json.encode(schema).decode()
    except RecursionError:
        raise _too_deep(path) from None


def _too_deep(path: str) -> BadRequest:
    return BadRequest(f"{path}: the schema is nested too deeply", param=path)


def _add_thinking(request: Json, body: Json, claude: Model, dropped: list[str]) -> None:
    effort = effort_of(body)
    native = body.get("thinking")
    if isinstance(native, dict):
        request["thinking"] = native
        if effort is not None:
            dropped.append("reasoning_effort")
        return
    if native is not None:
        dropped.append("thinking")
    if effort is None:
        return
    thinking, level = thinking_for(effort, claude, request["max_tokens"])
    if thinking is not None and thinking["type"] != "disabled" and _may_not_think(request, claude):
        thinking = None
    if thinking is not None:
        request["thinking"] = thinking
    if level is not None:
        request.setdefault("output_config", {})["effort"] = level
    kept_off = effort == "none" and level is None
    if not kept_off and (thinking is None):
        dropped.append("reasoning_effort")


def _thinks(request: Json, claude: Model) -> bool:
    said = request.get("thinking")
    return said.get("type") != "disabled" if said else claude.thinks_unasked


def _forget_thoughts(turns: list[Json]) -> None:
    """Earlier thoughts may not be shown to a model that is not to think."""
    for turn in turns:
        kept = [block for block in turn["content"] if block["type"] not in _THOUGHTS]
        turn["content"] = kept or turn["content"]


def _may_not_think(request: Json, claude: Model) -> bool:
    """Whether the provider refuses thinking beside what else is asked.

    It can not be forced to call a tool and think; and thinking with a budget must have begun the
    turn, so it can not start between a tool's call and its result.
    """
    if request.get("tool_choice", {}).get("type") in ("any", "tool"):
        return True
    if claude.adaptive:
        return False
    last = next((t for t in reversed(request["messages"]) if t["role"] == "assistant"), None)
    if last is None:
        return False
    kinds = [block["type"] for block in last["content"]]
    return "tool_use" in kinds and kinds[0] not in _THOUGHTS
