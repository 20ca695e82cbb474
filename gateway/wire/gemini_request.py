"""An OpenAI chat request, said as a Gemini generateContent request.

Owns where each thing goes: system and developer messages to `systemInstruction`, tool calls and
results to function parts that go by name, thought signatures back to the calls they came with,
sampling, formats and reasoning to `generationConfig`. Promises that nothing is lost in silence:
what can not be said is refused with its place when it is content, and listed as dropped when it
is a parameter. Pure; it will not know about sampling limits, prices or budgets.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from gateway.errors import BadRequest
from gateway.wire.openai_request import (
    Json,
    Part,
    ToolCall,
    Translated,
    answers_asked_of,
    data_uri,
    effort_of,
    expect_object,
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
    texts_of,
    tool_calls_of,
    tool_choice_of,
    unsupported,
)

_SAID_UNDER_ANOTHER_NAME = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
_UNDERSTOOD = frozenset(
    {
        *_SAID_UNDER_ANOTHER_NAME,
        "stop",
        "n",
        "tools",
        "tool_choice",
        "response_format",
        "reasoning_effort",
        "logprobs",
        "top_logprobs",
        "modalities",
    }
)
_TOOL_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "named": "ANY"}
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
_LEAST_BUDGET_OF_PRO = 128  # the larger models can not stop thinking altogether
_MODEL = re.compile(r"gemini-(\d+)")
# What the provider accepts in place of a signature, for calls that another model made.
_FOREIGN_SIGNATURE = "skip_thought_signature_validator"
_MEDIA_TYPES = {
    "png": "image/png",
    "webp": "image/webp",
    "heic": "image/heic",
    "heif": "image/heif",
    "gif": "image/gif",
    "pdf": "application/pdf",
}


def to_gemini(body: Json, *, max_tokens: int | None, model: str = "") -> Translated:
    """The generateContent request that says what this chat request says.

    `max_tokens` is the output limit that the job allows, in tokens, thoughts included. The model
    goes into the address; its name only tells which generation's rules for reasoning and
    function calls hold, the older ones if it is not given. Raises BadRequest, with the place as
    `param`, for what the format can not say.
    """
    dropped = not_understood(body, _UNDERSTOOD)
    system, contents = _conversation(body, of_today=_of_today(model))
    request: Json = {"contents": contents}
    if system:
        request["systemInstruction"] = {"parts": system}
    _add_tools(request, body)
    config = _generation_config(body, max_tokens)
    effort = effort_of(body)
    if effort is not None:
        config["thinkingConfig"] = _thinking(effort, model)
    if config:
        request["generationConfig"] = config
    return Translated(request, tuple(dropped))


def _of_today(model: str) -> bool:
    """Whether the model is of the third generation or later: levels of thinking, ids of calls."""
    found = _MODEL.search(model)
    return found is not None and int(found[1]) >= 3


def _conversation(body: Json, *, of_today: bool) -> tuple[list[Json], list[Json]]:
    """The parts of the system instruction, and the turns.

    A request may be nothing but a system prompt; here somebody must ask, so it is the question.
    """
    system: list[Json] = []
    contents: list[Json] = []
    names: dict[str, str] = {}
    answering = False  # the last turn consists of function results, which may not be mixed
    for path, role, message in messages_of(body):
        if role in ("system", "developer"):
            text = texts_of(message, path)
            system += [{"text": text}] if text else []
        elif role == "user":
            _say(contents, "user", _parts(message, path), join=not answering)
            answering = False
        elif role == "assistant":
            calls = tool_calls_of(message, path)
            names.update((call.id, call.name) for call in calls)
            parts = _parts(message, path) + _call_parts(calls, of_today=of_today)
            _say(contents, "model", parts, join=True)
            answering = False
        elif role == "tool":
            _say(
                contents,
                "user",
                _result(message, path, names, of_today),
                join=answering,
            )
            answering = True
        else:
            raise unsupported(f"{path}.role", f"a message of role {role!r}")
    if system and not contents:
        contents, system = [{"role": "user", "parts": system}], []
    if not contents:
        raise BadRequest("messages must have something for the model to answer", param="messages")
    return system, contents


def _say(contents: list[Json], role: str, parts: list[Json], *, join: bool) -> None:
    if not parts:
        return
    if join and contents and contents[-1]["role"] == role:
        contents[-1]["parts"] += parts
    else:
        contents.append({"role": role, "parts": parts})


def _parts(message: Json, path: str) -> list[Json]:
    return [_part(part) for part in said_parts_of(message, path)]


def _part(part: Part) -> Json:
    text = text_of(part)
    if text is not None:
        return {"text": text}
    if part.kind == "image_url":
        return _image(part)
    if part.kind == "file":
        kind, data = file_data_of(part)
        return {"inlineData": {"mimeType": kind, "data": data}}
    if part.kind == "input_audio":
        path = f"{part.path}.input_audio"
        audio = expect_object(part.value.get("input_audio"), path)
        sound = expect_text(audio.get("format"), f"{path}.format")
        data = expect_text(audio.get("data"), f"{path}.data")
        return {"inlineData": {"mimeType": f"audio/{sound}", "data": data}}
    raise unsupported(part.path, f"a part of type {part.kind!r}")


def _image(part: Part) -> Json:
    address = image_url_of(part)
    found = data_uri(address)
    if found is not None:
        return {"inlineData": {"mimeType": found[0], "data": found[1]}}
    if not address.startswith(("https://", "http://", "gs://")):
        raise unsupported(part.path, "an image that is neither a data: URI in base64 nor a URL")
    ending = address.partition("?")[0].rpartition(".")[2].lower()
    kind = _MEDIA_TYPES.get(ending, "image/jpeg")
    return {"fileData": {"mimeType": kind, "fileUri": address}}


def _call_parts(calls: list[ToolCall], *, of_today: bool) -> list[Json]:
    parts = []
    for place, call in enumerate(calls):
        function: Json = {"name": call.name, "args": call.arguments}
        part: Json = {"functionCall": function}
        signature = _signature(call.value)
        if of_today:
            function["id"] = call.id
            if place == 0 and signature is None:
                signature = _FOREIGN_SIGNATURE
        if signature is not None:
            part["thoughtSignature"] = signature
        parts.append(part)
    return parts


def _signature(call: Json) -> str | None:
    """The signature that `from_gemini` put beside the call, if the caller kept it."""
    found: Any = call
    for key in ("extra_content", "google", "thought_signature"):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, str) else None


def _result(message: Json, path: str, names: dict[str, str], of_today: bool) -> list[Json]:
    call = expect_text(message.get("tool_call_id"), f"{path}.tool_call_id")
    name = names.get(call) or message.get("name")
    if not isinstance(name, str):
        param = f"{path}.tool_call_id"
        raise BadRequest(f"{param}: no earlier message made the call {call!r}", param=param)
    parts = said_parts_of(message, path)
    text = "\n".join(filter(None, map(text_of, parts)))
    function: Json = {"name": name, "response": _response(text)}
    if of_today:
        function["id"] = call
    media = [_part(part) for part in parts if text_of(part) is None]
    return [{"functionResponse": function}, *media]


def _response(text: str) -> Json:
    """A result must be an object: JSON objects stay themselves, anything else is put in one."""
    if text.startswith("{"):
        try:
            decoded = msgspec.json.decode(text)
        except (msgspec.MsgspecError, RecursionError):
            decoded = None
        if isinstance(decoded, dict):
            return decoded
    return {"result": text}


def _add_tools(request: Json, body: Json) -> None:
    functions = functions_of(body)
    choice = tool_choice_of(body)
    if not functions:
        return
    declared = []
    for function in functions:
        declaration: Json = {"name": function.name}
        if function.description:
            declaration["description"] = function.description
        if function.schema.get("properties") or "$ref" in function.schema:
            declaration["parametersJsonSchema"] = function.schema
        declared.append(declaration)
    request["tools"] = [{"functionDeclarations": declared}]
    if choice is not None:
        mode, name = choice
        calling: Json = {"mode": _TOOL_MODES[mode]}
        if name:
            calling["allowedFunctionNames"] = [name]
        request["toolConfig"] = {"functionCallingConfig": calling}


def _generation_config(body: Json, max_tokens: int | None) -> Json:
    config: Json = {}
    for theirs, ours in _SAID_UNDER_ANOTHER_NAME.items():
        if body.get(theirs) is not None:
            config[ours] = body[theirs]
    if max_tokens is not None:
        config["maxOutputTokens"] = max_tokens
    stops = stops_of(body)
    if stops:
        config["stopSequences"] = stops
    answers = answers_asked_of(body)
    if answers > 1:
        config["candidateCount"] = answers
    schema = schema_asked_of(body)
    if schema is not None:
        config["responseMimeType"] = "application/json"
        if schema:
            config["responseJsonSchema"] = schema
    if body.get("logprobs") is True:
        config["responseLogprobs"] = True
        if body.get("top_logprobs") is not None:
            config["logprobs"] = body["top_logprobs"]
    wanted = body.get("modalities")
    if wanted is not None:
        if not isinstance(wanted, list) or not all(isinstance(each, str) for each in wanted):
            raise BadRequest("modalities must be a list of names", param="modalities")
        config["responseModalities"] = [each.upper() for each in wanted]
    return config


def _thinking(effort: str, model: str) -> Json:
    """How an effort is said: by level from the third generation on, by budget before.

    A request that asks to reason also asks to be told the thoughts; they cost the same unseen.
    """
    large = "pro" in model
    if _of_today(model):
        least = "low" if large else "minimal"
        level = {"none": least, "minimal": least, "xhigh": "high", "max": "high"}.get(
            effort, effort
        )
        return {"thinkingLevel": level, "includeThoughts": effort != "none"}
    if effort == "none":
        return {
            "thinkingBudget": _LEAST_BUDGET_OF_PRO if large else 0,
            "includeThoughts": False,
        }
    budget = _BUDGETS.get(effort, _BUDGETS["high"])
    return {"thinkingBudget": budget, "includeThoughts": True}
