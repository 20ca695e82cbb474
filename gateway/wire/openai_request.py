"""OpenAI's chat request, read piece by piece, for those who say it in another format.

Owns the shapes that a chat request may have, and what is said when it has another: every
refusal is a BadRequest that names the place (`messages[2].content[1]`), because the body comes
from a caller and may be anything. It will not know any other format, or any model.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal, NamedTuple

import msgspec

from gateway.errors import BadRequest

Json = dict[str, Any]

ToolMode = Literal["auto", "none", "required", "named"]

# What the gateway itself acts on, or what changes nothing for the answer.
_NOT_FOR_THE_PROVIDER = frozenset(
    {
        "model",
        "messages",
        "stream",
        "stream_options",
        "max_tokens",
        "max_completion_tokens",
    }
)
_THOUGHTS = ("thinking", "reasoning")
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""What `reasoning_effort` may say, least first."""


class Translated(msgspec.Struct, frozen=True):
    """A request in a provider's own format, and the parameters that have no place in it."""

    body: Json
    dropped: tuple[str, ...]


class Part(NamedTuple):
    """One part of a message's content, and where it stands."""

    path: str
    kind: str
    value: Json


class ToolCall(NamedTuple):
    """One call that an assistant made earlier in the conversation."""

    id: str
    name: str
    arguments: Json
    value: Json


class Function(NamedTuple):
    """One function that the model may call; an empty schema means no arguments."""

    name: str
    description: str
    schema: Json
    strict: bool
    tool: Json


def messages_of(body: Json) -> list[tuple[str, str, Json]]:
    """The path, the role and the message itself, of every message."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages must be a list with at least one message", param="messages")
    found = []
    for place, message in enumerate(messages):
        path = f"messages[{place}]"
        message = expect_object(message, path)
        found.append((path, expect_text(message.get("role"), f"{path}.role"), message))
    return found


def parts_of(message: Json, path: str) -> list[Part]:
    """The parts of a message's content; plain text is one part, nothing is none.

    A `cache_control` on a message itself means the end of it, so it goes to the last part.
    """
    content = message.get("content")
    path = f"{path}.content"
    if content is None:
        parts = []
    elif isinstance(content, str):
        parts = [Part(path, "text", {"type": "text", "text": content})]
    elif isinstance(content, list):
        parts = [_part(part, f"{path}[{place}]") for place, part in enumerate(content)]
    else:
        raise BadRequest(f"{path} must be text or a list of parts", param=path)
    mark = message.get("cache_control")
    if parts and mark is not None:
        last = parts[-1]
        parts[-1] = last._replace(value={"cache_control": mark, **last.value})
    return parts


def _part(part: object, path: str) -> Part:
    value = expect_object(part, path)
    return Part(path, expect_text(value.get("type"), f"{path}.type"), value)


def text_of(part: Part) -> str | None:
    """The text of a text or refusal part; None for a part of another kind."""
    if part.kind in ("text", "refusal"):
        return expect_text(part.value.get(part.kind), f"{part.path}.{part.kind}")
    return None


def said_parts_of(message: Json, path: str) -> list[Part]:
    """The parts of a message that say something: providers refuse empty texts.

    What another model thought, which some providers keep among the parts of its answer, is left
    out: it means nothing to the next model.
    """
    parts = [part for part in parts_of(message, path) if text_of(part) != ""]
    if message.get("role") == "assistant":
        parts = [part for part in parts if part.kind not in _THOUGHTS]
    return parts


def texts_of(message: Json, path: str) -> str:
    """All of a message's text, when text is all that it may have."""
    texts = []
    for part in parts_of(message, path):
        text = text_of(part)
        if text is None:
            raise unsupported(part.path, f"a {part.kind} part here")
        texts.append(text)
    return "\n".join(text for text in texts if text)


def image_url_of(part: Part) -> str:
    """The address of an `image_url` part, which may be a data: URI."""
    image = part.value.get("image_url")
    if isinstance(image, dict):
        image = image.get("url")
    return expect_text(image, f"{part.path}.image_url.url")


def file_data_of(part: Part) -> tuple[str, str]:
    """The media type and the base64 content of a `file` part that carries its content."""
    file = expect_object(part.value.get("file"), f"{part.path}.file")
    path = f"{part.path}.file.file_data"
    if not isinstance(file.get("file_data"), str):
        raise unsupported(f"{part.path}.file", "a file that is not sent along as file_data")
    found = data_uri(file["file_data"])
    if found is None:
        raise BadRequest(f"{path} must be a data: URI with base64 content", param=path)
    return found


def data_uri(address: str) -> tuple[str, str] | None:
    """The media type and the base64 content of a data: URI; None for any other address."""
    if not address.startswith("data:"):
        return None
    head, comma, content = address[5:].partition(",")
    if not comma or not head.endswith(";base64"):
        return None
    return head.partition(";")[0] or "application/octet-stream", content


def tool_calls_of(message: Json, path: str) -> list[ToolCall]:
    """The calls of an assistant's message, their arguments decoded."""
    if message.get("function_call") is not None:
        raise unsupported(f"{path}.function_call", "the deprecated function_call; use tool_calls")
    calls = message.get("tool_calls")
    if calls is None:
        return []
    path = f"{path}.tool_calls"
    if not isinstance(calls, list):
        raise BadRequest(f"{path} must be a list", param=path)
    return [_tool_call(call, f"{path}[{place}]") for place, call in enumerate(calls)]


