"""Values of a request, read and shown: refused with the name of their field when they make none.

A caller can write a number of any length, so what is shown of it is bounded.
"""

from __future__ import annotations

import msgspec

from gateway.errors import BadRequest

_SHOWN_WHOLE = 10**18
_SHOWN_TEXT = 24


def decoded(raw: bytes, name: str) -> object:
    """What a field says. Raises BadRequest when it is not JSON."""
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        raise BadRequest(f"{name} cannot be read: {error}", param=name) from None
    except RecursionError:
        raise BadRequest(f"{name} is nested too deeply", param=name) from None


def number(raw: bytes, name: str) -> float:
    """A number as it was written, whole or not. Raises BadRequest."""
    value = decoded(raw, name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRequest(f"{name} must be a number", param=name)
    return value


def positive(raw: bytes, name: str) -> int:
    """A whole number from 1 on. Raises BadRequest."""
    value = whole(raw, name)
    if value < 1:
        raise BadRequest(f"{name} must be at least 1, not {short(value)}", param=name)
    return value


def whole(raw: bytes, name: str) -> int:
    """A whole number. Raises BadRequest."""
    value = decoded(raw, name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequest(f"{name} must be a whole number", param=name)
    return value


def short(value: object) -> str:
    """A value as text of bounded length, in ASCII."""
    if isinstance(value, int) and abs(value) > _SHOWN_WHOLE:
        return "over 1e18" if value > 0 else "under -1e18"
    if isinstance(value, str):
        return ascii(value[:_SHOWN_TEXT])
    return repr(value)
