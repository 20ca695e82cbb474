"""The body of a chat request: of the messages just the shape is checked."""

from __future__ import annotations

import msgspec

from gateway.errors import BadRequest
from gateway.wire.request_body import (
    RequestBody,
    read_body,
    read_field,
    read_fields,
    read_list,
    start_of,
)

ROLES = ("system", "developer", "user", "assistant", "tool", "function")


class _Message(msgspec.Struct):
    role: str
    content: msgspec.Raw = msgspec.Raw()


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


_decode_messages = msgspec.json.Decoder(list[_Message]).decode
_decode_stream_options = msgspec.json.Decoder(_StreamOptions | None).decode


def read_chat(body: bytes) -> RequestBody:
    """Take a chat request apart. Raises BadRequest with the path of what is wrong."""
    fields = read_fields(body)
    check_messages(read_list(fields, "messages", _decode_messages), ROLES)
    options = read_field(fields, "stream_options", _decode_stream_options, "an object or null")
    return read_body("chat", body, fields, wants_usage=bool(options and options.include_usage))


def read_messages(body: bytes) -> RequestBody:
    """Take a request in Anthropic's Messages format apart. Raises BadRequest."""
    fields = read_fields(body)
    check_messages(read_list(fields, "messages", _decode_messages), ("user", "assistant", "system"))
    return read_body("messages", body, fields)


def check_messages(messages: list[_Message], roles: tuple[str, ...]) -> None:
    """Roles that there are, contents that are text or parts. Raises BadRequest."""
    for index, message in enumerate(messages):
        if message.role not in roles:
            raise BadRequest(
                f"messages[{index}].role must be one of {', '.join(roles)}",
                param=f"messages[{index}].role",
            )
        first = start_of(message.content, 1)
        if first not in (b"", b'"', b"[", b"n"):
            raise BadRequest(
                f"messages[{index}].content must be text, a list of parts, or null",
                param=f"messages[{index}].content",
            )
