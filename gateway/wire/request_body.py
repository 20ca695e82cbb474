"""The body of any request, read no deeper than needed.

The top level is taken apart into fields that stay JSON, so a prompt of 400 kB is copied once and
not parsed into objects. Everything that is wrong is a BadRequest with the field's path; what a
provider may know and we do not is left alone. What each form of request has to have is checked in
`chat_body` and `native_bodies`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from gateway.errors import BadRequest

FIELDS_AT_MOST = 200
ITEMS_AT_MOST = 10_000
NAME_LENGTH_AT_MOST = 128
T = TypeVar("T")

_IMAGE = re.compile(rb'"(?:url|image_url)"\s*:\s*"|"type"\s*:\s*"image"')
IMAGE, AUDIO, FILE, AN_HOUR = "image", "audio", "file", "1h"
_MARKS = (
    (b"image", IMAGE),
    (b'"input_audio"', AUDIO),
    (b'"1h"', AN_HOUR),
    (b'"file', FILE),
    (b'"document"', FILE),
    (b'"item_reference"', FILE),
    (b'"container_upload"', FILE),
    (b"video", FILE),
    (b'"audio_url"', FILE),
)
"""What in the bytes of a body tells that it may bring something beside text."""
_ESCAPED_LETTER = re.compile(rb"\\u00(?:3[0-9]|[46][1-9a-fA-F]|[57][0-9aA]|5[fF])")
_ESCAPED_NUL = rb"\u0000"


class RequestBody(msgspec.Struct, frozen=True):
    """A request: its fields as JSON, and what the gateway itself has to know of them."""

    form: str
    """chat, embeddings, responses or messages."""

    fields: Mapping[str, msgspec.Raw]
    model: str
    stream: bool
    wants_usage: bool
    images: int
    """Images, by address or sent along, or more: their tokens have little to do with bytes."""
    size: int
    """Bytes."""
    signs: frozenset[str] = frozenset()
    """What the body may bring beside text: of everything that it does bring there is a sign."""


_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str | None).decode
_decode_flag = msgspec.json.Decoder(bool | None).decode
_decode_any = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_NULL = msgspec.Raw(b"null")


def read_fields(body: bytes) -> dict[str, msgspec.Raw]:
    """The top level of a body. Raises BadRequest when it is not one JSON object of good text."""
    try:
        fields = _decode_fields(body)
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
    except (msgspec.ValidationError, UnicodeDecodeError):
        raise BadRequest("the body must be one JSON object in UTF-8") from None
    except msgspec.DecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    _check_names(fields)
    _check_encoding(body, fields)
    return fields


def read_body(
    form: str, body: bytes, fields: Mapping[str, msgspec.Raw], *, wants_usage: bool = False
) -> RequestBody:
    """What the gateway has to know of a request whose own fields have been checked."""
    plain, escaped = body, b"\\u00" in body
    if escaped and _ESCAPED_NUL in body:
        _check_nuls(body)
    if escaped:
        plain = _unescaped(body)
    return RequestBody(
        form=form,
        fields=fields,
        model=read_field(fields, "model", _decode_text, "text") or "",
        stream=bool(read_field(fields, "stream", _decode_flag, "true or false")),
        wants_usage=wants_usage,
        images=_images(plain),
        size=len(body),
        signs=frozenset([sign for mark, sign in _MARKS if mark in plain]),
    )


def read_list(
    fields: Mapping[str, msgspec.Raw], name: str, decode: Callable[[msgspec.Raw], list[T]]
) -> list[T]:
    """A field that must be a list with something in it. Raises BadRequest with the item's path."""
    raw = fields.get(name)
    if raw is None or start_of(raw, 4) == b"null":
        raise BadRequest(f"{name} is missing", param=name)
    try:
        items = decode(raw)
    except RecursionError:
        raise BadRequest(f"{name} is nested too deeply", param=name) from None
    except msgspec.ValidationError as error:
        text, _, place = str(error).partition(" - at ")
        path = name + place.strip("`").removeprefix("$")
        raise BadRequest(f"{path}: {text}", param=path) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"{name} cannot be read: {error}", param=name) from None
    if not items:
        raise BadRequest(f"{name} must have at least one item", param=name)
    if len(items) > ITEMS_AT_MOST:
        raise BadRequest(f"{name} has more than {ITEMS_AT_MOST} items", param=name)
    return items


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