def _tool_call(call: object, path: str) -> ToolCall:
    value = expect_object(call, path)
    if value.get("type", "function") != "function":
        raise unsupported(path, f"a tool call of type {value['type']!r}")
    function = expect_object(value.get("function"), f"{path}.function")
    return ToolCall(
        id=expect_text(value.get("id"), f"{path}.id"),
        name=expect_text(function.get("name"), f"{path}.function.name"),
        arguments=_arguments(function.get("arguments"), f"{path}.function.arguments"),
        value=value,
    )


def _arguments(arguments: object, path: str) -> Json:
    text = "" if arguments is None else expect_text(arguments, path)
    try:
        decoded = msgspec.json.decode(text) if text.strip() else {}
    except (msgspec.MsgspecError, RecursionError):
        decoded = None
    if not isinstance(decoded, dict):
        raise BadRequest(f"{path} must be a JSON object, as text", param=path)
    return decoded


def functions_of(body: Json) -> list[Function]:
    """The functions among the request's tools. Refuses tools that only OpenAI itself runs."""
    for old in ("functions", "function_call"):
        if body.get(old) is not None:
            raise unsupported(old, f"the deprecated {old}; use tools")
    tools = body.get("tools")
    if tools is None:
        return []
    if not isinstance(tools, list):
        raise BadRequest("tools must be a list", param="tools")
    functions = [_function(tool, f"tools[{place}]") for place, tool in enumerate(tools)]
    allowed = _allowed_names(body.get("tool_choice"))
    return [each for each in functions if allowed is None or each.name in allowed]


def _allowed_names(choice: object) -> set[object] | None:
    """The names that a tool_choice of type allowed_tools leaves; None if it leaves all."""
    if not isinstance(choice, dict) or choice.get("type") != "allowed_tools":
        return None
    path = "tool_choice.allowed_tools"
    allowed = expect_object(choice.get("allowed_tools"), path).get("tools")
    if not isinstance(allowed, list):
        raise BadRequest(f"{path}.tools must be a list", param=f"{path}.tools")
    named = [expect_object(tool, f"{path}.tools").get("function") for tool in allowed]
    return {expect_text(expect_object(tool, path).get("name"), path) for tool in named}


def _function(tool: object, path: str) -> Function:
    tool = expect_object(tool, path)
    if tool.get("type", "function") != "function":
        raise unsupported(path, f"a tool of type {tool['type']!r}")
    function = expect_object(tool.get("function"), f"{path}.function")
    schema = function.get("parameters")
    return Function(
        name=expect_text(function.get("name"), f"{path}.function.name"),
        description=str(function.get("description") or ""),
        schema={} if schema is None else expect_object(schema, f"{path}.function.parameters"),
        strict=function.get("strict") is True,
        tool=tool,
    )


def tool_choice_of(body: Json) -> tuple[ToolMode, str] | None:
    """How the model may use the tools, and the name if it must use one; None if not said."""
    choice = body.get("tool_choice")
    if choice is None:
        return None
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        choice = expect_object(choice.get("allowed_tools"), "tool_choice.allowed_tools").get("mode")
    if choice in ("auto", "none", "required"):
        return choice, ""
    if choice == "any":  # Mistral's word for it
        return "required", ""
    if isinstance(choice, dict) and choice.get("type") == "function":
        function = expect_object(choice.get("function"), "tool_choice.function")
        return "named", expect_text(function.get("name"), "tool_choice.function.name")
    raise unsupported("tool_choice", "this tool_choice")


def schema_asked_of(body: Json) -> Json | None:
    """The JSON schema that the answer must have; empty for any object; None for plain text."""
    wanted = body.get("response_format")
    if wanted is None:
        return None
    wanted = expect_object(wanted, "response_format")
    kind = wanted.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return {}
    if kind == "json_schema":
        path = "response_format.json_schema"
        described = expect_object(wanted.get("json_schema"), path)
        return expect_object(described.get("schema"), f"{path}.schema")
    raise unsupported("response_format.type", "this response_format")


def stops_of(body: Json) -> list[str]:
    """The texts that end the answer."""
    stop = body.get("stop")
    if stop is None:
        return []
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(each, str) for each in stops):
        raise BadRequest("stop must be text or a list of texts", param="stop")
    return stops


def effort_of(body: Json) -> str | None:
    """What the request says about reasoning, one of EFFORTS; None if nothing."""
    effort = body.get("reasoning_effort")
    if effort is not None and effort not in EFFORTS:
        raise BadRequest(
            f"reasoning_effort must be one of {', '.join(EFFORTS)}",
            param="reasoning_effort",
        )
    return effort


def answers_asked_of(body: Json) -> int:
    """How many answers are wanted: `n`, or one."""
    n = body.get("n")
    if n is None:
        return 1
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise BadRequest("n must be a whole number from 1", param="n")
    return n


def not_understood(body: Json, understood: Collection[str]) -> list[str]:
    """The parameters that say something, but not to this provider."""
    known = _NOT_FOR_THE_PROVIDER.union(understood)
    return [name for name, value in body.items() if value is not None and name not in known]


def expect_object(value: object, path: str) -> Json:
    """The value, if it is an object. Raises BadRequest otherwise."""
    if not isinstance(value, dict):
        raise BadRequest(f"{path} must be an object", param=path)
    return value


def expect_text(value: object, path: str) -> str:
    """The value, if it is text. Raises BadRequest otherwise."""
    if not isinstance(value, str):
        raise BadRequest(f"{path} must be text", param=path)
    return value


def unsupported(path: str, what: str) -> BadRequest:
    """The refusal of something that is good OpenAI, but can not be said to this provider."""
    return BadRequest(f"{path}: the model of this job does not take {what}", param=path)
