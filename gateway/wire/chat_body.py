"""The body of a chat request, read no deeper than needed.

The top level is taken apart into fields that stay JSON, so a prompt of 400 kB is copied once and
not parsed into objects. Of the messages just the shape is checked. Everything that is wrong is a
BadRequest with the field's path; what a provider may know and we do not is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from gateway.errors import BadRequest

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MESSAGES_AT_MOST = 10_000
T = TypeVar("T")

_IMAGE_BY_ADDRESS = re.compile(rb'"(?:url|image_url)"\s*:\s*"http')
_ESCAPES = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


class _Message(msgspec.Struct):
    role: str
    content: msgspec.Raw = msgspec.Raw()


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


@dataclass(frozen=True, slots=True)
class ChatBody:
    """A chat request: its fields as JSON, and what the gateway itself has to know of them."""

    fields: Mapping[str, msgspec.Raw]
    model: str
    stream: bool
    wants_usage: bool
    images_by_address: int
    size: int
    """Bytes."""


_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_messages = msgspec.json.Decoder(list[_Message]).decode
_decode_stream_options = msgspec.json.Decoder(_StreamOptions | None).decode
_decode_text = msgspec.json.Decoder(str | None).decode
_decode_flag = msgspec.json.Decoder(bool | None).decode
_decode_any = msgspec.json.Decoder().decode
_NULL = msgspec.Raw(b"null")


def read_chat(body: bytes) -> ChatBody:
    """Take a chat request apart. Raises BadRequest with the path of what is wrong."""
    try:
        fields = _decode_fields(body)
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
    except (msgspec.ValidationError, UnicodeDecodeError):
        raise BadRequest("the body must be one JSON object in UTF-8") from None
    except msgspec.DecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    _check_messages(fields)
    if _ESCAPES.search(body):
        _check_escapes(body)
    options = _field(fields, "stream_options", _decode_stream_options, "an object or null")
    return ChatBody(
        fields=fields,
        model=_field(fields, "model", _decode_text, "text") or "",
        stream=bool(_field(fields, "stream", _decode_flag, "true or false")),
        wants_usage=bool(options and options.include_usage),
        images_by_address=len(_IMAGE_BY_ADDRESS.findall(body)),
        size=len(body),
    )


def read_metadata(fields: Mapping[str, msgspec.Raw]) -> dict[str, str]:
    """The texts in the field `metadata`; anything else in it is the provider's business."""
    raw = fields.get("metadata")
    if raw is None:
        return {}
    try:
        found = _decode_any(raw)
    except (msgspec.MsgspecError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str)}


def _check_messages(fields: Mapping[str, msgspec.Raw]) -> None:
    raw = fields.get("messages")
    if raw is None or _start(raw, 4) == b"null":
        raise BadRequest("messages is missing", param="messages")
    try:
        messages = _decode_messages(raw)
    except RecursionError:
        raise BadRequest("messages is nested too deeply", param="messages") from None
    except msgspec.ValidationError as error:
        text, _, place = str(error).partition(" - at ")
        path = "messages" + place.strip("`").removeprefix("$")
        raise BadRequest(f"{path}: {text}", param=path) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"messages cannot be read: {error}", param="messages") from None
    if not messages:
        raise BadRequest("messages must have at least one message", param="messages")
    if len(messages) > MESSAGES_AT_MOST:
        raise BadRequest(f"messages has more than {MESSAGES_AT_MOST}", param="messages")
    for index, message in enumerate(messages):
        if message.role not in ROLES:
            raise BadRequest(
                f"messages[{index}].role must be one of {', '.join(ROLES)}",
                param=f"messages[{index}].role",
            )
        first = _start(message.content, 1)
        if first not in (b"", b'"', b"[", b"n"):
            raise BadRequest(
                f"messages[{index}].content must be text, a list of parts, or null",
                param=f"messages[{index}].content",
            )


def _check_escapes(body: bytes) -> None:
    """Refuse half surrogate pairs and escaped NULs: no text in Unicode has them."""
    try:
        path = _bad_text(_decode_any(body), "")
    except (msgspec.MsgspecError, RecursionError):
        raise BadRequest("the body has an escape that is not Unicode text") from None
    if path is not None:
        raise BadRequest(f"{path}: NUL characters are not text", param=path)


def _bad_text(value: object, path: str) -> str | None:
    if isinstance(value, str):
        return path if "\0" in value else None
    if isinstance(value, list):
        items = ((f"{path}[{index}]", item) for index, item in enumerate(value))
    elif isinstance(value, dict):
        items = ((f"{path}.{name}" if path else str(name), item) for name, item in value.items())
    else:
        return None
    return next((bad for place, item in items if (bad := _bad_text(item, place))), None)


def _field(
    fields: Mapping[str, msgspec.Raw], name: str, decode: Callable[[msgspec.Raw], T], what: str
) -> T:
    try:
        return decode(fields.get(name, _NULL))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadRequest(f"{name} must be {what}", param=name) from None


def _start(raw: msgspec.Raw, length: int) -> bytes:
    return bytes(memoryview(raw)[:length])