def says(raw: msgspec.Raw, word: bytes) -> bool:
    """Whether a word of letters, digits and _ stands anywhere in a value, however escaped."""
    value = bytes(raw)
    return word in value or word in _unescaped(value)


def without_metadata(chat: RequestBody, names: frozenset[str]) -> RequestBody:
    """The request without these names in its metadata, and without the field if that was all.

    It stays whole where the provider is to keep it with the answer: OpenAI stores responses
    unless told not to, and chats when told to.
    """
    stored = bytes(chat.fields.get("store", b""))
    if stored == b"true" or (chat.form == "responses" and stored != b"false"):
        return chat
    fields = dict(chat.fields)
    kept = {n: raw for n, raw in _decode_fields(fields.pop("metadata")).items() if n not in names}
    if kept:
        fields["metadata"] = msgspec.Raw(_encode(kept))
    return msgspec.structs.replace(chat, fields=fields)


def _images(body: bytes) -> int:
    """At least as many images as there are."""
    return len(_IMAGE.findall(body)) if b'url"' in body or b'"image"' in body else 0


def _unescaped(body: bytes) -> bytes:
    """The body without letters that are escaped although they need not be: nothing that is
    looked for in the bytes can be hidden behind them."""
    return _encode(_decoded(body)) if _ESCAPED_LETTER.search(body) else body


def _decoded(body: bytes) -> Any:
    try:
        return _decode_any(body)
    except msgspec.MsgspecError as error:
        raise BadRequest(f"the body cannot be read: {error}") from None
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None


def _check_names(fields: Mapping[str, msgspec.Raw]) -> None:
    """Names of unknown fields are passed on, told in a header and kept in the books."""
    if len(fields) > FIELDS_AT_MOST:
        raise BadRequest(f"the body has more than {FIELDS_AT_MOST} fields")
    for name in fields:
        if not name.isprintable() or len(name) > NAME_LENGTH_AT_MOST:
            raise BadRequest(
                f"the name of the field {name[:32]!a} is not printable, or longer than"
                f" {NAME_LENGTH_AT_MOST} characters",
                param=ascii(name[:32])[1:-1],
            )


def _check_encoding(body: bytes, fields: Mapping[str, msgspec.Raw]) -> None:
    """What is not read here is not checked by the decoder either: JSON is UTF-8."""
    if body.isascii() or _is_utf8(body):
        return
    name = next((name for name, raw in fields.items() if not _is_utf8(bytes(raw))), None)
    raise BadRequest(f"{name or 'the body'} is not UTF-8", param=name)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check_nuls(body: bytes) -> None:
    """Refuse escaped NULs: databases and providers choke on them."""
    try:
        path = _bad_text(_decoded(body), "")
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
    if path is not None:
        raise BadRequest(f"{path}: NUL characters are not text", param=path)


def _bad_text(value: object, path: str) -> str | None:
    if isinstance(value, str):
        return path if "\0" in value else None
    if isinstance(value, list):
        items = ((f"{path}[{index}]", item) for index, item in enumerate(value))
    elif isinstance(value, dict):
        if any("\0" in name for name in value):
            return path or "the body"
        items = ((f"{path}.{name}" if path else str(name), item) for name, item in value.items())
    else:
        return None
    return next((bad for place, item in items if (bad := _bad_text(item, place))), None)


def read_field(
    fields: Mapping[str, msgspec.Raw], name: str, decode: Callable[[msgspec.Raw], T], what: str
) -> T:
    """A field, decoded; null when it is missing. Raises BadRequest saying what it must be."""
    try:
        return decode(fields.get(name, _NULL))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadRequest(f"{name} must be {what}", param=name) from None


def start_of(raw: msgspec.Raw, length: int) -> bytes:
    """The first bytes of a value, which tell its kind."""
    return bytes(memoryview(raw)[:length])
